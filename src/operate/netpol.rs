//! Who may reach whom by the network policies that are there, against who has to.

use serde::Serialize;
use serde_json::{Value, json};

use super::site::{Site, Workload, if_allowed};
use crate::failure::Failure;
use crate::k8s::{KindInfo, ObjectRef, find, observe_in, observe_kinds, own_container, selects};

/// Something with pods, as policies see it.
#[derive(Debug, Clone)]
struct Peer {
    name: String,
    namespace: String,
    labels: Value,
    namespace_labels: Value,
    ports: Vec<(String, u64)>,
}

/// One pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The caller.
    pub from: String,
    /// The called.
    pub to: String,
    /// Whether the policies let it through.
    pub allowed: bool,
    /// Whether the caller calls it or stores there, by the catalog.
    pub needed: bool,
    /// Why not, where it is not: the policies that stand in the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

/// The whole picture.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reachability {
    /// How many policies there are.
    pub policies: usize,
    /// What enforces them; absent where nothing runs that is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced_by: Option<String>,
    /// The network that is known to enforce none; absent where one does, or where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_by: Option<String>,
    /// Every pair.
    pub pairs: Vec<Pair>,
}

/// Networks that enforce policies, by the name of a `DaemonSet` of theirs.
const ENFORCERS: [&str; 10] = [
    "calico-node",
    "canal",
    "cilium",
    "anetd",
    "antrea-agent",
    "ovnkube-node",
    "azure-npm",
    "weave-net",
    "kube-router",
    "kube-network-policies",
];

/// What only the node image that vadev makes from packages has: its network is a program of the nodes and no `DaemonSet`, and
/// enforces no policies.
const OWN_NETWORK: &str = "vadev:node-network";

/// Since this build kind's own network enforces policies: the one of kind 0.24.
const KINDNET_ENFORCES: u32 = 20_240_813;

/// Whether kind's own network is new enough. Its images are called after the day: `kindest/kindnetd:v20250512-df8de77b`.
fn is_new_kindnet(daemon: &Value) -> bool {
    let image = daemon["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    let tag = image.and_then(|image| image.rsplit_once(":v")?.1.get(..8));
    let day: Option<u32> = tag.and_then(|day| day.parse().ok());
    day.is_some_and(|day| day >= KINDNET_ENFORCES)
}

/// What enforces policies among a cluster's `DaemonSet`s.
fn enforcer<'a>(daemons: impl Iterator<Item = &'a Value>) -> Option<String> {
    daemons
        .filter(|daemon| {
            let name = daemon["metadata"]["name"].as_str().unwrap_or_default();
            match name {
                "aws-node" => is_aws_agent_on(daemon),
                "kindnet" => is_new_kindnet(daemon),
                name => ENFORCERS.contains(&name),
            }
        })
        .find_map(|daemon| Some(daemon["metadata"]["name"].as_str()?.to_owned()))
}

/// Amazon's network enforces with an agent beside it, which is there in any case and has to be switched on.
fn is_aws_agent_on(daemon: &Value) -> bool {
    let containers = daemon.pointer("/spec/template/spec/containers");
    let containers = containers.and_then(Value::as_array).into_iter().flatten();
    containers
        .filter(|container| container["name"] == "aws-eks-nodeagent")
        .flat_map(|agent| agent["args"].as_array().into_iter().flatten())
        .any(|argument| argument == "--enable-network-policy=true")
}

/// Computes who may reach whom. `needs` says whether a caller has to reach a called.
pub async fn show(site: &Site, needs: impl Fn(&str, &str) -> bool) -> Result<Reachability, Failure> {
    let kind = |version, kind| KindInfo::several(&[(version, kind)]);
    let (policy, namespace, daemon) = (
        kind("networking.k8s.io/v1", "NetworkPolicy"),
        kind("v1", "Namespace"),
        kind("apps/v1", "DaemonSet"),
    );
    let ours = [site.namespaces.apps.as_str(), site.namespaces.infra.as_str()];
    let own = ObjectRef::new("rbac.authorization.k8s.io/v1", "ClusterRole", "", OWN_NETWORK);
    let (workloads, policies, namespaces, daemons, own) = tokio::join!(
        site.workloads(),
        observe_in(&site.cluster, &ours, "", &policy),
        observe_kinds(&site.cluster, "", &namespace),
        observe_kinds(&site.cluster, "", &daemon),
        find(&site.cluster, &own)
    );
    let (workloads, policies) = (workloads?, policies?);
    // Of the whole cluster, which a user of a shared one may not read: without them less is known, and that is said.
    let (namespaces, daemons) = (if_allowed(namespaces)?, if_allowed(daemons)?);
    let own = if_allowed(own)?.is_some();
    let enforced_by = enforcer(daemons.iter().map(|(_, value)| value));
    let policies: Vec<&Value> = policies.iter().map(|(_, value)| value).collect();
    let labels_of = |namespace: &str| {
        let one = namespaces.iter().find(|(id, _)| id.name == namespace);
        one.map_or_else(
            || json!({"kubernetes.io/metadata.name": namespace}),
            |(_, one)| one["metadata"]["labels"].clone(),
        )
    };
    let ours = workloads.iter().filter(|one| site.is_ours(one));
    let peers: Vec<Peer> = ours.map(|one| peer(one, labels_of(one.namespace()))).collect();
    let mut pairs = Vec::new();
    for from in &peers {
        for to in peers.iter().filter(|to| to.name != from.name) {
            let by = barriers(&policies, from, to);
            pairs.push(Pair {
                from: from.name.clone(),
                to: to.name.clone(),
                allowed: by.is_empty(),
                needed: needs(&from.name, &to.name),
                by,
            });
        }
    }
    Ok(Reachability {
        policies: policies.len(),
        ignored_by: (own && enforced_by.is_none()).then(|| "the network of vadev's node image".to_owned()),
        enforced_by,
        pairs,
    })
}

fn peer(workload: &Workload, namespace_labels: Value) -> Peer {
    let container = own_container(&workload.value["spec"]["template"], workload.name());
    let ports = container["ports"].as_array().into_iter().flatten();
    Peer {
        name: workload.name().to_owned(),
        namespace: workload.namespace().to_owned(),
        labels: workload.value["spec"]["template"]["metadata"]["labels"].clone(),
        namespace_labels,
        ports: ports
            .filter_map(|port| {
                let name = port["name"].as_str().unwrap_or_default().to_owned();
                Some((name, port["containerPort"].as_u64()?))
            })
            .collect(),
    }
}

/// The policies that keep `from` from reaching `to` on the port it serves first: those that select one side in one direction,
/// where none of them has a rule that lets it through.
fn barriers(policies: &[&Value], from: &Peer, to: &Peer) -> Vec<String> {
    let mut by = closed(policies, "Ingress", to, |rule| {
        lets(rule["from"].as_array(), from, &to.namespace) && port_fits(rule, to)
    });
    by.extend(closed(policies, "Egress", from, |rule| {
        lets(rule["to"].as_array(), to, &from.namespace) && port_fits(rule, to)
    }));
    by
}

fn closed(policies: &[&Value], direction: &str, side: &Peer, lets: impl Fn(&Value) -> bool) -> Vec<String> {
    let field = direction.to_lowercase();
    let selecting: Vec<&&Value> = policies
        .iter()
        .filter(|policy| {
            let types = policy["spec"]["policyTypes"].as_array();
            // Without types a policy is about what comes in, and about what goes out where it has rules for that.
            let about = types.map_or(
                direction == "Ingress" || policy["spec"].get("egress").is_some(),
                |types| types.iter().any(|one| one == direction),
            );
            about
                && policy["metadata"]["namespace"] == side.namespace.as_str()
                && selects(&policy["spec"]["podSelector"], &side.labels)
        })
        .collect();
    let rules = selecting
        .iter()
        .flat_map(|policy| policy["spec"][&field].as_array().into_iter().flatten());
    if selecting.is_empty() || rules.into_iter().any(lets) {
        return Vec::new();
    }
    let name = |policy: &&&Value| policy["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    selecting.iter().map(name).collect()
}

/// Whether one of a rule's peers is this one; a rule without peers is for everybody.
fn lets(peers: Option<&Vec<Value>>, peer: &Peer, home: &str) -> bool {
    let Some(peers) = peers.filter(|peers| !peers.is_empty()) else {
        return true;
    };
    peers.iter().any(|one| {
        if let Some(block) = one.get("ipBlock") {
            // Pods' addresses come and go; only a block of everything surely holds them.
            return block["cidr"] == "0.0.0.0/0" && block.get("except").is_none();
        }
        let namespace = match one.get("namespaceSelector") {
            Some(selector) => selects(selector, &peer.namespace_labels),
            None => peer.namespace == home,
        };
        namespace
            && one
                .get("podSelector")
                .is_none_or(|selector| selects(selector, &peer.labels))
    })
}

/// Whether a rule is for the port that the called serves on first.
fn port_fits(rule: &Value, to: &Peer) -> bool {
    let Some(ports) = rule["ports"].as_array().filter(|ports| !ports.is_empty()) else {
        return true;
    };
    let Some((name, number)) = to.ports.first() else {
        return true;
    };
    ports.iter().any(|port| match &port["port"] {
        Value::Null => true,
        Value::String(wanted) => wanted == name,
        wanted => {
            let first = wanted.as_u64().unwrap_or(0);
            let last = port["endPort"].as_u64().unwrap_or(first);
            (first..=last).contains(number)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, namespace: &str) -> Peer {
        Peer {
            name: name.into(),
            namespace: namespace.into(),
            labels: json!({"app": name}),
            namespace_labels: json!({"kubernetes.io/metadata.name": namespace}),
            ports: vec![("http".into(), 8080)],
        }
    }

    fn policy(spec: &Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "apps"}, "spec": spec})
    }

    #[test]
    fn without_a_policy_everything_is_open() {
        assert!(barriers(&[], &peer("a", "apps"), &peer("b", "apps")).is_empty());
    }

    #[test]
    fn a_selected_pod_takes_only_what_a_rule_lets_in() {
        let closed = policy(&json!({"podSelector": {}, "policyTypes": ["Ingress"]}));
        let open = policy(&json!({"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"app": "a"}}}], "ports": [{"port": 8080}]}]}));
        let (a, b, c, far) = (
            peer("a", "apps"),
            peer("b", "apps"),
            peer("c", "apps"),
            peer("a", "infra"),
        );
        assert_eq!(barriers(&[&closed], &a, &b), ["p"]);
        assert!(barriers(&[&closed, &open], &a, &b).is_empty(), "policies add up");
        assert_eq!(barriers(&[&closed, &open], &c, &b).len(), 2);
        assert!(
            !barriers(&[&open], &far, &b).is_empty(),
            "a pod selector alone means the same namespace"
        );
        let other_port =
            policy(&json!({"podSelector": {}, "ingress": [{"ports": [{"port": 9090, "endPort": 9099}]}]}));
        assert!(!barriers(&[&other_port], &a, &b).is_empty());
    }

    #[test]
    fn what_goes_out_counts_as_well() {
        let egress = policy(&json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
            {"to": [{"namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["infra"]}]}}]}]}));
        assert!(barriers(&[&egress], &peer("a", "apps"), &peer("db", "infra")).is_empty());
        assert_eq!(
            barriers(&[&egress], &peer("a", "apps"), &peer("b", "apps")),
            ["p"]
        );
    }

    #[test]
    fn an_enforcer_is_known_by_its_daemon() {
        let daemon = |name: &str, args: &[&str]| {
            let agent = json!({"name": "aws-eks-nodeagent", "args": args});
            json!({"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [{}, agent]}}}})
        };
        let found = |daemon: &Value| enforcer(std::iter::once(daemon));
        assert_eq!(found(&daemon("anetd", &[])).as_deref(), Some("anetd"));
        assert_eq!(found(&daemon("kube-proxy", &[])), None);
        assert_eq!(
            found(&daemon("aws-node", &["--enable-network-policy=false"])),
            None
        );
        assert!(found(&daemon("aws-node", &["--enable-network-policy=true"])).is_some());
        let kindnet = |tag: &str| {
            let image = format!("docker.io/kindest/kindnetd:{tag}");
            json!({"metadata": {"name": "kindnet"}, "spec": {"template": {"spec": {"containers": [{"image": image}]}}}})
        };
        assert_eq!(found(&kindnet("v20250512-df8de77b")).as_deref(), Some("kindnet"));
        assert_eq!(found(&kindnet("v20240202-8f1494ea")), None);
    }

    #[test]
    fn the_network_of_vadevs_nodes_is_known_by_its_role() {
        let manifest = include_str!("../supply/recipes/node/files/manifests/default-cni.yaml");
        assert!(manifest.contains(&format!("name: {OWN_NETWORK}")));
    }
}

#[cfg(test)]
#[path = "netpol_tests.rs"]
mod production;
