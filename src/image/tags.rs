//! Names of development images in nodes: whether they mean the right image, pointing the moving ones at another, and taking
//! old ones away.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions};
use futures::future::{join_all, try_join_all};

use super::build::SERVICE_LABEL;
use super::error::ImageError;
use super::inventory::{Names, alias};
use super::node::node_output;

/// A name that is to lead to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The reference.
    pub reference: String,
    /// The image's ID: the digest of its configuration.
    pub id: String,
}

/// Of some names, those that lead to the right image in every node. Docker is not asked.
pub async fn held(docker: &Docker, nodes: &[String], names: &[Held]) -> Result<Vec<String>, ImageError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let asked: Vec<String> = names
        .iter()
        .flat_map(|held| [held.reference.clone(), held.id.clone(), alias(&held.id)])
        .collect();
    let there = try_join_all(nodes.iter().map(|node| Names::among(docker, node, &asked))).await?;
    let everywhere = |held: &&Held| there.iter().all(|names| names.has(&held.reference, &held.id));
    Ok(names
        .iter()
        .filter(everywhere)
        .map(|held| held.reference.clone())
        .collect())
}

/// Points `moving` at the image `exact` in every node.
pub async fn retag(docker: &Docker, nodes: &[String], exact: &str, moving: &str) -> Result<(), ImageError> {
    let command = ["ctr", "-n", "k8s.io", "images", "tag", "--force", exact, moving];
    try_join_all(nodes.iter().map(|node| node_output(docker, node, &command))).await?;
    Ok(())
}

/// Takes old exact tags of a moving one away, from nodes and from Docker, but for those in `keep`. Whatever still needs a
/// layer keeps it. What cannot be removed now will be the next time: nobody waits for this.
pub async fn prune(docker: &Docker, nodes: &[String], moving: &str, keep: &[String]) -> usize {
    let prefix = format!("{moving}-");
    let is_old = |name: &str| name.starts_with(&prefix) && !keep.iter().any(|kept| kept == name);
    let in_nodes = nodes.iter().map(|node| async move {
        let Ok(names) = Names::of(docker, node).await else {
            return 0;
        };
        let old = names.old(&is_old);
        if old.is_empty() {
            return 0;
        }
        let mut command = vec!["ctr", "-n", "k8s.io", "images", "rm"];
        command.extend(old.iter().map(String::as_str));
        usize::from(node_output(docker, node, &command).await.is_ok()) * old.len()
    });
    let removed: usize = join_all(in_nodes).await.into_iter().sum();
    removed + prune_docker(docker, &is_old).await
}

async fn prune_docker(docker: &Docker, is_old: &impl Fn(&str) -> bool) -> usize {
    let filters = HashMap::from([("label".to_owned(), vec![SERVICE_LABEL.to_owned()])]);
    let options = ListImagesOptions {
        filters: Some(filters),
        ..ListImagesOptions::default()
    };
    let mut removed = 0;
    let images = docker.list_images(Some(options)).await.unwrap_or_default();
    for name in images.iter().flat_map(|image| &image.repo_tags) {
        if is_old(name) {
            let gone = docker.remove_image(name, None::<RemoveImageOptions>, None).await;
            removed += usize::from(gone.is_ok());
        }
    }
    removed
}
