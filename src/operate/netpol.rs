//! Who may reach whom by the network policies that are there, against who has to.

use serde::Serialize;
use serde_json::{Value, json};

use super::enforce::{Enforcement, enforcement};
use super::site::{Site, Workload, if_allowed};
use crate::failure::Failure;
use crate::k8s::{KindInfo, observe_in, observe_kinds, own_container, selects};

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
    /// What enforces them.
    #[serde(flatten)]
    pub enforcement: Enforcement,
    /// Every pair.
    pub pairs: Vec<Pair>,
}

/// Computes who may reach whom. `needs` says whether a caller has to reach a called.
pub async fn show(site: &Site, needs: impl Fn(&str, &str) -> bool) -> Result<Reachability, Failure> {
    let kind = |version, kind| KindInfo::several(&[(version, kind)]);
    let (policy, namespace) = (
        kind("networking.k8s.io/v1", "NetworkPolicy"),
        kind("v1", "Namespace"),
    );
    let ours = [site.namespaces.apps.as_str(), site.namespaces.infra.as_str()];
    let (workloads, policies, namespaces, enforcement) = tokio::join!(
        site.workloads(),
        observe_in(&site.cluster, &ours, "", &policy),
        observe_kinds(&site.cluster, "", &namespace),
        enforcement(&site.cluster)
    );
    let (workloads, policies, enforcement) = (workloads?, policies?, enforcement?);
    // Of the whole cluster, which a user of a shared one may not read: without them less is known.
    let namespaces = if_allowed(namespaces)?;
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
        enforcement,
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
}

#[cfg(test)]
#[path = "netpol_tests.rs"]
mod production;
