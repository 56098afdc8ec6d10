//! Clusters: making and finding the kind cluster, bringing a stopped one back, its kubeconfig, whose it is, and Istio
//! in it.

mod error;
mod istio;
mod kind;
mod kubeconfig;
mod manifest;
mod nodes;
mod orphan;
mod owner;
mod state;

pub use error::ClusterError;
pub use istio::{Istio, IstioPlan, Mesh};
pub use kind::{Create, Kind};
pub use kubeconfig::{merge_into_user_file, remove_from_user_file, user_kubeconfig};
pub use manifest::digest as mesh_digest;
pub use nodes::{Node, NodeState};
pub use owner::{Owner, claim, owner_of};
pub use state::{Condition, Record};
