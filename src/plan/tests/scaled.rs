//! Workloads whose replicas an autoscaler decides.

use serde_json::json;

use super::super::{reconcile, scaled};
use super::{everything_there, objects, text};

#[test]
fn replicas_are_the_autoscalers_where_there_is_one() {
    let autoscaler = |kind: &str| {
        json!({
            "metadata": { "name": "redis-hpa", "namespace": "infra" },
            "spec": { "scaleTargetRef": { "apiVersion": "apps/v1", "kind": kind, "name": "redis" } },
        })
    };
    let planned = |autoscalers: &[serde_json::Value], replicas: u32| {
        let mut observed = everything_there();
        observed.scaled = scaled(autoscalers.iter());
        for (id, live) in &mut observed.objects {
            if id.name == "redis" {
                live["spec"]["replicas"] = json!(replicas);
            }
        }
        text(&observed)
    };
    assert_eq!(planned(&[autoscaler("StatefulSet")], 3), "");
    assert!(planned(&[autoscaler("Deployment")], 3).contains("spec.replicas 3 → 1"));
    assert!(planned(&[], 3).contains("spec.replicas 3 → 1"));
    let resting = planned(&[autoscaler("StatefulSet")], 0);
    assert!(resting.contains("spec.replicas 0 → 1"), "{resting}");
}

#[test]
fn what_else_drifted_is_applied_with_the_autoscalers_replicas() {
    let mut observed = everything_there();
    let objects = objects();
    let redis = objects
        .iter()
        .find(|object| object.component() == "redis")
        .unwrap();
    let live = observed.objects.get_mut(&redis.id()).unwrap();
    live["spec"]["replicas"] = json!(3);
    live["metadata"]["labels"] = json!({});
    let scaled = [redis.id()].into();
    let (changes, _) = reconcile(&objects, &observed.objects, &scaled, false);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].object.value()["spec"]["replicas"], 3);
}
