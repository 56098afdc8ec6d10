//! Pushing images of the engine to a container registry.

use bollard::Docker;
use bollard::query_parameters::{PushImageOptions, TagImageOptions};
use futures::StreamExt;

use super::credentials::credentials;
use super::docker::reason;
use super::recipe::images;
use super::{SupplyError, pulse::Pulse};
use crate::report::Step;

/// Gives the engine's image `local` the name `remote` and pushes it, with the user's own log-in. Layers that the registry
/// has are not sent again. Returns the digest under which the registry has it, `sha256:<hex>`.
pub async fn push(docker: &Docker, local: &str, remote: &str, step: &Step) -> Result<String, SupplyError> {
    let failed = |reason: String| SupplyError::Engine {
        action: format!("push {remote}"),
        reason,
    };
    let (repo, tag) = images::split(remote);
    let name = TagImageOptions {
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
    };
    docker
        .tag_image(local, Some(name))
        .await
        .map_err(|error| failed(reason(&error)))?;
    let options = PushImageOptions {
        tag: Some(tag.to_owned()),
        ..PushImageOptions::default()
    };
    let pulse = Pulse::new(step);
    let mut stream = Box::pin(docker.push_image(repo, Some(options), credentials(remote).await?));
    while let Some(info) = pulse.during(stream.next()).await {
        let info = info.map_err(|error| failed(reason(&error)))?;
        let status = info.status.unwrap_or_default();
        match info
            .progress_detail
            .and_then(|detail| Some((detail.current?, detail.total?)))
        {
            Some((done, all)) if all > 0 => pulse.tell(&format!(
                "{status} · {} of {} MB",
                done / 1_000_000,
                all / 1_000_000
            )),
            _ => pulse.tell(&status),
        }
    }
    let pushed = docker
        .inspect_image(remote)
        .await
        .map_err(|error| failed(reason(&error)))?;
    let digests = pushed.repo_digests.unwrap_or_default();
    let digest = digests
        .iter()
        .find_map(|one| one.strip_prefix(repo)?.strip_prefix('@'));
    digest
        .map(str::to_owned)
        .ok_or_else(|| failed("the engine does not know its digest afterwards".to_owned()))
}
