//! Images for a cluster that is not vadev's own: its nodes pull from registries, so what no registry has is pushed to one.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use super::images::Images;
use super::place::Existing;
use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{self, Cluster, ObjectRef};
use crate::plan::steps::{CLUSTER, MESH};
use crate::render::Origin;
use crate::render::operator::IstioImages;
use crate::report::Step;
use crate::supply;

/// The registry to push to: the one that was named, else the one that the cluster announces (KEP-1755).
///
/// # Errors
/// Where there is neither, naming the images that would have to be pushed.
pub async fn registry(
    existing: &Existing,
    cluster: &Cluster,
    images: &Images,
) -> Result<Option<String>, Failure> {
    if let Some(named) = &existing.registry {
        return Ok(Some(named.trim_end_matches('/').to_owned()));
    }
    let announced = ObjectRef::new("v1", "ConfigMap", "kube-public", "local-registry-hosting");
    if let Some(found) = k8s::find(cluster, &announced).await?
        && let Some(host) = announced_host(&found.data)
    {
        return Ok(Some(host));
    }
    let homeless = homeless(images, existing.install_istio);
    if homeless.is_empty() {
        return Ok(None);
    }
    let message = format!(
        "{} cannot pull {} of the images: no registry has them",
        existing.target.context,
        homeless.len()
    );
    Err(Plain::new(Family::Supply, message)
        .with_details(homeless)
        .with_hint("name a registry that its nodes can pull from and you can push to: --registry registry.example.com/team")
        .into())
}

/// `host` in the announcement's YAML.
fn announced_host(data: &Value) -> Option<String> {
    let text = data["data"]["localRegistryHosting.v1"].as_str()?;
    let hosting: Value = serde_saphyr::from_str(text).ok()?;
    hosting["host"].as_str().map(str::to_owned)
}

/// Images that are on this machine only.
fn homeless(images: &Images, with_mesh: bool) -> Vec<String> {
    let deployed = images
        .deployed
        .values()
        .filter(|image| image.origin != Origin::Registry);
    let mut all: BTreeSet<String> = deployed.map(|image| image.reference.clone()).collect();
    if with_mesh
        && images
            .istio
            .as_ref()
            .is_some_and(|istio| istio.origin != Origin::Registry)
    {
        all.extend(images.by_component.get(MESH).into_iter().flatten().cloned());
    }
    all.into_iter().collect()
}

/// Leaves out what such a cluster brings by itself: its nodes, and Istio unless it was asked for.
pub fn trim(existing: &Existing, images: &mut Images) {
    images.by_component.shift_remove(CLUSTER);
    if !existing.install_istio {
        images.by_component.shift_remove(MESH);
    }
    let kept: BTreeSet<String> = images.by_component.values().flatten().cloned().collect();
    images.to_supply.retain(|reference, _| kept.contains(reference));
}

/// Gives every image that is on this machine only the name that it has in the registry, which ends in its content's ID: a
/// changed image is another name, and what runs is what is here. The images are in the engine already.
pub async fn rename(
    platform: &Platform,
    existing: &Existing,
    registry: Option<&str>,
    images: &mut Images,
) -> Result<(), Failure> {
    let Some(registry) = registry else {
        return Ok(());
    };
    let docker = platform.supply.docker().await?;
    for local in homeless(images, existing.install_istio) {
        let found = docker.inspect_image(&local).await.map_err(|error| {
            Plain::new(
                Family::Supply,
                format!("can't inspect the image {local}: {error}"),
            )
        })?;
        let mesh = images
            .by_component
            .get(MESH)
            .is_some_and(|of_mesh| of_mesh.contains(&local));
        // istioctl puts hub, name and tag together by itself, so Istio's images keep their tags.
        let remote = name_in(registry, &local, found.id.as_deref().filter(|_| !mesh));
        for image in images
            .deployed
            .values_mut()
            .filter(|image| image.reference == local)
        {
            image.reference.clone_from(&remote);
        }
        for reference in images
            .by_component
            .values_mut()
            .flatten()
            .filter(|one| **one == local)
        {
            reference.clone_from(&remote);
        }
        images.push.insert(remote, local);
    }
    // What is built here is now an image in the registry like any other: no node is given it, and its name tells it apart.
    images.sources.clear();
    if let Some(istio) = images
        .istio
        .as_mut()
        .filter(|istio| istio.origin != Origin::Registry)
    {
        *istio = IstioImages {
            hub: name_in(registry, &istio.hub, None),
            ..istio.clone()
        };
    }
    Ok(())
}

/// `vadev.local/redis:7.0` → `registry/redis:7.0-<12 digits of the ID>`.
fn name_in(registry: &str, local: &str, id: Option<&str>) -> String {
    let path = local.split_once('/').map_or(local, |(_, path)| path);
    let digits = id.map(|id| {
        id.trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect::<String>()
    });
    match digits {
        Some(digits) => format!("{registry}/{path}-{digits}"),
        None => format!("{registry}/{path}"),
    }
}

/// Which of the renamed images the registry lacks.
pub async fn lacking(platform: &Platform, images: &Images) -> Result<BTreeSet<String>, Failure> {
    let docker = platform.supply.docker().await?;
    let asks: FuturesUnordered<_> = images
        .push
        .keys()
        .map(|remote| async move {
            let there = docker
                .inspect_registry_image(remote, supply::credentials(remote).await?)
                .await
                .is_ok();
            Ok::<_, Failure>((!there).then(|| remote.clone()))
        })
        .collect();
    let answers: Vec<Result<Option<String>, Failure>> = asks.collect().await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

/// Pushes them, one after the other: they share the way.
pub async fn push(
    platform: &Platform,
    images: &Images,
    remotes: &[String],
    step: &Step,
) -> Result<String, Failure> {
    let docker = platform.supply.docker().await?;
    for remote in remotes {
        let Some(local) = images.push.get(remote) else {
            return Err(Plain::new(Family::Internal, format!("no image stands behind {remote}")).into());
        };
        supply::push(docker, local, remote, step).await?;
    }
    Ok(format!("{} pushed", remotes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_registry_follow_the_content() {
        let id = Some("sha256:0123456789abcdef0123");
        assert_eq!(
            name_in("localhost:5000/x", "vadev.local/redis:7.0", id),
            "localhost:5000/x/redis:7.0-0123456789ab"
        );
        assert_eq!(name_in("r", "vadev.local/istio", None), "r/istio");
    }

    #[test]
    fn a_cluster_announces_its_registry() {
        let map = serde_json::json!({"data": {"localRegistryHosting.v1": "host: \"localhost:5001\"\nhelp: \"x\"\n"}});
        assert_eq!(announced_host(&map).as_deref(), Some("localhost:5001"));
        assert_eq!(announced_host(&serde_json::json!({})), None);
    }
}
