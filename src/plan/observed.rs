//! One look at reality, as values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::render::ObjectId;

/// What was found before planning.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The kind cluster.
    pub cluster: ClusterState,
    /// References of images that must be had first: not in the engine, or made from older inputs. Reference → cause.
    pub images_to_supply: BTreeMap<String, String>,
    /// Tools that must be had first, as far as they can be needed. Name → cause.
    pub tools_to_supply: BTreeMap<String, String>,
    /// References that at least one node lacks. Only known where the cluster runs.
    pub images_to_ship: BTreeSet<String>,
    /// Services whose pods run an older image than the moving tag is to mean: service → cause.
    pub stale: BTreeMap<String, String>,
    /// Istio's control plane.
    pub mesh: MeshState,
    /// What the ingress gateway cannot serve https without, where it is missing: the Secret with its certificate.
    pub certificate_missing: Option<String>,
    /// vadev's objects in the cluster.
    pub objects: BTreeMap<ObjectId, Value>,
    /// Workloads whose replicas an autoscaler decides, whoever made it.
    pub scaled: BTreeSet<ObjectId>,
}

/// The workloads that these autoscalers scale.
pub fn scaled<'a>(autoscalers: impl Iterator<Item = &'a Value>) -> BTreeSet<ObjectId> {
    let target = |autoscaler: &Value| {
        let of = &autoscaler["spec"]["scaleTargetRef"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(ObjectId {
            api_version: text(&of["apiVersion"])?,
            kind: text(&of["kind"])?,
            namespace: text(&autoscaler["metadata"]["namespace"]),
            name: text(&of["name"])?,
        })
    };
    autoscalers.filter_map(target).collect()
}

/// The state of the kind cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClusterState {
    /// There is none of that name.
    #[default]
    Missing,
    /// A creation that never ended: it is made again.
    Broken(String),
    /// Its nodes are stopped.
    Stopped,
    /// Its nodes are paused.
    Paused,
    /// The API server answers.
    Running,
}

/// The state of Istio in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MeshState {
    /// Not installed.
    #[default]
    Missing,
    /// Installed by vadev from an installation file with this digest.
    Installed(String),
    /// Installed by vadev, and no longer whole: what is missing of it.
    Damaged(String),
    /// Installed by somebody else.
    Foreign,
}
