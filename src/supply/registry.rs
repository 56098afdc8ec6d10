//! Container registries: whether one can be reached, found out once a run, and pulling from it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::CreateImageOptions;
use futures::{StreamExt, future};
use tokio::sync::OnceCell;

use super::credentials::credentials;
use super::docker::reason;
use super::recipe::images;
use super::{SupplyError, pulse::Pulse};
use crate::report::Step;

/// A registry that does not greet within this time would be too slow to pull from.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Docker Hub's registry goes by another name than its images.
pub const HUB: &str = "registry-1.docker.io";

/// What is known of registries in this run, by host: `None` if one can be reached, else why not.
#[derive(Debug, Default)]
pub struct Registries(Mutex<HashMap<String, Arc<OnceCell<Option<String>>>>>);

impl Registries {
    /// An error where the registry of `reference` cannot be reached, neither directly nor through a mirror of the engine's.
    pub async fn reachable(&self, docker: &Docker, reference: &str) -> Result<(), SupplyError> {
        let host = host_of(reference);
        let cell = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(host.to_owned()).or_default())
        };
        match cell.get_or_init(|| probe_all(docker, host)).await {
            None => Ok(()),
            Some(reason) => Err(SupplyError::Engine {
                action: format!("reach {host}"),
                reason: reason.clone(),
            }),
        }
    }
}

impl Registries {
    /// Whether the registry of `reference` can be reached and has it. The engine asks, with the user's own mirrors.
    pub async fn offers(&self, docker: &Docker, reference: &str) -> bool {
        self.reachable(docker, reference).await.is_ok()
            // A log-in that can't be read is told by the pull; a public image needs none.
            && docker
                .inspect_registry_image(reference, credentials(reference).await.ok().flatten())
                .await
                .is_ok()
    }
}

/// The host that serves a reference.
pub fn host_of(reference: &str) -> &str {
    match reference.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => HUB,
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// Whether the registry is on this machine.
pub fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name == "[::1]" || name.starts_with("127.")
}

async fn probe_all(docker: &Docker, host: &str) -> Option<String> {
    let mut addresses = vec![format!("https://{host}/v2/")];
    // The engine itself speaks plain HTTP with registries on this machine, and with no others.
    if is_local(host) {
        addresses.push(format!("http://{host}/v2/"));
    }
    if host == HUB
        && let Ok(info) = docker.info().await
    {
        let mirrors = info
            .registry_config
            .and_then(|config| config.mirrors)
            .unwrap_or_default();
        addresses.extend(
            mirrors
                .iter()
                .map(|mirror| format!("{}/v2/", mirror.trim_end_matches('/'))),
        );
    }
    let answers = future::join_all(addresses.iter().map(|address| probe(address))).await;
    if answers.iter().any(Result::is_ok) {
        return None;
    }
    answers.into_iter().find_map(Result::err)
}

/// Asks whether a registry answers at `address`; any answer will do, most ask for a log-in.
pub async fn probe(address: &str) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| reason(&error))?;
    client.get(address).send().await.map(drop).map_err(|error| {
        if error.is_timeout() {
            format!("no answer within {} s", PATIENCE.as_secs_f32())
        } else {
            reason(&error)
        }
    })
}

/// Pulls an image; the engine checks each layer against the manifest, and the manifest against its digest.
pub async fn pull(docker: &Docker, reference: &str, step: &Step) -> Result<(), SupplyError> {
    let pulse = Pulse::new(step);
    let (repo, tag) = if reference.contains('@') {
        (reference, None)
    } else {
        let (repo, tag) = images::split(reference);
        (repo, Some(tag.to_owned()))
    };
    let options = CreateImageOptions {
        from_image: Some(repo.to_owned()),
        tag,
        ..Default::default()
    };
    let mut stream = docker.create_image(Some(options), None, credentials(reference).await?);
    let failed = |reason: String| SupplyError::Engine {
        action: format!("pull {reference}"),
        reason,
    };
    while let Some(info) = pulse.during(stream.next()).await {
        let info = info.map_err(|error| failed(reason(&error)))?;
        if let Some(message) = info.error_detail.and_then(|detail| detail.message) {
            return Err(failed(message));
        }
        let bytes = info
            .progress_detail
            .as_ref()
            .and_then(|detail| Some((detail.current?, detail.total?)));
        let status = info.status.unwrap_or_default();
        match bytes {
            Some((done, all)) if all > 0 => pulse.tell(&format!(
                "{status} · {} of {} MB",
                done / 1_000_000,
                all / 1_000_000
            )),
            _ => pulse.tell(&status),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        for (reference, host) in [
            ("redis:7", HUB),
            ("bitnami/kafka:3", HUB),
            ("docker.io/istio/pilot:1.31.0", HUB),
            ("quay.io/coreos/etcd:v3", "quay.io"),
            ("localhost:5000/x", "localhost:5000"),
            (
                "docker.elastic.co/elasticsearch/elasticsearch:8.11.0",
                "docker.elastic.co",
            ),
        ] {
            assert_eq!(host_of(reference), host, "{reference}");
        }
    }

    #[test]
    fn only_this_machine_is_asked_in_plain_http() {
        assert!(is_local("localhost:5000") && is_local("127.0.0.1:5001") && is_local("localhost"));
        assert!(!is_local("ghcr.io") && !is_local("localhost.example.com:5000"));
    }

    #[tokio::test]
    async fn an_unreachable_registry_is_noticed_quickly() {
        let begun = std::time::Instant::now();
        assert!(probe("https://registry.invalid/v2/").await.is_err());
        assert!(begun.elapsed() < PATIENCE * 2);
    }
}
