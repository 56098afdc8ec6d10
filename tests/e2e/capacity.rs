//! The stated minimum cluster holds production: proven by the real scheduler, on nodes that kwok plays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use indexmap::IndexMap;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use vadev::profile::{Sources, load_all};
use vadev::promote::{Environment, Target, production_stack, tree};

use crate::harness::{CLUSTER, Platform, block_on, eventually, tool};

const NAMESPACE: &str = "capacity";
/// What a machine of 8 CPU and 16 GB leaves for pods: managed clouds reserve about 0.1 CPU and 2.6 GiB of it for the system,
/// and each node's own agents request about 0.3 CPU and 0.3 GiB.
const CPU: &str = "7600m";
const MEMORY: &str = "13Gi";

/// The nodes, and kwok that plays them; both end with this.
struct Nodes<'a> {
    platform: &'a Platform,
    kwok: Child,
}

impl<'a> Nodes<'a> {
    fn start(platform: &'a Platform) -> Self {
        let kubeconfig = platform.workspace.join(format!(".vadev/{CLUSTER}.kubeconfig"));
        let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/kwok-stages.yaml");
        let kwok = Command::new(tool("kwok"))
            .arg("--config")
            .arg(stages)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args([
                "--manage-nodes-with-label-selector",
                "type=kwok",
                "--server-address",
                "127.0.0.1:0",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("kwok starts");
        let nodes = Self { platform, kwok };
        block_on(async {
            let client = platform.connect().await.client();
            let namespace =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
            Api::<Namespace>::all(client.clone())
                .patch(
                    NAMESPACE,
                    &PatchParams::apply("e2e").force(),
                    &Patch::Apply(namespace),
                )
                .await
                .expect("namespace");
            for number in 0..3 {
                let node = node(&format!("kwok-{number}"));
                Api::<Node>::all(client.clone())
                    .create(&PostParams::default(), &node)
                    .await
                    .expect("node");
            }
        });
        nodes
    }
}

impl Drop for Nodes<'_> {
    fn drop(&mut self) {
        block_on(async {
            let client = self.platform.connect().await.client();
            let _namespace = Api::<Namespace>::all(client.clone())
                .delete(NAMESPACE, &DeleteParams::default())
                .await;
            // Pods on played nodes end only while somebody plays them.
            let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
            for _ in 0..600 {
                if pods
                    .list(&ListParams::default())
                    .await
                    .is_ok_and(|pods| pods.items.is_empty())
                {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
            for number in 0..3 {
                let _node = Api::<Node>::all(client.clone())
                    .delete(&format!("kwok-{number}"), &DeleteParams::default())
                    .await;
            }
        });
        let _killed = self.kwok.kill();
        let _ended = self.kwok.wait();
    }
}

fn node(name: &str) -> Node {
    let amounts = json!({ "cpu": CPU, "memory": MEMORY, "pods": "110" });
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "labels": { "type": "kwok", "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": name },
            "annotations": { "node.alpha.kubernetes.io/ttl": "0", "kwok.x-k8s.io/node": "fake" },
        },
        // Nothing else of the shared cluster is to land here.
        "spec": { "taints": [{ "key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule" }] },
        "status": { "capacity": amounts, "allocatable": amounts, "phase": "Running" },
    }))
    .expect("a node")
}

/// The workloads of the production tree as the scheduler sees them: requests, sidecars, spreading, surge.
fn workloads() -> Vec<Deployment> {
    let loaded = load_all(&Sources::default(), "capacity").expect("what is built in");
    let environment = Environment::unnamed();
    let stack = production_stack(
        &loaded.catalog,
        &loaded.profiles["prod"],
        &loaded.workspace,
        &environment,
        &[],
    )
    .expect("resolves");
    let tree = tree(&stack, &environment, Target::default(), &IndexMap::new());
    let mesh = stack.mesh.clone().expect("production has a mesh");
    let least: BTreeMap<&str, u32> = stack
        .services
        .iter()
        .map(|sized| (sized.service.name.as_str(), sized.service.autoscaling.min))
        .collect();
    let mut all: Vec<Value> = tree
        .objects()
        .map(|(_, object)| object)
        .filter(|object| matches!(object["kind"].as_str(), Some("Deployment" | "StatefulSet")))
        .map(|object| {
            let name = object["metadata"]["name"].as_str().expect("a name");
            let template = &object["spec"]["template"];
            let mut containers = vec![json!({ "name": "own", "image": "none.invalid/none", "resources": template["spec"]["containers"][0]["resources"] })];
            if least.contains_key(name) {
                containers.push(json!({ "name": "istio-proxy", "image": "none.invalid/none", "resources": { "requests": mesh.sidecar.requests } }));
            }
            let replicas = least.get(name).map_or_else(|| object["spec"]["replicas"].clone(), |least| json!(least));
            deployment(name, &replicas, &json!(containers), &template["spec"]["topologySpreadConstraints"])
        })
        .collect();
    let there: BTreeSet<&str> = all
        .iter()
        .filter_map(|one| one["metadata"]["name"].as_str())
        .collect();
    let systems = stack
        .infrastructure
        .iter()
        .flat_map(|sized| &sized.infrastructure.workloads);
    let wanted = least
        .keys()
        .copied()
        .chain(systems.map(|workload| workload.name.as_str()));
    let lacking: Vec<&str> = wanted.filter(|name| !there.contains(name)).collect();
    assert!(
        least.len() == 14 && lacking.is_empty(),
        "not in the tree: {lacking:?}"
    );
    for (name, replicas, resources) in [
        ("istiod", mesh.pilot_replicas, mesh.pilot),
        ("istio-ingressgateway", mesh.gateway_replicas, mesh.gateway),
    ] {
        let containers = json!([{ "name": "own", "image": "none.invalid/none", "resources": { "requests": resources.requests } }]);
        all.push(deployment(name, &json!(replicas), &containers, &Value::Null));
    }
    let typed = all
        .into_iter()
        .map(|value| serde_json::from_value(value).expect("a deployment"));
    typed.collect()
}

fn deployment(name: &str, replicas: &Value, containers: &Value, spread: &Value) -> Value {
    let mut value = json!({
        "metadata": { "name": name },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": { "app": name } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": {
                    "containers": containers,
                    "nodeSelector": { "type": "kwok" },
                    "tolerations": [{ "key": "kwok.x-k8s.io/node", "operator": "Exists" }],
                },
            },
        },
    });
    if !spread.is_null() {
        value["spec"]["template"]["spec"]["topologySpreadConstraints"] = spread.clone();
    }
    value
}

/// Waits until every workload has all its replicas of its newest template.
fn all_available(platform: &Platform, what: &str) {
    let mut behind = Vec::new();
    eventually(what, || {
        behind = block_on(async {
            let deployments: Api<Deployment> = Api::namespaced(platform.connect().await.client(), NAMESPACE);
            let listed = deployments
                .list(&ListParams::default())
                .await
                .expect("list")
                .items;
            let done = |one: &&Deployment| {
                let (Some(spec), Some(status)) = (&one.spec, &one.status) else {
                    return false;
                };
                status.observed_generation >= one.metadata.generation
                    && status.updated_replicas == spec.replicas
                    && status.available_replicas == spec.replicas
                    && status.replicas == spec.replicas
            };
            listed
                .iter()
                .filter(|one| !done(one))
                .filter_map(|one| one.metadata.name.clone())
                .collect()
        });
        behind.is_empty().then_some(())
    });
}

#[test]
#[ignore = "needs a cluster"]
fn three_nodes_of_8_cpu_and_16_gb_hold_production_and_a_rolling_update_of_it() {
    let platform = Platform::running();
    let _nodes = Nodes::start(&platform);
    let workloads = workloads();
    let api = async || Api::<Deployment>::namespaced(platform.connect().await.client(), NAMESPACE);
    block_on(async {
        for one in &workloads {
            api()
                .await
                .create(&PostParams::default(), one)
                .await
                .expect("create");
        }
    });
    all_available(&platform, "all of production on three nodes");
    // Every service and system at once, each with one pod more until the old one is gone.
    block_on(async {
        let newer =
            json!({ "spec": { "template": { "metadata": { "annotations": { "rolled": "once" } } } } });
        for one in &workloads {
            let name = one.metadata.name.as_deref().expect("a name");
            api()
                .await
                .patch(name, &PatchParams::default(), &Patch::Merge(&newer))
                .await
                .expect("patch");
        }
    });
    all_available(&platform, "a rolling update of everything at once");
    // The nodes do have an end: the proof above would be none if they took anything.
    block_on(async {
        let many = json!({ "spec": { "replicas": 50 } });
        api()
            .await
            .patch("model-adapter", &PatchParams::default(), &Patch::Merge(&many))
            .await
            .expect("scale");
    });
    eventually("a pod that no node has room for", || {
        block_on(async {
            let pods: Api<Pod> = Api::namespaced(platform.connect().await.client(), NAMESPACE);
            let pods = pods
                .list(&ListParams::default().labels("app=model-adapter"))
                .await
                .expect("list")
                .items;
            let unschedulable = pods.iter().any(|pod| {
                let conditions = pod
                    .status
                    .iter()
                    .flat_map(|status| status.conditions.iter().flatten());
                conditions
                    .into_iter()
                    .any(|condition| condition.reason.as_deref() == Some("Unschedulable"))
            });
            unschedulable.then_some(())
        })
    });
}
