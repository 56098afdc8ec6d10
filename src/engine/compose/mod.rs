//! The platform without Kubernetes: the Compose file of a stack, carried out by the compose tool of this machine.

mod containers;
mod folder;
mod run;

pub use containers::ContainerStatus;
pub use folder::{Folder, Kept};
pub use run::{ComposeOptions, ComposeReport, down, logs, merged, services, up};

/// Compose's name of a workspace's containers, networks and volumes.
pub fn project(workspace: &str) -> String {
    format!("vadev-{workspace}")
}
