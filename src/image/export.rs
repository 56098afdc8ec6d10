//! The image as Docker exports it, for engines whose store can't be read: the legacy layout of older engines
//! (`<id>/layer.tar`) and the OCI layout of newer ones, from classic and containerd stores. Layers that every node has
//! are dropped as they pass by; the others are kept in files until they are sent, because the legacy layout tells
//! which layer is which only at its end, and because several nodes read them.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::sync::Arc;

use bollard::Docker;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::error::ImageError;
use super::layout::{Layer, Packing, diff_ids};
use super::source::{Content, Source};
use crate::supply::docker::hex;

/// Larger files are layers, whatever they are called.
const LARGEST_JSON: u64 = 4 << 20;

/// Exports an image. `everywhere` holds the blob digests that need not be kept.
pub(super) async fn export(
    docker: &Docker,
    image: &str,
    everywhere: HashSet<String>,
) -> Result<Content, ImageError> {
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    let name = image.to_owned();
    let read = tokio::task::spawn_blocking(move || read(&name, Chunks::new(receiver), &everywhere));
    let mut stream = Box::pin(docker.export_image(image));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|source| ImageError::Docker {
            action: "export",
            subject: image.to_owned(),
            source: Box::new(source),
        })?;
        // A reader that has stopped has a reason, which it returns below.
        if sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    read.await.map_err(|error| ImageError::layout(image, &error))?
}

/// Chunks from a channel as a blocking reader.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Chunks {
    fn new(receiver: mpsc::Receiver<Bytes>) -> Self {
        Self {
            receiver,
            current: Bytes::new(),
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// A blob that passed by.
struct Blob {
    layer: Layer,
    source: Source,
}

/// What an export holds, by path.
#[derive(Default)]
struct Found {
    texts: HashMap<String, Vec<u8>>,
    blobs: HashMap<String, Blob>,
    links: HashMap<String, String>,
}

fn read(image: &str, stream: impl Read, everywhere: &HashSet<String>) -> Result<Content, ImageError> {
    let found = collect(stream, everywhere).map_err(|error| ImageError::layout(image, &error))?;
    content(&found).map_err(|problem| ImageError::layout(image, &problem))
}

fn collect(stream: impl Read, everywhere: &HashSet<String>) -> io::Result<Found> {
    let mut found = Found::default();
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.display().to_string();
        match entry.header().entry_type() {
            tar::EntryType::Symlink | tar::EntryType::Link => {
                if let Some(target) = entry.link_name()? {
                    found
                        .links
                        .insert(path.clone(), resolve(&path, &target.display().to_string()));
                }
            }
            tar::EntryType::Regular => {
                let mut head = vec![0; 8.min(usize::try_from(entry.size()).unwrap_or(8))];
                entry.read_exact(&mut head)?;
                let is_text = head.first().is_some_and(|byte| matches!(byte, b'{' | b'['));
                if is_text && entry.size() <= LARGEST_JSON {
                    entry.read_to_end(&mut head)?;
                    found.texts.insert(path, head);
                } else {
                    let blob = pass(&head, entry, everywhere)?;
                    found.blobs.insert(path, blob);
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The target of a link, from the folder of the linking file.
fn resolve(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Takes the digest of a blob as it passes by, and keeps it in a file unless every node has it. In the OCI layout the
/// digest is known beforehand by the file's name, and what is not needed is not written at all.
fn pass(head: &[u8], mut entry: tar::Entry<'_, impl Read>, everywhere: &HashSet<String>) -> io::Result<Blob> {
    let size = entry.size();
    let named = entry
        .path()?
        .to_str()
        .and_then(|p| p.strip_prefix("blobs/sha256/"))
        .map(|h| format!("sha256:{h}"));
    let packing = Packing::sniff(head);
    if let Some(digest) = named.filter(|digest| everywhere.contains(digest)) {
        return Ok(Blob {
            layer: Layer {
                digest,
                size,
                packing,
            },
            source: Source::Dropped,
        });
    }
    let mut spool = tempfile::NamedTempFile::new()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    hash.update(head);
    spool.write_all(head)?;
    loop {
        let n = entry.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        spool.write_all(&buffer[..n])?;
    }
    let digest = format!("sha256:{}", hex(&hash.finalize()));
    let source = if everywhere.contains(&digest) {
        Source::Dropped
    } else {
        Source::Spooled(Arc::new(spool.into_temp_path()))
    };
    Ok(Blob {
        layer: Layer {
            digest,
            size,
            packing,
        },
        source,
    })
}

/// Both layouts have a `manifest.json` that names the configuration and the layers by path.
fn content(found: &Found) -> Result<Content, String> {
    let text = found
        .texts
        .get("manifest.json")
        .ok_or("it has no manifest.json")?;
    let manifest: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let config_path = manifest
        .pointer("/0/Config")
        .and_then(Value::as_str)
        .ok_or("it names no configuration")?;
    let config = found
        .texts
        .get(config_path)
        .ok_or("its configuration is missing")?;
    let parsed: Value = serde_json::from_slice(config).map_err(|error| error.to_string())?;
    let diff_ids = diff_ids(&parsed).ok_or("its configuration lists no layers")?;
    let paths = manifest
        .pointer("/0/Layers")
        .and_then(Value::as_array)
        .ok_or("it names no layers")?;
    if paths.len() != diff_ids.len() {
        return Err(format!(
            "it has {} layers, and its configuration lists {}",
            paths.len(),
            diff_ids.len()
        ));
    }
    let mut layers = Vec::with_capacity(paths.len());
    for (path, diff_id) in paths.iter().zip(&diff_ids) {
        let path = path.as_str().unwrap_or_default();
        let path = found.links.get(path).map_or(path, String::as_str);
        let blob = found
            .blobs
            .get(path)
            .ok_or_else(|| format!("its layer {path} is missing"))?;
        if blob.layer.packing == Packing::Plain && blob.layer.digest != *diff_id {
            return Err(format!(
                "its layer {path} has another digest than its configuration says"
            ));
        }
        layers.push((blob.layer.clone(), blob.source.clone()));
    }
    Ok(Content {
        config: config.clone(),
        diff_ids,
        layers,
    })
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
