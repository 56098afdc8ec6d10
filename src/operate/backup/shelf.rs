//! The folder of backups: what is in it, what is whole, what may go.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;

use super::file::{DRAFT, Draft, fingerprint};
use super::manifest::{Content, Manifest, System};
use crate::operate::error::OperateError;

/// What manifests end with.
const MANIFEST: &str = ".manifest.json";

/// Drafts of this age belong to nobody any more.
const ABANDONED: Duration = Duration::from_hours(6);

/// A folder of backups.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
}

/// One backup with its manifest.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// The file.
    pub file: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// What a clean-up takes away.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cleaned {
    /// Backups that go, oldest first.
    pub goes: Vec<PathBuf>,
    /// Backups that stay, oldest first.
    pub stays: Vec<PathBuf>,
    /// Unfinished files of backups that were broken off.
    pub drafts: Vec<PathBuf>,
}

impl Stored {
    /// The file's name without its folder.
    pub fn name(&self) -> String {
        self.file
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Compares the file with the manifest: a truncated or changed one is refused.
    pub fn check(&self) -> Result<(), OperateError> {
        let (sha256, size) = fingerprint(&self.file)?;
        if size != self.manifest.size {
            let message = format!(
                "{} has {size} bytes and not {}: it is truncated or another file; nothing was changed",
                self.file.display(),
                self.manifest.size
            );
            return Err(OperateError::refused(
                message,
                "take another backup: vadev backup list",
            ));
        }
        if sha256 != self.manifest.sha256 {
            let message = format!(
                "{} is not the file that its manifest describes (SHA-256 {sha256}); nothing was changed",
                self.file.display()
            );
            return Err(OperateError::refused(
                message,
                "take another backup: vadev backup list",
            ));
        }
        Ok(())
    }
}

/// Where the manifest of a file is.
fn manifest_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(MANIFEST);
    PathBuf::from(name)
}

/// A backup with its manifest; a file without one is somebody else's, and refused.
pub fn read(file: &Path) -> Result<Stored, OperateError> {
    if !file.is_file() {
        let error = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file");
        return Err(OperateError::file("read", file, error));
    }
    let path = manifest_path(file);
    let foreign = |problem: String| {
        OperateError::refused(
            format!(
                "{} is no backup of vadev's: {problem}; nothing was changed",
                file.display()
            ),
            "vadev backup list shows those that are",
        )
    };
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(foreign("it has no manifest beside it".to_owned()));
        }
        other => other.map_err(|error| OperateError::file("read", &path, error))?,
    };
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| foreign(format!("its manifest can't be read: {error}")))?;
    let fits = matches!(
        (manifest.system, &manifest.content),
        (System::Postgres, Content::Database { .. }) | (System::Redis, Content::Keys(_))
    );
    if manifest.kind != "Backup" || !fits {
        return Err(foreign("its manifest is of another kind".to_owned()));
    }
    Ok(Stored {
        file: file.to_owned(),
        manifest,
    })
}

impl Shelf {
    /// The backups in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder. git ignores what is in it: it is data of users.
    pub fn prepare(&self) -> Result<(), OperateError> {
        let ignore = self.folder.join(".gitignore");
        let made = fs::create_dir_all(&self.folder).and_then(|()| {
            if ignore.exists() {
                Ok(())
            } else {
                fs::write(&ignore, "*\n")
            }
        });
        made.map_err(|error| OperateError::file("write to", &self.folder, error))
    }

    /// The path of a new backup. `part` distinguishes several of one system.
    pub fn path(&self, system: System, part: &str, created: Timestamp) -> PathBuf {
        let time = created.strftime("%Y%m%dT%H%M%SZ");
        let part = if part.is_empty() {
            String::new()
        } else {
            format!("{part}_")
        };
        self.folder
            .join(format!("{}_{part}{time}{}", system.name(), system.ending()))
    }

    /// Puts a finished draft with its manifest on the shelf. The manifest comes first: what is listed is whole.
    pub fn put(&self, draft: Draft, mut manifest: Manifest, path: &Path) -> Result<Stored, OperateError> {
        manifest.size = draft.size();
        manifest.sha256 = draft.sha256();
        let mut beside = Draft::new(&self.folder)?;
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| OperateError::unreadable("the manifest", error))?;
        beside.write(&text)?;
        let beside = beside.keep(&manifest_path(path))?;
        if let Err(error) = draft.keep(path) {
            // A manifest of nothing is not to stay.
            drop(fs::remove_file(beside));
            return Err(error);
        }
        Ok(Stored {
            file: path.to_owned(),
            manifest,
        })
    }

    /// Every backup with a manifest, oldest first. Other files are not ours.
    pub fn list(&self) -> Result<Vec<Stored>, OperateError> {
        let mut found: Vec<Stored> = self
            .files()?
            .into_iter()
            .filter(|path| System::ALL.iter().any(|system| ends(path, system.ending())))
            .filter_map(|path| read(&path).ok())
            .collect();
        found.sort_by(|a, b| (a.manifest.created, &a.file).cmp(&(b.manifest.created, &b.file)));
        Ok(found)
    }

    /// The newest backup of each system and database.
    pub fn newest(&self) -> Result<Vec<Stored>, OperateError> {
        let all = self.list()?;
        let is_newest =
            |(at, one): &(usize, &Stored)| !all[at + 1..].iter().any(|other| same_subject(one, other));
        let newest = all.iter().enumerate().filter(is_newest);
        Ok(newest.map(|(_, one)| one.clone()).collect())
    }

    /// What would go: older than `days`, but never one of the newest `keep` of its cluster, system and database.
    pub fn clean(&self, days: u32, keep: usize) -> Result<Cleaned, OperateError> {
        let oldest = Timestamp::now().as_second() - i64::from(days) * 86_400;
        let mut cleaned = Cleaned::default();
        let all = self.list()?;
        for (at, one) in all.iter().enumerate() {
            let newer = all[at + 1..]
                .iter()
                .filter(|other| same_subject(one, other) && one.manifest.cluster == other.manifest.cluster)
                .count();
            if one.manifest.created.as_second() < oldest && newer >= keep {
                cleaned.goes.push(one.file.clone());
            } else {
                cleaned.stays.push(one.file.clone());
            }
        }
        let abandoned = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let modified = fs::metadata(path).and_then(|meta| meta.modified()).ok();
            let age = modified.and_then(|then| SystemTime::now().duration_since(then).ok());
            name.is_some_and(|name| name.starts_with(DRAFT)) && age.is_some_and(|age| age > ABANDONED)
        };
        cleaned.drafts = self.files()?.into_iter().filter(abandoned).collect();
        Ok(cleaned)
    }

    /// Removes what [`Self::clean`] found, the file before its manifest.
    pub fn remove(&self, cleaned: &Cleaned) -> Result<(), OperateError> {
        for file in cleaned.goes.iter().chain(&cleaned.drafts) {
            fs::remove_file(file).map_err(|error| OperateError::file("remove", file, error))?;
        }
        for file in &cleaned.goes {
            let path = manifest_path(file);
            fs::remove_file(&path).map_err(|error| OperateError::file("remove", &path, error))?;
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<PathBuf>, OperateError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| OperateError::file("read", &self.folder, error))?,
        };
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths
            .collect::<Result<_, _>>()
            .map_err(|error| OperateError::file("read", &self.folder, error))
    }
}

fn ends(path: &Path, ending: &str) -> bool {
    path.to_string_lossy().ends_with(ending)
}

fn same_subject(a: &Stored, b: &Stored) -> bool {
    let database = |one: &Stored| match &one.manifest.content {
        Content::Database { database, .. } => Some(database.clone()),
        Content::Keys(_) => None,
    };
    a.manifest.system == b.manifest.system && database(a) == database(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn put(shelf: &Shelf, days_ago: i64, text: &str) -> Stored {
        put_from(shelf, "uid", days_ago, text)
    }

    fn put_from(shelf: &Shelf, cluster: &str, days_ago: i64, text: &str) -> Stored {
        let created = Timestamp::from_second(Timestamp::now().as_second() - days_ago * 86_400).unwrap();
        let manifest = Manifest {
            api_version: "vadev.dev/v1".into(),
            kind: "Backup".into(),
            system: System::Redis,
            file: String::new(),
            created,
            made_by: "test".into(),
            version: "7".into(),
            cluster: cluster.into(),
            size: 0,
            sha256: String::new(),
            properties: None,
            content: Content::Keys(BTreeMap::new()),
        };
        let mut draft = Draft::new(shelf.folder()).unwrap();
        draft.write(text.as_bytes()).unwrap();
        shelf
            .put(draft, manifest, &shelf.path(System::Redis, "", created))
            .unwrap()
    }

    #[test]
    fn old_ones_go_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path());
        shelf.prepare().unwrap();
        let old = [put(&shelf, 90, "a"), put(&shelf, 60, "b"), put(&shelf, 40, "c")];
        let cleaned = shelf.clean(30, 1).unwrap();
        assert_eq!(cleaned.goes, [old[0].file.clone(), old[1].file.clone()]);
        put(&shelf, 1, "d");
        assert_eq!(shelf.clean(30, 1).unwrap().goes.len(), 3);
        shelf.remove(&cleaned).unwrap();
        assert_eq!(shelf.list().unwrap().len(), 2);
    }

    #[test]
    fn backups_of_one_cluster_are_not_displaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path());
        shelf.prepare().unwrap();
        put_from(&shelf, "production", 90, "a");
        put_from(&shelf, "laptop", 60, "b");
        let old = put_from(&shelf, "production", 100, "c");
        assert_eq!(shelf.clean(30, 1).unwrap().goes, [old.file]);
    }

    #[test]
    fn truncated_tampered_and_foreign_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path());
        shelf.prepare().unwrap();
        let stored = put(&shelf, 1, "hello");
        let said = |stored: &Stored| stored.check().unwrap_err().to_string();
        stored.check().unwrap();
        fs::write(&stored.file, "hell").unwrap();
        assert!(said(&stored).contains("truncated"));
        fs::write(&stored.file, "jello").unwrap();
        assert!(said(&stored).contains("SHA-256"));
        let foreign = folder.path().join("postgres_1.sql.gz");
        fs::write(&foreign, "x").unwrap();
        assert!(read(&foreign).unwrap_err().to_string().contains("no manifest"));
        fs::write(manifest_path(&foreign), "{}").unwrap();
        assert!(read(&foreign).unwrap_err().to_string().contains("can't be read"));
        assert_eq!(shelf.list().unwrap().len(), 1);
    }
}
