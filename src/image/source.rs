//! Where the bytes of a layer come from, and the layout stream that is made of them for a node.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::assemble::Assembly;
use super::chunks::Chunks;
use super::layout::{Layer, TAR_END, blob_path, index, manifest, padding, sha256, tar_file, tar_header};

/// Bytes of a layer.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Read out of Docker's store.
    Assembled(Assembly),
    /// A file into which an export was written. Shared, and deleted with its last user.
    Spooled(Arc<tempfile::TempPath>),
    /// Not kept, because every node has it.
    Dropped,
}

impl Source {
    fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        let mut out = Counting { out, written: 0 };
        match self {
            Self::Assembled(assembly) => assembly.write(&mut out)?,
            Self::Spooled(path) => {
                io::copy(&mut File::open(path.as_ref())?, &mut out)?;
            }
            Self::Dropped => {
                return Err(io::Error::other(
                    "a layer that was thought to be in every node is needed",
                ));
            }
        }
        Ok(out.written)
    }
}

struct Counting<'a, W> {
    out: &'a mut W,
    written: u64,
}

impl<W: Write> Write for Counting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// An image's content.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// The configuration, byte by byte.
    pub config: Vec<u8>,
    /// The diff IDs that it lists, from the bottom up.
    pub diff_ids: Vec<String>,
    /// The layers in the same order.
    pub layers: Vec<(Layer, Source)>,
}

impl Content {
    /// Digests of the layers' blobs.
    pub(super) fn digests(&self) -> Vec<String> {
        self.layers
            .iter()
            .map(|(layer, _)| layer.digest.clone())
            .collect()
    }

    fn manifest(&self) -> Vec<u8> {
        let layers: Vec<Layer> = self.layers.iter().map(|(layer, _)| layer.clone()).collect();
        manifest(&self.config, &layers)
    }

    /// Starts writing a layout with only the layers marked in `wanted`; the image appears under all of `names`. At most
    /// a megabyte is in memory at a time. `sent` counts what has gone out.
    pub(super) fn stream(
        self: &Arc<Self>,
        names: Vec<String>,
        wanted: Vec<bool>,
        sent: Arc<AtomicU64>,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        let content = Arc::clone(self);
        Chunks::counted(sent, move |out| content.write(&names, &wanted, out))
    }

    fn write(&self, names: &[String], send: &[bool], out: &mut Chunks) -> io::Result<()> {
        let manifest = self.manifest();
        let path = |digest: &str| blob_path(digest).ok_or_else(|| io::Error::other("not a sha256 digest"));
        out.write_all(&tar_file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?)?;
        out.write_all(&tar_file("index.json", &index(&manifest, names))?)?;
        out.write_all(&tar_file(&path(&sha256(&manifest))?, &manifest)?)?;
        out.write_all(&tar_file(&path(&sha256(&self.config))?, &self.config)?)?;
        let mut written = Vec::new();
        for ((layer, source), _) in self.layers.iter().zip(send).filter(|(_, send)| **send) {
            // The same layer twice in one image (two empty ones, say) goes once.
            if written.contains(&&layer.digest) {
                continue;
            }
            written.push(&layer.digest);
            out.write_all(&tar_header(&path(&layer.digest)?, layer.size)?)?;
            let size = source.write(out)?;
            if size != layer.size {
                return Err(io::Error::other(format!(
                    "a layer has {size} bytes instead of {}",
                    layer.size
                )));
            }
            out.write_all(&padding(size))?;
        }
        out.write_all(&TAR_END)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layout::Packing;

    #[tokio::test]
    async fn only_marked_layers_are_in_the_stream() {
        let spool = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let layer = Layer {
                digest: sha256(text.as_bytes()),
                size: text.len() as u64,
                packing: Packing::Plain,
            };
            (layer, Source::Spooled(Arc::new(file.into_temp_path())))
        };
        let layers = vec![spool("base"), spool("changed")];
        let content = Arc::new(Content {
            config: b"{}".to_vec(),
            diff_ids: Vec::new(),
            layers,
        });
        let mut chunks = content.stream(vec!["a:1".into()], vec![false, true], Arc::default());
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let mut archive = tar::Archive::new(bytes.as_slice());
        let paths: Vec<String> = archive
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(paths.len(), 5);
        assert!(paths[4].ends_with(&sha256(b"changed")[7..]), "{paths:?}");
    }
}
