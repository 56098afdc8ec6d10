//! The platform's beginning and end.

use std::process::Command;

use kube::api::{ListParams, PostParams};
use serde_json::json;
use vadev::k8s::{MANAGED_BY, observe};

use crate::data;
use crate::harness::{self, CLUSTER, Platform, USER_KUBECONFIG, block_on, eventually, text};

#[test]
#[ignore = "needs a cluster"]
fn down_keep_cluster_removes_what_is_vadevs_and_nothing_else() {
    use k8s_openapi::api::core::v1::ConfigMap;
    let platform = Platform::running();
    block_on(async {
        let maps: kube::Api<ConfigMap> =
            kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-prod");
        let own =
            serde_json::from_value(json!({ "metadata": { "name": "somebody-elses" }, "data": { "a": "b" } }))
                .expect("object");
        // Left by an earlier run, perhaps.
        let _there = maps.create(&PostParams::default(), &own).await;
    });
    let mark = data::put(&platform);
    let refused = platform.run(&["down", "--keep-cluster"]);
    assert_eq!(
        refused.status.code(),
        Some(8),
        "without a terminal and without --yes it refuses: {}",
        text(&refused.stderr)
    );
    platform.succeed(&["down", "--keep-cluster", "--yes"]);
    block_on(async {
        let cluster = platform.connect().await;
        let left = observe(&cluster, MANAGED_BY).await.expect("snapshot");
        let left: Vec<String> = left
            .iter()
            .map(|(id, _)| id.to_string())
            .filter(|id| {
                !id.contains("Namespace")
                    && !id.contains("PersistentVolumeClaim")
                    && !id.contains("istio-system")
            })
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let maps: kube::Api<ConfigMap> = kube::Api::namespaced(cluster.client(), "voiceassistant-prod");
        let names: Vec<_> = maps
            .list(&ListParams::default())
            .await
            .expect("list")
            .items
            .into_iter()
            .filter_map(|m| m.metadata.name)
            .collect();
        assert!(names.contains(&"somebody-elses".to_owned()), "{names:?}");
    });
    assert_eq!(platform.up()["verify"]["ok"], true);
    data::is_there(&platform, &mark);
}

#[test]
#[ignore = "needs a cluster"]
fn a_stopped_node_is_started_again() {
    let platform = Platform::running();
    let mark = data::put(&platform);
    let node = format!("{CLUSTER}-control-plane");
    let stopped = Command::new("docker")
        .args(["stop", "-t", "20", &node])
        .output()
        .expect("docker");
    assert!(stopped.status.success(), "{}", text(&stopped.stderr));
    let report = platform.up();
    assert!(
        report["plan"].to_string().contains("stopped"),
        "{:#}",
        report["plan"]
    );
    assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
    data::is_there(&platform, &mark);
}

#[test]
#[ignore = "needs a cluster"]
fn a_paused_platform_goes_on_where_it_was() {
    let platform = Platform::running();
    assert_eq!(platform.json(&["pause", "-o", "json"])["changed"], true);
    assert_eq!(platform.json(&["pause", "-o", "json"])["changed"], false);
    let refused = platform.run(&["status"]);
    assert_eq!(refused.status.code(), Some(5), "{}", text(&refused.stderr));
    assert!(
        text(&refused.stderr).contains("paused"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(platform.json(&["resume", "-o", "json"])["changed"], true);
    let report = platform.json(&["verify", "-o", "json"]);
    assert_eq!(report["ok"], true, "{report:#}");
}

#[test]
#[ignore = "needs a cluster"]
fn down_takes_the_cluster_and_leaves_other_containers() {
    let platform = Platform::running();
    let containers = || docker(&["ps", "-a", "--format", "{{.Names}}"]);
    let volumes = || docker(&["volume", "ls", "--format", "{{.Name}}"]);
    let networks = || docker(&["network", "ls", "--format", "{{.Name}}"]);
    let node = format!("{CLUSTER}-control-plane");
    let own_volumes = docker(&[
        "inspect",
        "-f",
        "{{range .Mounts}}{{println .Name}}{{end}}",
        &node,
    ]);
    let own_volumes: Vec<String> = own_volumes.into_iter().filter(|name| !name.is_empty()).collect();
    assert!(!own_volumes.is_empty(), "kind gives its nodes volumes");
    let (other_volumes, mut other_networks) = (volumes(), networks());
    let other_volumes: Vec<String> = other_volumes
        .into_iter()
        .filter(|name| !own_volumes.contains(name))
        .collect();
    // kind's network goes where it came with this cluster and nothing else is on it.
    let state = platform.workspace.join(".vadev");
    let record = std::fs::read(state.join(format!("{CLUSTER}.json"))).expect("vadev's memory");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    let on_it = docker(&["ps", "-a", "--filter", "network=kind", "--format", "{{.Names}}"]);
    if record["network"] == true && on_it == [node.clone()] {
        other_networks.retain(|name| name != "kind");
    }
    let others: Vec<String> = containers()
        .into_iter()
        .filter(|name| !name.starts_with(CLUSTER))
        .collect();
    let user = || std::fs::read_to_string(platform.workspace.join(USER_KUBECONFIG)).expect("kubeconfig");
    let context = format!("kind-{CLUSTER}");
    assert!(user().contains(&context), "up offers its context:\n{}", user());
    assert!(
        user().contains("current-context: work"),
        "and leaves the current one:\n{}",
        user()
    );
    platform.succeed(&["down", "--yes"]);
    assert!(!user().contains(&context), "down takes it away:\n{}", user());
    let now = eventually("the node's removal", || {
        Some(containers()).filter(|names| !names.iter().any(|name| name.starts_with(CLUSTER)))
    });
    assert_eq!(now, others);
    assert_eq!(volumes(), other_volumes);
    assert_eq!(networks(), other_networks);
    let of_cluster = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).expect("the state folder").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(CLUSTER)).collect::<Vec<_>>()
    };
    assert_eq!(
        of_cluster(&state),
        Vec::<String>::new(),
        "what it knew of the cluster"
    );
    // A second one has nothing to do, and says so.
    platform.succeed(&["down", "--yes"]);
    // The secrets stay for the next one, unless everything is to go.
    assert!(state.is_dir());
    platform.succeed(&["down", "--purge", "--yes"]);
    assert!(!state.exists(), "the state folder");
}

/// The lines that docker prints, sorted.
fn docker(args: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = harness::docker(args).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
