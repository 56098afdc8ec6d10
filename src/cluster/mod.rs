//! Clusters: making and finding the kind cluster, bringing a stopped one back, its kubeconfig, whose it is, and Istio
//! in it.

mod analyze;
mod error;
mod istio;
mod kind;
mod kubeconfig;
mod manifest;
mod mark;
mod network;
mod nodes;
mod orphan;
mod owner;
mod state;

pub use analyze::{Finding, findings};
pub use error::ClusterError;
pub use istio::{Istio, IstioPlan, Mesh};
pub use kind::{Create, Kind, cluster_target};
pub use kubeconfig::{
    contexts, find_context, in_user_file, merge_into_user_file, remove_from_user_file, user_kubeconfig,
    user_kubeconfigs,
};
pub use manifest::digest as mesh_digest;
pub use nodes::{Node, NodeState};
pub use owner::{Owner, claim, own_root, owner_of};
pub use state::{Condition, Record};
