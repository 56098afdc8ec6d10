//! The cache of tools and of what is known about images: content-addressed, shared by all checkouts of a user.
//!
//! ```text
//! blobs/sha256/<hex>   content by digest: tools, wheels
//! bin/<name>           tools, ready to run
//! index/<name>.json    what is known about one artefact
//! locks/<name>.lock    held while an artefact is being made
//! logs/<name>.log      the last build's whole output
//! work/<name>/         work folders; whatever is found here was left by a vadev that was killed
//! ```
//!
//! Everything is written under a temporary name and renamed, so that a process killed at any point leaves either the old
//! state or the new one.

mod index;
mod lock;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

pub use index::{Entry, Kind, Source, stamp};
pub use lock::Lock;

use super::error::SupplyError;
use crate::agent::digest::to_hex;

/// What names of files begin with that are still being written.
pub const TEMPORARY: &str = ".new-";

/// The variable that moves the cache.
pub const CACHE_VARIABLE: &str = "VADEV_CACHE";

/// A handle to the cache's folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache in `VADEV_CACHE`, else in `vadev` under the XDG cache folder.
    pub fn open() -> Result<Self, SupplyError> {
        if let Some(folder) = std::env::var_os(CACHE_VARIABLE).filter(|folder| !folder.is_empty()) {
            return Self::at(folder);
        }
        let strategy =
            etcetera::choose_base_strategy().map_err(|error| SupplyError::NoCache(error.to_string()))?;
        Self::at(strategy.cache_dir().join("vadev"))
    }

    /// The cache in `root`, whose folders are made where they are missing.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, SupplyError> {
        let root = root.into();
        for folder in ["blobs/sha256", "bin", "index", "locks", "logs", "work"] {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).map_err(SupplyError::file("create", &folder))?;
        }
        let root = std::fs::canonicalize(&root).map_err(SupplyError::file("find", &root))?;
        Ok(Self { root })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Where the tool `name` is, or will be.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }
    /// The log of the last build of `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }
    /// The work folder of `name`; only the holder of its lock may touch it.
    pub fn work(&self, name: &str) -> PathBuf {
        self.root.join("work").join(name)
    }
    /// Where the blob with this digest (hex) is, or would be.
    pub fn blob(&self, sha256: &str) -> PathBuf {
        self.root.join("blobs/sha256").join(sha256)
    }

    /// The blob with this digest, if it is there and really has it. A damaged one is removed.
    pub fn find_blob(&self, sha256: &str) -> Result<Option<PathBuf>, SupplyError> {
        let path = self.blob(sha256);
        if !path.is_file() {
            return Ok(None);
        }
        if digest_file(&path)? == sha256 {
            return Ok(Some(path));
        }
        std::fs::remove_file(&path).map_err(SupplyError::file("remove damaged", &path))?;
        Ok(None)
    }

    /// Copies a file into the blobs; returns its digest (hex) and size in bytes.
    pub fn put_blob(&self, file: &Path) -> Result<(String, u64), SupplyError> {
        let folder = self.root.join("blobs/sha256");
        let mut from = std::fs::File::open(file).map_err(SupplyError::file("read", file))?;
        let mut into = temporary(&folder)?;
        let mut hash = Sha256::new();
        let mut size = 0_u64;
        let mut buffer = vec![0_u8; 1 << 20];
        loop {
            let read = from.read(&mut buffer).map_err(SupplyError::file("read", file))?;
            if read == 0 {
                break;
            }
            hash.update(&buffer[..read]);
            into.write_all(&buffer[..read])
                .map_err(SupplyError::file("write to", &folder))?;
            size += read as u64;
        }
        let digest = to_hex(&hash.finalize());
        let path = self.blob(&digest);
        settle(into, &path)?;
        Ok((digest, size))
    }

    /// Makes the blob with this digest runnable as the tool `name`.
    pub fn install(&self, sha256: &str, name: &str) -> Result<PathBuf, SupplyError> {
        let path = self.bin(name);
        let into = temporary(&self.root.join("bin"))?;
        std::fs::copy(self.blob(sha256), into.path()).map_err(SupplyError::file("write", &path))?;
        set_executable(into.path())?;
        settle(into, &path)?;
        Ok(path)
    }

    /// Writes a small file whole or not at all.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), SupplyError> {
        let mut into = temporary(path.parent().unwrap_or(&self.root))?;
        into.write_all(content)
            .map_err(SupplyError::file("write", path))?;
        settle(into, path)
    }
}

fn temporary(folder: &Path) -> Result<tempfile::NamedTempFile, SupplyError> {
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder)
        .map_err(SupplyError::file("write to", folder))
}

/// Brings a temporary file to the disk and to its name.
fn settle(file: tempfile::NamedTempFile, path: &Path) -> Result<(), SupplyError> {
    file.as_file()
        .sync_all()
        .map_err(SupplyError::file("write", path))?;
    file.persist(path)
        .map_err(|error| SupplyError::file("write", path)(error.error))?;
    Ok(())
}

/// Mode 0755.
pub fn set_executable(path: &Path) -> Result<(), SupplyError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .map_err(SupplyError::file("make executable", path))
}

/// The SHA-256 of a file, hex.
pub fn digest_file(path: &Path) -> Result<String, SupplyError> {
    let mut file = std::fs::File::open(path).map_err(SupplyError::file("read", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(SupplyError::file("read", path))?;
        if read == 0 {
            return Ok(to_hex(&hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_found_by_digest_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let file = folder.path().join("tool");
        std::fs::write(&file, "#!/bin/sh\necho hello\n").unwrap();
        let (digest, size) = cache.put_blob(&file).unwrap();
        assert_eq!(
            (digest.as_str(), size),
            (digest_file(&file).unwrap().as_str(), 21)
        );

        let tool = cache.install(&digest, "tool").unwrap();
        let said = std::process::Command::new(tool).output().unwrap();
        assert_eq!(said.stdout, b"hello\n");

        std::fs::write(cache.blob(&digest), "else").unwrap();
        assert_eq!(cache.find_blob(&digest).unwrap(), None);
        assert!(!cache.blob(&digest).exists());
        assert_eq!(
            std::fs::read_dir(cache.root().join("bin")).unwrap().count(),
            1,
            "a temporary file stayed"
        );
    }
}
