//! The OCI image layout, as far as importing into a node needs it: manifest, index, and the tar around them. Pure.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::supply::docker::hex;

/// Media type of an image manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image configuration.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// How a layer's blob is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Plain tar: its digest is the diff ID.
    Plain,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Packing {
    fn media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }

    /// By a blob's first bytes.
    pub(super) fn sniff(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// `sha256:…` of the blob.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// How it is packed.
    pub packing: Packing,
}

/// `sha256:…` of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// The chain IDs of a stack of layers, by which unpacked layers are known: each depends on all below it.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(below) => sha256(format!("{below} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

/// The diff IDs that an image configuration lists.
pub(super) fn diff_ids(config: &Value) -> Option<Vec<String>> {
    let list = config.pointer("/rootfs/diff_ids")?.as_array()?;
    list.iter().map(|id| id.as_str().map(str::to_owned)).collect()
}

/// The manifest of an image. The same image always has the same manifest, byte by byte.
pub(super) fn manifest(config: &[u8], layers: &[Layer]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|l| json!({"mediaType": l.packing.media_type(), "digest": l.digest, "size": l.size}))
        .collect();
    let config = json!({"mediaType": CONFIG, "digest": sha256(config), "size": config.len()});
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    manifest.to_string().into_bytes()
}

/// The index of a layout that gives one manifest several names.
pub(super) fn index(manifest: &[u8], names: &[String]) -> Vec<u8> {
    let manifests: Vec<Value> = names
        .iter()
        .map(|name| {
            let annotations = json!({"io.containerd.image.name": name});
            json!({"mediaType": MANIFEST, "digest": sha256(manifest), "size": manifest.len(),
                   "annotations": annotations})
        })
        .collect();
    json!({"schemaVersion": 2, "manifests": manifests})
        .to_string()
        .into_bytes()
}

/// The path of a blob in a layout; `None` if the digest is not a sha256.
pub(super) fn blob_path(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:").filter(|h| h.len() == 64)?;
    Some(format!("blobs/sha256/{hex}"))
}

/// The tar header of a file; its content follows, padded by [`padding`].
pub(super) fn tar_header(path: &str, size: u64) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

/// Zeros after a file's content, up to a full block.
pub(super) fn padding(size: u64) -> Vec<u8> {
    vec![0; usize::try_from((512 - size % 512) % 512).unwrap_or(0)]
}

/// A whole small file in a tar.
pub(super) fn tar_file(path: &str, content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = tar_header(path, content.len() as u64)?;
    bytes.extend_from_slice(content);
    bytes.extend(padding(content.len() as u64));
    Ok(bytes)
}

/// What ends a tar.
pub(super) const TAR_END: [u8; 1024] = [0; 1024];

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(letter: &str) -> String {
        format!("sha256:{}", letter.repeat(64))
    }

    #[test]
    fn chain_ids_follow_the_specification() {
        let ids = [digest("a"), digest("b")];
        let chain = chain_ids(&ids);
        assert_eq!(chain[0], ids[0]);
        assert_eq!(chain[1], sha256(format!("{} {}", ids[0], ids[1]).as_bytes()));
        assert!(chain_ids(&[]).is_empty());
    }

    #[test]
    fn a_manifest_is_reproducible_and_names_its_parts() {
        let layer = Layer {
            digest: digest("a"),
            size: 7,
            packing: Packing::Plain,
        };
        let bytes = manifest(b"{}", std::slice::from_ref(&layer));
        assert_eq!(bytes, manifest(b"{}", &[layer]));
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["config"]["digest"], sha256(b"{}"));
        assert_eq!(read["layers"][0]["size"], 7);
        let index: Value = serde_json::from_slice(&index(&bytes, &["a:1".into(), "b:1".into()])).unwrap();
        assert_eq!(
            index["manifests"][1]["annotations"]["io.containerd.image.name"],
            "b:1"
        );
        assert_eq!(index["manifests"][0]["digest"], sha256(&bytes));
    }

    #[test]
    fn what_is_written_can_be_read_as_tar() {
        let mut bytes = tar_file("oci-layout", b"abc").unwrap();
        bytes.extend(tar_file("blobs/x", &[1; 512]).unwrap());
        bytes.extend(TAR_END);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let sizes: Vec<u64> = archive.entries().unwrap().map(|e| e.unwrap().size()).collect();
        assert_eq!(sizes, [3, 512]);
    }

    #[test]
    fn packing_is_told_by_the_first_bytes() {
        assert_eq!(Packing::sniff(&[0x1f, 0x8b, 8]), Packing::Gzip);
        assert_eq!(Packing::sniff(&[0x28, 0xb5, 0x2f, 0xfd]), Packing::Zstd);
        assert_eq!(Packing::sniff(b"etc/"), Packing::Plain);
        assert_eq!(blob_path("sha256:../../x"), None);
    }
}
