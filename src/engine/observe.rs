//! One look at the cluster before planning.

use std::collections::BTreeSet;
use std::time::Duration;

use super::builds;
use super::gateway_tls;
use super::images::Images;
use super::mesh;
use super::platform::Platform;
use super::remote;
use crate::cluster::{ClusterError, Condition, Mesh};
use crate::failure::Failure;
use crate::image;
use crate::k8s::{self, Cluster, KindInfo};
use crate::plan::steps::CLUSTER;
use crate::plan::{self, ClusterState, Observed};
use crate::render::object::WORKSPACE;

/// How long a running node may take to answer: it may just have been resumed.
const ANSWER: Duration = Duration::from_mins(1);

/// Everything the planner wants to know, and the connection where there is a cluster.
pub async fn observe(platform: &Platform, images: &Images) -> Result<(Observed, Option<Cluster>), Failure> {
    let name = platform.cluster_name();
    let own = platform.options.place.existing().is_none();
    let mut observed = Observed {
        cluster: if own {
            state(&name, platform.kind().await?.condition(&name).await?)?
        } else {
            ClusterState::Running
        },
        images_to_supply: images.to_supply.clone(),
        ..Observed::default()
    };
    if matches!(observed.cluster, ClusterState::Missing | ClusterState::Broken(_)) {
        observed.tools_to_supply.extend(tool(platform, "kind").await?);
    }
    if images.istio.is_some() {
        observed.tools_to_supply.extend(tool(platform, "istioctl").await?);
    }
    if observed.cluster != ClusterState::Running {
        let seen = builds::observe(platform, &images.sources, &observed.cluster, &[], None).await?;
        observed.images_to_supply.extend(seen.to_build);
        return Ok((observed, None));
    }
    let cluster = platform.connect(ANSWER).await?;
    let stack = platform.stack();
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, stack.workspace);
    let in_nodes = images
        .by_component
        .iter()
        .filter(|(component, _)| *component != CLUSTER);
    // Of what is not there yet, and of moving tags, Docker could say nothing.
    let asked = |reference: &&String| {
        !images.sources.contains_key(*reference) && !images.to_supply.contains_key(*reference)
    };
    let wanted: Vec<String> = in_nodes
        .flat_map(|(_, references)| references)
        .filter(asked)
        .cloned()
        .collect();
    let nodes = nodes(platform).await?;
    let cache = platform.supply.cache().root();
    let namespaces = [stack.namespaces.apps.as_str(), stack.namespaces.infra.as_str()];
    let autoscalers = KindInfo::several(&[("autoscaling/v2", "HorizontalPodAutoscaler")]);
    let (snapshot, autoscalers, missing, installed, certificate, seen) = tokio::join!(
        k8s::observe(&cluster, &selector),
        // Those too that `hpa set` or somebody else made.
        k8s::observe_in(&cluster, &namespaces, "", &autoscalers),
        lacking(platform, images, &nodes, &wanted),
        Mesh::observe(&cluster, cache),
        gateway_tls::missing(platform, &cluster),
        builds::observe(
            platform,
            &images.sources,
            &observed.cluster,
            &nodes,
            Some(&cluster)
        )
    );
    let seen = seen?;
    observed.objects = snapshot?
        .iter()
        .map(|(reference, value)| (reference.into(), value.clone()))
        .collect();
    observed.scaled = plan::scaled(autoscalers?.iter().map(|(_, value)| value));
    observed.images_to_ship = missing?;
    observed.images_to_ship.extend(seen.to_ship);
    observed.images_to_supply.extend(seen.to_build);
    observed.stale = seen.stale;
    let installed = installed?;
    if !own {
        mesh::refuse_old(&cluster.version().await?, &installed)?;
    }
    observed.mesh = mesh::state(installed);
    observed.certificate_missing = certificate?;
    Ok((observed, Some(cluster)))
}

async fn tool(platform: &Platform, name: &str) -> Result<Option<(String, String)>, Failure> {
    let cause = platform.supply.tool_cause(name).await?;
    Ok(cause.map(|cause| (name.to_owned(), cause)))
}

/// The nodes' containers; another's cluster has none that vadev could reach.
async fn nodes(platform: &Platform) -> Result<Vec<String>, Failure> {
    if platform.options.place.existing().is_some() {
        return Ok(Vec::new());
    }
    let nodes = platform.kind().await?.nodes(&platform.cluster_name()).await?;
    Ok(nodes.into_iter().map(|node| node.name).collect())
}

/// The images that a node lacks. Another cluster's nodes pull from registries by themselves: there, it is those that the
/// registry lacks.
async fn lacking(
    platform: &Platform,
    images: &Images,
    nodes: &[String],
    wanted: &[String],
) -> Result<BTreeSet<String>, Failure> {
    if platform.options.place.existing().is_some() {
        return remote::lacking(platform, images).await;
    }
    let docker = platform.supply.docker().await?;
    let missing = image::missing(docker, nodes, wanted).await?;
    Ok(missing.into_iter().map(|missing| missing.image).collect())
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
