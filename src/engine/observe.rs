//! One look at the cluster before planning.

use std::collections::BTreeSet;
use std::time::Duration;

use super::images::Images;
use super::mesh;
use super::platform::Platform;
use crate::cluster::{ClusterError, Condition, Mesh};
use crate::failure::Failure;
use crate::image;
use crate::k8s::{self, Cluster};
use crate::plan::steps::CLUSTER;
use crate::plan::{ClusterState, Observed};
use crate::render::object::WORKSPACE;

/// How long a running node may take to answer: it may just have been resumed.
const ANSWER: Duration = Duration::from_mins(1);

/// Everything the planner wants to know, and the connection where there is a cluster.
pub async fn observe(platform: &Platform, images: &Images) -> Result<(Observed, Option<Cluster>), Failure> {
    let kind = platform.kind().await?;
    let name = platform.cluster_name();
    let mut observed = Observed {
        cluster: state(&name, kind.condition(&name).await?)?,
        images_to_supply: images.to_supply.clone(),
        ..Observed::default()
    };
    if observed.cluster != ClusterState::Running {
        return Ok((observed, None));
    }
    let cluster = platform.connect(ANSWER).await?;
    let stack = platform.stack();
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, stack.workspace);
    let in_nodes = images
        .by_component
        .iter()
        .filter(|(component, _)| *component != CLUSTER);
    let wanted: Vec<String> = in_nodes.flat_map(|(_, references)| references.clone()).collect();
    let nodes: Vec<String> = kind
        .nodes(&name)
        .await?
        .into_iter()
        .map(|node| node.name)
        .collect();
    let docker = platform.supply.docker().await?;
    let (snapshot, missing, installed) = tokio::join!(
        k8s::observe(&cluster, &selector),
        image::missing(docker, &nodes, &wanted),
        Mesh::observe(&cluster)
    );
    observed.objects = snapshot?
        .iter()
        .map(|(reference, value)| (reference.into(), value.clone()))
        .collect();
    observed.images_to_ship = missing?
        .into_iter()
        .map(|missing| missing.image)
        .collect::<BTreeSet<String>>();
    observed.mesh = mesh::state(installed?);
    Ok((observed, Some(cluster)))
}

/// The planner's word for what was found; a cluster of somebody else's is refused.
pub fn state(name: &str, found: Condition) -> Result<ClusterState, Failure> {
    Ok(match found {
        Condition::Missing => ClusterState::Missing,
        Condition::Broken(why) => ClusterState::Broken(why),
        Condition::Stopped => ClusterState::Stopped,
        Condition::Paused => ClusterState::Paused,
        Condition::Running => ClusterState::Running,
        Condition::Foreign => {
            return Err(ClusterError::Foreign {
                name: name.to_owned(),
                by: None,
            }
            .into());
        }
    })
}
