//! The image of vadev's agent where a cluster's nodes can start it, for a container that asks from inside a pod.

use super::images;
use super::load::load;
use super::platform::Platform;
use crate::failure::Failure;
use crate::k8s::Cluster;
use crate::operate::mesh::asking::image_in;
use crate::report::{Outcome, Step};

/// The image for a container that is to be added to so many pods; fails with why there is none. The nodes of vadev's own cluster
/// are given it where they lack it. In another cluster it is the one that pods of the platform run already, and `consent` is
/// asked first.
pub async fn asking_image(
    platform: &Platform,
    cluster: &Cluster,
    pods: usize,
    consent: &dyn Fn(&str) -> bool,
) -> Result<String, String> {
    if platform.options.place.existing().is_none() {
        return bring(platform)
            .await
            .map_err(|error| format!("vadev's agent can't be brought to the nodes: {error}"));
    }
    let namespace = &platform.stack().namespaces.apps;
    let found = image_in(cluster, namespace).await;
    let found = found.map_err(|error| format!("the pods of {namespace} can't be listed: {error}"))?;
    let image = found.ok_or_else(|| format!("no pod of {namespace} runs an image of vadev's agent"))?;
    let context = platform.cluster_name();
    let question = format!(
        "Add a container that asks to {pods} pods in {context}, which is not vadev's own cluster? It ends after three minutes."
    );
    if consent(&question) {
        Ok(image)
    } else {
        Err("there was no yes to a container that does (--yes)".to_owned())
    }
}

/// Most often nothing has to be sent: stand-ins run it.
async fn bring(platform: &Platform) -> Result<String, Failure> {
    let step = platform
        .reporter
        .step("agent", "Have vadev's agent in the nodes", None);
    let brought = supply_and_load(platform, &step).await;
    match &brought {
        Ok(_) => step.done(""),
        Err(error) => step.finish(Outcome::Failed, error.to_string()),
    };
    brought
}

async fn supply_and_load(platform: &Platform, step: &Step) -> Result<String, Failure> {
    let (wanted, resolved) = images::agent(platform).await?;
    if resolved.cause.is_some() {
        platform.supply.image(&wanted, step).await?;
    }
    load(platform, std::slice::from_ref(&resolved.reference), &[], step).await?;
    Ok(resolved.reference)
}
