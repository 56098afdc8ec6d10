//! A new image out of an old one without a build: one layer with the changed files over the last real build. Docker is not
//! asked and does not get to know it: what the nodes run is what counts, and the next `up` or build makes the same from the
//! source. However many saves there were, it is one layer.

use std::sync::Arc;

use bollard::Docker;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::build::Built;
use super::error::ImageError;
use super::layer::Overlays;
use super::layout::{Layer, Packing, diff_ids, sha256};
use super::node::node_output;
use super::reference::exact;
use super::source::{Content, Source};
use crate::supply::docker::hex;

/// A real build as a node holds it: what an appended image shares with it.
#[derive(Debug, Clone)]
pub struct Base {
    built: Built,
    config_digest: String,
    config: Value,
    layers: Vec<Layer>,
}

/// An image that is ready to go to nodes that have its base.
#[derive(Debug, Clone)]
pub struct Appended {
    /// Name and ID; the ID is the digest of the configuration.
    pub built: Built,
    pub(super) content: Arc<Content>,
}

impl Base {
    /// Reads configuration and manifest of a build out of a node that has it. Two or three commands in the node; worth
    /// keeping until the next build.
    pub async fn read(docker: &Docker, node: &str, built: &Built) -> Result<Self, ImageError> {
        let image = &built.reference;
        let filter = format!("name=={image}");
        let list = node_output(docker, node, &["ctr", "-n", "k8s.io", "images", "ls", &filter]).await?;
        let list = String::from_utf8_lossy(&list).into_owned();
        let digest = list
            .lines()
            .filter(|line| line.split_whitespace().next() == Some(image))
            .find_map(|line| line.split_whitespace().nth(2))
            .ok_or_else(|| ImageError::NotInNode {
                image: image.clone(),
                node: node.to_owned(),
            })?;
        let manifest = blob(docker, node, image, digest).await?;
        let config = manifest
            .pointer("/config/digest")
            .and_then(Value::as_str)
            .ok_or_else(|| ImageError::layout(image, &"its manifest names no configuration"))?;
        Ok(Self {
            built: built.clone(),
            config_digest: config.to_owned(),
            config: blob(docker, node, image, config).await?,
            layers: layers(&manifest)
                .ok_or_else(|| ImageError::layout(image, &"its manifest lists no layers"))?,
        })
    }

    /// The build.
    pub fn built(&self) -> &Built {
        &self.built
    }

    /// Digest of its configuration, by which the kubelet reports what runs.
    pub fn config_digest(&self) -> &str {
        &self.config_digest
    }

    /// The image with the changes over it. Blocks while files are read; writes the layer to a temporary file.
    pub fn append(&self, overlays: &Overlays) -> Result<Appended, ImageError> {
        let image = &self.built.reference;
        let failed = |source| ImageError::File {
            action: "make a layer in",
            path: std::env::temp_dir(),
            source,
        };
        let mut spool = tempfile::NamedTempFile::new().map_err(failed)?;
        let (digest, size) = {
            let mut out = Hashing {
                out: std::io::BufWriter::new(spool.as_file_mut()),
                hash: Sha256::new(),
                size: 0,
            };
            overlays.write(&mut out).map_err(|source| ImageError::File {
                action: "read a changed file for a layer of",
                path: image.into(),
                source,
            })?;
            (format!("sha256:{}", hex(&out.hash.finalize())), out.size)
        };
        let mut config = self.config.clone();
        let new_layer = json!(digest);
        let list = config
            .pointer_mut("/rootfs/diff_ids")
            .and_then(Value::as_array_mut);
        list.ok_or_else(|| ImageError::layout(image, &"its configuration lists no layers"))?
            .push(new_layer);
        let line = json!({"created_by": format!("vadev: {} changed paths", overlays.len())});
        if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
            history.push(line);
        }
        let diff_ids = diff_ids(&config).unwrap_or_default();
        let config = config.to_string().into_bytes();
        let id = sha256(&config);
        let mut layers: Vec<(Layer, Source)> = self
            .layers
            .iter()
            .map(|layer| (layer.clone(), Source::Dropped))
            .collect();
        let layer = Layer {
            digest,
            size,
            packing: Packing::Plain,
        };
        layers.push((layer, Source::Spooled(Arc::new(spool.into_temp_path()))));
        let moving = image
            .rsplit_once('-')
            .map_or(image.as_str(), |(moving, _)| moving);
        Ok(Appended {
            built: Built {
                reference: exact(moving, &id),
                id,
            },
            content: Arc::new(Content {
                config,
                diff_ids,
                layers,
            }),
        })
    }
}

async fn blob(docker: &Docker, node: &str, image: &str, digest: &str) -> Result<Value, ImageError> {
    let bytes = node_output(docker, node, &["ctr", "-n", "k8s.io", "content", "get", digest]).await?;
    serde_json::from_slice(&bytes).map_err(|error| ImageError::layout(image, &error))
}

fn layers(manifest: &Value) -> Option<Vec<Layer>> {
    let list = manifest.get("layers")?.as_array()?;
    list.iter()
        .map(|layer| {
            let kind = layer.get("mediaType")?.as_str()?;
            let packing = if kind.ends_with("gzip") {
                Packing::Gzip
            } else if kind.ends_with("zstd") {
                Packing::Zstd
            } else {
                Packing::Plain
            };
            Some(Layer {
                digest: layer.get("digest")?.as_str()?.to_owned(),
                size: layer.get("size")?.as_u64()?,
                packing,
            })
        })
        .collect()
}

struct Hashing<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: std::io::Write> std::io::Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layer::{Overlay, OverlayKind};

    fn base() -> Base {
        let layer = Layer {
            digest: sha256(b"base"),
            size: 4,
            packing: Packing::Plain,
        };
        Base {
            built: Built {
                reference: "vadev.local/w/s:dev-0123456789ab".into(),
                id: "sha256:0123456789ab".into(),
            },
            config_digest: "sha256:config".into(),
            config: json!({"architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [sha256(b"base")]}, "history": []}),
            layers: vec![layer],
        }
    }

    #[test]
    fn the_same_changes_make_the_same_image() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("main.py");
        let mut overlays = Overlays::default();
        let what = OverlayKind::File {
            source: source.clone(),
            mode: 0o644,
        };
        overlays.add([Overlay {
            path: "/app/main.py".into(),
            what,
            owner: (0, 0),
        }]);
        let mut made = Vec::new();
        for text in ["1", "1", "2"] {
            std::fs::write(&source, text).unwrap();
            made.push(base().append(&overlays).unwrap());
        }
        assert_eq!(made[0].built, made[1].built);
        assert_ne!(made[1].built, made[2].built);
        assert!(
            made[0].built.reference.starts_with("vadev.local/w/s:dev-"),
            "{:?}",
            made[0].built
        );
        let content = &made[0].content;
        assert_eq!(content.diff_ids.len(), 2);
        assert_eq!(
            content.layers[1].0.digest, content.diff_ids[1],
            "plain, so both are one"
        );
        assert_eq!(made[0].built.id, sha256(&content.config));
    }

    #[test]
    fn layers_of_every_packing_are_read() {
        let manifest = json!({"layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": "sha256:a", "size": 1},
            {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": "sha256:b", "size": 2},
        ]});
        let packings: Vec<Packing> = layers(&manifest)
            .unwrap()
            .into_iter()
            .map(|layer| layer.packing)
            .collect();
        assert_eq!(packings, [Packing::Plain, Packing::Gzip]);
        assert!(layers(&json!({})).is_none());
    }
}
