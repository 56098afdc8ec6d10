//! What is known about each artefact: one JSON file each, so that two vadevs never write the same file unless they hold
//! the same lock.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Cache, SupplyError};

/// Raised when the meaning of an entry changes; entries of another format count as absent.
const FORMAT: u32 = 1;

/// What an artefact is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A container image in the Docker engine.
    Image,
    /// A program of the host, in the cache's `bin` folder.
    Tool,
}

/// Where an artefact came from.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Pulled from a container registry.
    Registry,
    /// Downloaded from its project's releases.
    Release,
    /// Read from a bundle file.
    Bundle,
    /// Built here by a recipe, from packages.
    Packages,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Registry => "registry",
            Self::Release => "release",
            Self::Bundle => "bundle",
            Self::Packages => "packages",
        })
    }
}

/// One artefact.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Of the entry itself.
    pub(in super::super) format: u32,
    /// The recipe's or component's name.
    pub name: String,
    /// Image or tool.
    pub kind: Kind,
    /// The image's reference, or the tool's file name.
    pub reference: String,
    /// The software's version.
    pub version: String,
    /// Where it came from.
    pub source: Source,
    /// Bytes.
    pub size: u64,
    /// `sha256:<hex>`: a tool's content, an image's id, or the repository digest of a pulled image.
    pub digest: String,
    /// The recipe's input hash; absent for what was pulled.
    pub input: Option<String>,
    /// Layers that the engine's builder left behind as its own cache; ids.
    #[serde(default)]
    pub layers: Vec<String>,
    /// When a tool's file was last written, in nanoseconds since 1970. As long as that and the size stay, its content need
    /// not be read again to be trusted.
    #[serde(default)]
    pub written: Option<u64>,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// How long that took, in seconds.
    pub seconds: f64,
}

impl Entry {
    /// An entry made now, still without what is known only afterwards.
    pub fn new(name: &str, kind: Kind, reference: &str, source: Source) -> Self {
        let made = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        Self {
            format: FORMAT,
            name: name.to_owned(),
            kind,
            reference: reference.to_owned(),
            version: String::new(),
            source,
            size: 0,
            digest: String::new(),
            input: None,
            layers: Vec::new(),
            written: None,
            made,
            seconds: 0.0,
        }
    }
}

/// Size of a file and when it was last written, in nanoseconds since 1970.
pub fn stamp(path: &std::path::Path) -> Option<(u64, u64)> {
    let data = std::fs::metadata(path).ok()?;
    let written = data.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((data.len(), u64::try_from(written.as_nanos()).ok()?))
}

impl Cache {
    fn entry_path(&self, name: &str) -> std::path::PathBuf {
        // Names of extra components come from users' files; the index must stay a flat folder.
        let safe: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        self.root().join("index").join(format!("{safe}.json"))
    }

    /// What is known about `name`. An entry that cannot be read counts as absent: it can always be made again.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        read(&self.entry_path(name)).filter(|entry| entry.name == name)
    }

    /// All entries, by name.
    pub fn entries(&self) -> Result<Vec<Entry>, SupplyError> {
        let folder = self.root().join("index");
        let mut entries = Vec::new();
        for file in std::fs::read_dir(&folder).map_err(SupplyError::file("read", &folder))? {
            let path = file.map_err(SupplyError::file("read", &folder))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                entries.extend(read(&path));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Records an entry. Only the holder of its lock may.
    pub fn record(&self, entry: &Entry) -> Result<(), SupplyError> {
        let text = serde_json::to_vec_pretty(entry).map_err(std::io::Error::other);
        let path = self.entry_path(&entry.name);
        self.write(&path, &text.map_err(SupplyError::file("write", &path))?)
    }

    /// Forgets an entry. Only the holder of its lock may.
    pub fn forget(&self, name: &str) -> Result<(), SupplyError> {
        let path = self.entry_path(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SupplyError::file("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn read(path: &std::path::Path) -> Option<Entry> {
    let entry: Entry = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (entry.format == FORMAT).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_rubbish_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let entry = Entry::new(
            "postgres",
            Kind::Image,
            "vadev.local/postgres:15",
            Source::Packages,
        );
        cache.record(&entry).unwrap();
        assert_eq!(cache.entry("postgres"), Some(entry.clone()));
        assert_eq!(cache.entries().unwrap(), [entry]);

        std::fs::write(folder.path().join("index/postgres.json"), "{\"format\":1,").unwrap();
        assert_eq!(cache.entry("postgres"), None);
        cache.forget("postgres").unwrap();
        cache.forget("postgres").unwrap();
    }

    #[test]
    fn names_stay_within_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let entry = Entry::new("../../evil", Kind::Image, "x", Source::Registry);
        cache.record(&entry).unwrap();
        assert_eq!(cache.entry("../../evil"), Some(entry));
        assert!(
            cache
                .entry_path("../../evil")
                .starts_with(folder.path().join("index"))
        );
    }
}
