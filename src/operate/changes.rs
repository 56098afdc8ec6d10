//! What was changed of a component's configuration and Secret, so that it can be taken back. Kept beside the other state of
//! the workspace, readable by its owner alone: earlier values of secrets are secrets too.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::OperateError;

/// What a change was of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// The config map.
    Config,
    /// The Secret.
    Secret,
}

/// One value before and after.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Value {
    /// What the cluster had; `None` where the key was not there.
    pub before: Option<String>,
    /// What it has since then; `None` where the key went.
    pub after: Option<String>,
    /// What the workspace file said before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value")
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its number, from 1.
    pub number: u32,
    /// When.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// UID of the cluster's kube-system namespace.
    pub cluster: String,
    /// Of what.
    pub of: Of,
    /// By key.
    pub values: BTreeMap<String, Value>,
    /// Whether it was taken back.
    #[serde(default)]
    pub undone: bool,
    /// Whether it is the taking back of another one.
    #[serde(default)]
    pub undo: bool,
}

/// The changes of one component.
#[derive(Debug)]
pub struct Changes {
    file: PathBuf,
    cluster: String,
    all: Vec<Change>,
}

impl Changes {
    /// Reads what was changed of `component` in the cluster with this UID; `state` is the workspace's state folder.
    pub fn open(state: &Path, component: &str, cluster: &str) -> Result<Self, OperateError> {
        let file = state.join("changes").join(format!("{component}.json"));
        let all = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| OperateError::unreadable(file.display().to_string(), error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(OperateError::file("read", &file, error)),
        };
        Ok(Self {
            file,
            cluster: cluster.to_owned(),
            all,
        })
    }

    /// The changes of this cluster, newest first.
    pub fn newest_first(&self, of: Of) -> impl Iterator<Item = &Change> {
        self.all
            .iter()
            .rev()
            .filter(move |change| change.of == of && change.cluster == self.cluster)
    }

    /// The newest change that is still in force.
    pub fn last(&self, of: Of) -> Option<&Change> {
        self.newest_first(of)
            .find(|change| !change.undone && !change.undo)
    }

    /// Writes a change down; `undoes` is the number of the change that it takes back.
    pub fn add(
        &mut self,
        of: Of,
        values: BTreeMap<String, Value>,
        undoes: Option<u32>,
    ) -> Result<(), OperateError> {
        for change in &mut self.all {
            change.undone |= Some(change.number) == undoes;
        }
        self.all.push(Change {
            number: self.all.iter().map(|one| one.number).max().unwrap_or(0) + 1,
            time: Timestamp::now(),
            cluster: self.cluster.clone(),
            of,
            values,
            undone: false,
            undo: undoes.is_some(),
        });
        self.store()
            .map_err(|error| OperateError::file("write", &self.file, error))
    }

    fn store(&self) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // Temporary files are their owner's alone.
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(&serde_json::to_vec_pretty(&self.all)?)?;
        draft.as_file().sync_all()?;
        draft.persist(&self.file)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(before: &str, after: &str) -> BTreeMap<String, Value> {
        let value = Value {
            before: Some(before.to_owned()),
            after: Some(after.to_owned()),
            workspace: None,
        };
        BTreeMap::from([("K".to_owned(), value)])
    }

    #[test]
    fn changes_are_taken_back_one_after_the_other() {
        use std::os::unix::fs::PermissionsExt;
        let state = tempfile::tempdir().unwrap();
        let open = || Changes::open(state.path(), "a", "uid").unwrap();
        let mut changes = open();
        changes.add(Of::Config, value("1", "2"), None).unwrap();
        changes.add(Of::Config, value("2", "3"), None).unwrap();
        changes.add(Of::Secret, value("s", "t"), None).unwrap();
        let mut changes = open();
        assert_eq!(changes.last(Of::Config).unwrap().number, 2);
        changes.add(Of::Config, value("3", "2"), Some(2)).unwrap();
        assert_eq!(changes.last(Of::Config).unwrap().number, 1);
        changes.add(Of::Config, value("2", "1"), Some(1)).unwrap();
        assert!(open().last(Of::Config).is_none());
        assert_eq!(open().newest_first(Of::Config).count(), 4);
        assert!(
            Changes::open(state.path(), "a", "other")
                .unwrap()
                .last(Of::Secret)
                .is_none()
        );
        let mode = fs::metadata(state.path().join("changes/a.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{changes:?}").contains('t'.to_string().repeat(3).as_str()));
    }
}
