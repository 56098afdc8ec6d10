//! Images of the user's own choice into the nodes, as `kind load docker-image` does, but only what a node lacks.

use serde::Serialize;

use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::image::{self, Shipped};
use crate::report::Step;

/// What `load` has done for one image and one node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loaded {
    /// As it was named.
    pub image: String,
    /// The node.
    pub node: String,
    /// Whether it was there already, with the same content.
    pub was_there: bool,
    /// Bytes that went to the node.
    pub sent_bytes: u64,
    /// Bytes of layers that the node had.
    pub skipped_bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

impl From<Shipped> for Loaded {
    fn from(one: Shipped) -> Self {
        Self {
            was_there: one.config.is_empty(),
            image: one.image,
            node: one.node,
            sent_bytes: one.sent_bytes,
            skipped_bytes: one.skipped_bytes,
            seconds: one.seconds,
        }
    }
}

/// Brings images of the engine into the nodes of the running cluster, into all of them or into those named.
pub async fn load(
    platform: &Platform,
    images: &[String],
    only: &[String],
    step: &Step,
) -> Result<Vec<Loaded>, Failure> {
    let name = platform.cluster_name();
    let nodes = platform.kind().await?.nodes(&name).await?;
    let nodes: Vec<String> = nodes.into_iter().map(|node| node.name).collect();
    if nodes.is_empty() {
        return Err(
            Plain::new(Family::Cluster, format!("the cluster {name} does not exist"))
                .with_hint("vadev up")
                .into(),
        );
    }
    if let Some(unknown) = only.iter().find(|node| !nodes.contains(node)) {
        return Err(Plain::new(Family::Usage, format!("{name} has no node {unknown}"))
            .with_hint(format!("its nodes are {}", nodes.join(", ")))
            .into());
    }
    let to = if only.is_empty() { &nodes } else { only };
    let docker = platform.supply.docker().await?;
    let shipped = image::ship(docker, to, images, step).await?;
    Ok(shipped.into_iter().map(Loaded::from).collect())
}
