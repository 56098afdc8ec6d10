//! Images of a production tree: pushed where they were built here, and pinned by what registries say.

use indexmap::IndexMap;

use crate::failure::Failure;
use crate::image;
use crate::profile::Stack;
use crate::promote::Environment;
use crate::promote::images::{images, is_pinned, retagged};
use crate::report::Reporter;
use crate::supply::{self, Supply};

/// Label of images that vadev built from the workspace, with the service's name as its value.
const BUILT: &str = "dev.vadev.service";

/// Sees to a digest for every image that the environment does not pin. With a registry, what is in the local engine is
/// pushed there: an image built from the workspace, or one of the name that production runs. Everything else is looked up
/// where it is. Name → reference with digest; what has none is left to the check.
pub async fn publish(
    source: &Supply,
    stack: &Stack,
    environment: &Environment,
    registry: Option<&str>,
    reporter: &Reporter,
) -> Result<IndexMap<String, String>, Failure> {
    let wanted = images(stack, environment, &IndexMap::new());
    let mut pinned = IndexMap::new();
    let unpinned: Vec<(&String, &str)> = wanted
        .iter()
        .map(|(name, image)| (name, image.reference.as_str()))
        .filter(|(_, reference)| !is_pinned(reference))
        .collect();
    if unpinned.is_empty() {
        return Ok(pinned);
    }
    let docker = source.docker().await?;
    let step = reporter.step("images", "Pin images by digest", None);
    for (name, reference) in unpinned {
        step.progress(reference.to_owned());
        if let Some(registry) = registry {
            let built = image::newest_with(docker, &format!("{BUILT}={name}")).await?;
            let there = docker.inspect_image(reference).await.is_ok();
            if let Some(local) = built.or_else(|| there.then(|| reference.to_owned())) {
                let remote = retagged(reference, registry);
                let digest = supply::push(docker, &local, &remote, &step).await?;
                pinned.insert(name.clone(), format!("{remote}@{digest}"));
                continue;
            }
        }
        if let Some(digest) = source.digest(reference).await? {
            pinned.insert(name.clone(), digest);
        }
    }
    step.done(format!("{} of {} images", pinned.len(), wanted.len()));
    Ok(pinned)
}
