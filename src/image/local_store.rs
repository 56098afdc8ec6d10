//! Docker's own store on this machine, read directly where that is allowed: Linux, overlay2, and a user who may read
//! the engine's folder (root). Everywhere else the export through the API does the same work, slower.
//!
//! Nothing here is trusted: the configuration must have the digest that it is known by, and containerd checks every
//! layer's digest on import. A refusal there falls back to the export as well.

use std::path::{Path, PathBuf};

use bollard::Docker;

use super::assemble::Assembly;
use super::layout::{Layer, Packing, chain_ids, diff_ids, sha256};
use super::source::{Content, Source};

/// The folder of the engine's store.
#[derive(Debug, Clone)]
pub(super) struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// The store, if this process can read it. A remote engine has the same path on another machine: what is read is
    /// checked against the image's ID.
    pub(super) async fn find(docker: &Docker) -> Option<Self> {
        let info = docker.info().await.ok()?;
        if info.driver.as_deref() != Some("overlay2") {
            return None;
        }
        let root = PathBuf::from(info.docker_root_dir?);
        root.join("image/overlay2/layerdb/sha256").read_dir().ok()?;
        Some(Self { root })
    }

    /// The content of an image by its ID, if all of it is there.
    pub(super) fn content(&self, id: &str) -> Option<Content> {
        let hex = id.strip_prefix("sha256:")?;
        let config = std::fs::read(self.root.join("image/overlay2/imagedb/content/sha256").join(hex)).ok()?;
        if sha256(&config) != id {
            return None;
        }
        let diff_ids = diff_ids(&serde_json::from_slice(&config).ok()?)?;
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (diff_id, chain_id) in diff_ids.iter().zip(chain_ids(&diff_ids)) {
            let assembly = self.layer(&chain_id)?;
            let size = assembly.size().ok()?;
            let layer = Layer {
                digest: diff_id.clone(),
                size,
                packing: Packing::Plain,
            };
            layers.push((layer, Source::Assembled(assembly)));
        }
        Some(Content {
            config,
            diff_ids,
            layers,
        })
    }

    fn layer(&self, chain_id: &str) -> Option<Assembly> {
        let folder = self
            .root
            .join("image/overlay2/layerdb/sha256")
            .join(chain_id.strip_prefix("sha256:")?);
        let cache_id = std::fs::read_to_string(folder.join("cache-id")).ok()?;
        let record = folder.join("tar-split.json.gz");
        let files = self
            .root
            .join("overlay2")
            .join(Path::new(cache_id.trim()).file_name()?)
            .join("diff");
        (record.is_file() && files.is_dir()).then_some(Assembly { record, files })
    }
}
