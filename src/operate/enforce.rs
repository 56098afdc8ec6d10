//! Whether a cluster's network enforces network policies.

use serde::Serialize;
use serde_json::Value;

use super::site::if_allowed;
use crate::failure::Failure;
use crate::k8s::{Cluster, KindInfo, ObjectRef, find, observe_kinds};

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enforcement {
    /// What enforces them; absent where nothing runs that is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced_by: Option<String>,
    /// The network that is known to enforce none; absent where one does, or where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_by: Option<String>,
}

impl Enforcement {
    /// What is to be told about `policies` of them where they may mean nothing.
    pub fn doubt(&self, policies: usize) -> Option<String> {
        match self {
            Self {
                enforced_by: Some(_), ..
            } => None,
            Self {
                ignored_by: Some(by), ..
            } => Some(format!(
                "{policies} policies, and nothing enforces them here: {by} does not, so everybody may reach everybody"
            )),
            _ => Some(format!(
                "{policies} policies, and whether anything enforces them is not known: no network runs here that vadev knows to do it"
            )),
        }
    }
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

/// Looks for what enforces policies. A user of a shared cluster may not read it: then less is known, and that is said.
///
/// # Errors
/// The API server does not answer.
pub async fn enforcement(cluster: &Cluster) -> Result<Enforcement, Failure> {
    let daemon = KindInfo::several(&[("apps/v1", "DaemonSet")]);
    let own = ObjectRef::new("rbac.authorization.k8s.io/v1", "ClusterRole", "", OWN_NETWORK);
    let (daemons, own) = tokio::join!(observe_kinds(cluster, "", &daemon), find(cluster, &own));
    let (daemons, own) = (if_allowed(daemons)?, if_allowed(own)?.is_some());
    let enforced_by = enforcer(daemons.iter().map(|(_, value)| value));
    Ok(Enforcement {
        ignored_by: (own && enforced_by.is_none()).then(|| "the network of vadev's node image".to_owned()),
        enforced_by,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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

    #[test]
    fn only_a_known_enforcer_leaves_no_doubt() {
        let known = |by: Option<&str>, not: Option<&str>| Enforcement {
            enforced_by: by.map(str::to_owned),
            ignored_by: not.map(str::to_owned),
        };
        assert_eq!(known(Some("cilium"), None).doubt(3), None);
        assert!(
            known(None, Some("x"))
                .doubt(3)
                .is_some_and(|told| told.contains("x does not"))
        );
        assert!(
            known(None, None)
                .doubt(3)
                .is_some_and(|told| told.contains("not known"))
        );
    }
}
