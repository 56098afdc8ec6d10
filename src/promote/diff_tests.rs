use serde_json::json;

use super::*;

fn deployment(spec: &Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "namespace": "n" }, "spec": spec })
}

#[test]
fn spelling_order_and_defaults_are_no_difference() {
    let live = deployment(
        &json!({ "paused": false, "c": [{ "name": "y" }, { "name": "x", "resources": { "cpu": "1000m", "memory": "1024Mi" } }] }),
    );
    let tree = deployment(&json!({ "c": [{ "name": "x", "resources": { "memory": "1Gi", "cpu": "1" } }] }));
    assert!(differences([&live], [&tree], Sides::Live).is_empty());
    assert_eq!(differences([&live], [&tree], Sides::Both).len(), 1);
    let old = json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "g", "namespace": "n" } });
    let mut new = old.clone();
    new["apiVersion"] = json!("networking.istio.io/v1beta1");
    assert!(differences([&old], [&new], Sides::Both).is_empty());
}

#[test]
fn every_difference_has_its_reason() {
    let dev = deployment(
        &json!({ "replicas": 1, "containers": [{ "name": "a", "image": "x:1", "env": [{ "name": "LOG", "value": "b" }] }] }),
    );
    let prod = deployment(
        &json!({ "replicas": 2, "containers": [{ "name": "a", "image": "x:1@sha256:0", "env": [{ "name": "LOG", "value": "c" }] }] }),
    );
    let found = differences([&dev], [&prod], Sides::Live);
    let reasons: Vec<_> = found[0]
        .fields
        .iter()
        .map(|field| (field.path.as_str(), field.explanation))
        .collect();
    assert_eq!(
        reasons,
        [
            ("spec.replicas", Explanation::Sizing),
            ("spec.containers[a].image", Explanation::Environment),
            ("spec.containers[a].env[LOG].value", Explanation::Drift),
        ]
    );
    assert_eq!(found[0].explanation, Explanation::Drift);
}

#[test]
fn whole_objects_and_secrets_are_told_without_values() {
    let secret = |value: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "n" }, "data": { "k": value } });
    let found = differences([&secret("b25l")], [&secret("dHdv")], Sides::Both);
    assert_eq!(found[0].fields[0].from.as_deref(), Some("(hidden)"));
    let gone = differences([&secret("b25l")], [], Sides::Both);
    assert_eq!((gone[0].change, gone[0].fields.len()), (Change::Removed, 0));
}
