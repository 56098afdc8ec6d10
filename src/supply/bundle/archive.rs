//! The bundle's file: written, listed, and read member by member with its digest.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::super::SupplyError;
use super::super::cache::{Entry, Kind, TEMPORARY, digest_file};
use crate::agent::digest::to_hex;

const FORMAT: &str = "vadev-bundle/1";
const MANIFEST: &str = "manifest.json";

/// The first member.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of the bundle.
    format: String,
    /// In the order of the archive.
    pub members: Vec<Member>,
}

/// One artefact of a bundle.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The member's path in the archive.
    pub path: String,
    /// Its digest, hex.
    pub sha256: String,
    /// What it is.
    pub entry: Entry,
}

/// For `map_err`: the bundle cannot be used because of this.
pub fn bad(bundle: &Path) -> impl Fn(String) -> SupplyError {
    let path = bundle.to_owned();
    move |reason| SupplyError::Bundle {
        path: path.clone(),
        reason,
    }
}

/// Writes the members' files and the manifest, whose digests are filled in here.
pub fn write_archive(members: Vec<(PathBuf, Member)>, target: &Path) -> Result<(), SupplyError> {
    let mut listed = Vec::new();
    for (part, mut member) in members {
        member.sha256 = digest_file(&part)?;
        listed.push((part, member));
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        members: listed.iter().map(|(_, m)| m.clone()).collect(),
    };
    let write = || -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(&manifest)?;
        let mut archive = tar::Builder::new(std::io::BufWriter::new(std::fs::File::create(target)?));
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, MANIFEST, text.as_slice())?;
        for (part, member) in &listed {
            let mut file = std::fs::File::open(part)?;
            let mut header = tar::Header::new_gnu();
            header.set_size(file.metadata()?.len());
            header.set_mode(if member.entry.kind == Kind::Tool {
                0o755
            } else {
                0o644
            });
            archive.append_data(&mut header, &member.path, &mut file)?;
        }
        archive.into_inner()?.into_inner()?.sync_all()
    };
    write().map_err(SupplyError::file("write", target))
}

/// Reads the first member.
pub fn read_manifest(bundle: &Path) -> Result<Manifest, SupplyError> {
    let broken = bad(bundle);
    let file = std::fs::File::open(bundle).map_err(|error| broken(error.to_string()))?;
    let mut archive = tar::Archive::new(file);
    let mut first = archive
        .entries()
        .ok()
        .and_then(|mut entries| entries.next())
        .and_then(Result::ok)
        .filter(|entry| entry.path_bytes().as_ref() == MANIFEST.as_bytes())
        .ok_or_else(|| broken("it is no bundle of vadev's".to_owned()))?;
    let mut text = Vec::new();
    first
        .read_to_end(&mut text)
        .map_err(|error| broken(error.to_string()))?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| broken(format!("its manifest cannot be read: {error}")))?;
    if manifest.format != FORMAT {
        return Err(broken(format!(
            "its format is {}, this vadev reads {FORMAT}",
            manifest.format
        )));
    }
    Ok(manifest)
}

/// Copies one member into a temporary file in `scratch`, checking its digest.
pub fn extract_member(
    bundle: &Path,
    member: &Member,
    scratch: &Path,
) -> Result<tempfile::NamedTempFile, SupplyError> {
    let broken = bad(bundle);
    let file = std::fs::File::open(bundle).map_err(|error| broken(error.to_string()))?;
    let mut archive = tar::Archive::new(file);
    for entry in archive
        .entries_with_seek()
        .map_err(|error| broken(error.to_string()))?
    {
        let mut entry = entry.map_err(|error| broken(error.to_string()))?;
        if entry.path_bytes().as_ref() != member.path.as_bytes() {
            continue;
        }
        let mut part = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(scratch)
            .map_err(SupplyError::file("write to", scratch))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0_u8; 1 << 20];
        loop {
            let read = entry
                .read(&mut buffer)
                .map_err(|error| broken(error.to_string()))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            part.write_all(&buffer[..read])
                .map_err(SupplyError::file("write to", scratch))?;
        }
        let found = to_hex(&hash.finalize());
        if found != member.sha256 {
            let subject = format!("{} in {}", member.path, bundle.display());
            return Err(SupplyError::Digest {
                subject,
                expected: member.sha256.clone(),
                found,
            });
        }
        return Ok(part);
    }
    Err(broken(format!("{} is missing in it", member.path)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::cache::Source;

    fn bundle(folder: &Path) -> PathBuf {
        let part = folder.join("part");
        std::fs::write(&part, "content of a tool").unwrap();
        let entry = Entry::new("kind", Kind::Tool, "kind", Source::Packages);
        let member = Member {
            path: "tools/kind".to_owned(),
            sha256: String::new(),
            entry,
        };
        let target = folder.join("bundle.tar");
        write_archive(vec![(part, member)], &target).unwrap();
        target
    }

    #[test]
    fn members_come_back_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = bundle(folder.path());
        let manifest = read_manifest(&file).unwrap();
        let part = extract_member(&file, &manifest.members[0], folder.path()).unwrap();
        assert_eq!(std::fs::read_to_string(part.path()).unwrap(), "content of a tool");

        let mut bytes = std::fs::read(&file).unwrap();
        let at = bytes.windows(7).position(|window| window == b"content").unwrap();
        bytes[at] = b'C';
        std::fs::write(&file, bytes).unwrap();
        let error = extract_member(&file, &manifest.members[0], folder.path()).unwrap_err();
        assert!(matches!(error, SupplyError::Digest { .. }), "{error}");
    }

    #[test]
    fn other_files_are_no_bundles() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "hello").unwrap();
        assert!(
            read_manifest(&file)
                .unwrap_err()
                .to_string()
                .contains("no bundle")
        );
        assert!(read_manifest(&folder.path().join("absent")).is_err());
    }
}
