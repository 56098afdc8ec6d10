//! What goes wrong by hand or by kill comes right with the next `up`.

use std::process::Command;

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use vadev::k8s::{MANAGED_BY, observe};

use crate::harness::{Platform, agent, block_on};

#[test]
#[ignore = "needs a cluster"]
fn an_object_deleted_by_hand_comes_back() {
    use k8s_openapi::api::core::v1::Service;
    let platform = Platform::running();
    block_on(async {
        let services: kube::Api<Service> =
            kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-prod");
        services
            .delete("rag-engine", &DeleteParams::default())
            .await
            .expect("delete");
    });
    let report = platform.up();
    assert_eq!(report["changed"], true);
    assert!(
        report["plan"]
            .to_string()
            .contains("Service/rag-engine in voiceassistant-prod (missing)"),
        "{:#}",
        report["plan"]
    );
    block_on(async {
        let services: kube::Api<Service> =
            kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-prod");
        services.get("rag-engine").await.expect("it is back");
    });
}

#[test]
#[ignore = "needs a cluster"]
fn drift_is_mended_and_named() {
    use k8s_openapi::api::apps::v1::Deployment;
    let platform = Platform::running();
    block_on(async {
        let deployments: kube::Api<Deployment> =
            kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-prod");
        let patch = Patch::Merge(json!({ "spec": { "replicas": 3 } }));
        deployments
            .patch("voice-engine", &PatchParams::default(), &patch)
            .await
            .expect("scale");
    });
    let dry = platform.dry_run(&[]);
    assert!(
        dry["plan"].to_string().contains("spec.replicas 3 → 1"),
        "{:#}",
        dry["plan"]
    );
    let report = platform.up();
    assert!(
        report["plan"].to_string().contains("spec.replicas 3 → 1"),
        "{:#}",
        report["plan"]
    );
    assert_eq!(platform.up()["changed"], false);
}

/// An `up` that ends well, and one after it that finds nothing to do.
fn ends_well(platform: &Platform) {
    let report = platform.up();
    assert_eq!(report["verify"]["ok"], true, "{report:#}");
    assert_eq!(platform.up()["changed"], false);
}

fn killed_in(platform: &Platform, phases: &[&str]) {
    for phase in phases {
        assert!(platform.up_killed_in(phase), "no step of phase {phase} was begun");
    }
}

/// From nothing, killed in one phase after the other; every kill is followed by going on from what is there. Tools are left
/// out: they are here, and to make them again takes minutes. They come about as images do.
#[test]
#[ignore = "needs a cluster"]
fn a_kill_in_any_phase_costs_nothing_but_time() {
    let platform = Platform::turn();
    platform.succeed(&["down", "--yes"]);
    // The smallest of the images, so that there is one to be had. Where it was not there yet, there are more.
    let _gone = Command::new("docker")
        .args(["rmi", "-f", &agent()])
        .output()
        .expect("docker");
    killed_in(&platform, &["image/", "cluster"]);
    ends_well(&platform);
    platform.succeed(&["down", "--yes"]);
    killed_in(&platform, &["ship/", "mesh", "apply/", "ready/"]);
    ends_well(&platform);
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::apply_one(&cluster, &stray(), vadev::k8s::ApplyOptions::default())
            .await
            .expect("apply");
    });
    killed_in(&platform, &["prune"]);
    ends_well(&platform);
    block_on(async {
        let snapshot = observe(&platform.connect().await, MANAGED_BY)
            .await
            .expect("snapshot");
        assert!(!snapshot.iter().any(|(id, _)| id.name == "left-over"));
    });
    killed_in(&platform, &["verify"]);
    ends_well(&platform);
}

/// An object of a component that the profile has no more.
fn stray() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "left-over", "namespace": "voiceassistant-prod",
            "labels": { "app.kubernetes.io/managed-by": "vadev", "vadev.dev/workspace": "e2e", "vadev.dev/component": "gone-service" },
        },
    })
}

#[test]
#[ignore = "needs a cluster"]
fn a_component_that_leaves_the_profile_is_pruned() {
    let platform = Platform::running();
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::apply_one(&cluster, &stray(), vadev::k8s::ApplyOptions::default())
            .await
            .expect("apply");
    });
    let report = platform.up();
    assert!(
        report["plan"]
            .to_string()
            .contains("ConfigMap/left-over in voiceassistant-prod"),
        "{:#}",
        report["plan"]
    );
    block_on(async {
        let snapshot = observe(&platform.connect().await, MANAGED_BY)
            .await
            .expect("snapshot");
        assert!(!snapshot.iter().any(|(id, _)| id.name == "left-over"));
    });
}
