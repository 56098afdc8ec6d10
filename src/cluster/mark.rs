//! The maker's mark on a node's container: a file that can be read while the node is stopped, when nobody answers for the
//! `ConfigMap` in the cluster.

use std::io::Read;

use bollard::Docker;
use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes;
use futures::TryStreamExt;

use super::error::ClusterError;
use super::owner::Owner;
use crate::supply::docker::archive_of;

/// kind's own folder in its nodes.
const FOLDER: &str = "/kind";
const NAME: &str = "vadev.json";

/// Leaves the mark in a node, running or not.
pub(super) async fn leave(docker: &Docker, node: &str, owner: &Owner) -> Result<(), ClusterError> {
    let options = UploadToContainerOptionsBuilder::default().path(FOLDER).build();
    let archive = archive(owner).map_err(|error| ClusterError::Content {
        path: NAME.into(),
        problem: error.to_string(),
    })?;
    docker
        .upload_to_container(node, Some(options), bollard::body_full(archive.into()))
        .await
        .map_err(|source| ClusterError::Docker {
            action: "mark",
            subject: node.to_owned(),
            source: Box::new(source),
        })
}

/// The mark of a node, running or not. `None` where there is none that can be read: the node is not vadev's, or an older
/// vadev made it.
pub(super) async fn read(docker: &Docker, node: &str) -> Option<Owner> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(&format!("{FOLDER}/{NAME}"))
        .build();
    let chunks: Vec<Bytes> = docker
        .download_from_container(node, Some(options))
        .try_collect()
        .await
        .ok()?;
    owner(&chunks.concat())
}

fn archive(owner: &Owner) -> std::io::Result<Vec<u8>> {
    archive_of(NAME, 0o644, &serde_json::to_vec_pretty(owner)?)
}

fn owner(archive: &[u8]) -> Option<Owner> {
    let mut archive = tar::Archive::new(archive);
    let mut text = String::new();
    archive
        .entries()
        .ok()?
        .next()?
        .ok()?
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_says_whose_it_is_and_nothing_else_is_taken_for_one() {
        let mine = Owner {
            workspace: "w".to_owned(),
            profile: "dev".to_owned(),
            root: Some("/w".into()),
        };
        assert_eq!(owner(&archive(&mine).unwrap()), Some(mine));
        assert_eq!(owner(b""), None);
        assert_eq!(owner(&[7; 2000]), None);
    }
}
