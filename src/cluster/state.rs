//! What vadev remembers about a cluster that it makes, and what the cluster's condition is. The memory is one small
//! file beside the kubeconfig, written before kind starts: that is how a creation killed half-way is recognised.

use std::path::{Path, PathBuf};

use super::error::ClusterError;
use super::nodes::{Node, NodeState};
use super::owner::Owner;

/// The memory of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Whose it is.
    pub owner: Owner,
    /// Whether kind's work came to its end.
    pub complete: bool,
    /// The container of the control plane, once complete: a cluster made anew by hand under the same name is another.
    pub control_plane: Option<String>,
    /// The configuration it was made with, as given to kind; its ports can't change later.
    pub config: String,
    /// Whether kind's network came with it, and so goes with it where nothing else is on it.
    #[serde(default)]
    pub network: bool,
}

/// What is there under a cluster's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Missing,
    /// A creation that never came to its end, with what shows it.
    Broken(String),
    /// At least one node is stopped.
    Stopped,
    /// At least one node is paused, and none stopped.
    Paused,
    /// All nodes run. Whether the API answers is another question.
    Running,
    /// Made by something else than vadev.
    Foreign,
}

/// The condition by the nodes and the memory. `None` for the memory means that the cluster itself must be asked.
pub(super) fn condition(nodes: &[Node], record: Option<&Record>) -> Option<Condition> {
    if nodes.is_empty() {
        return Some(Condition::Missing);
    }
    let record = record?;
    if !record.complete {
        return Some(Condition::Broken("its creation was interrupted".to_owned()));
    }
    if control_plane(nodes).is_some_and(|id| Some(id) != record.control_plane) {
        return None;
    }
    Some(by_nodes(nodes))
}

/// The ID of the control plane's container.
pub(super) fn control_plane(nodes: &[Node]) -> Option<String> {
    nodes
        .iter()
        .find(|node| node.control_plane)
        .map(|node| node.id.clone())
}

/// The condition of a finished cluster.
pub(super) fn by_nodes(nodes: &[Node]) -> Condition {
    let any = |state| nodes.iter().any(|node| node.state == state);
    if !nodes.iter().any(|node| node.control_plane) {
        return Condition::Broken("its control plane's container is gone".to_owned());
    }
    if any(NodeState::Stopped) {
        Condition::Stopped
    } else if any(NodeState::Paused) {
        Condition::Paused
    } else {
        Condition::Running
    }
}

/// Where the memory of a cluster is.
pub(super) fn record_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Record>, ClusterError> {
    let path = record_path(folder, name);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ClusterError::File {
                action: "read",
                path,
                source,
            });
        }
    };
    let record = serde_json::from_slice(&text);
    record.map(Some).map_err(|error| ClusterError::Content {
        path,
        problem: error.to_string(),
    })
}

pub(super) fn write(folder: &Path, name: &str, record: &Record) -> Result<(), ClusterError> {
    let path = record_path(folder, name);
    let text = serde_json::to_vec_pretty(record).map_err(|error| ClusterError::Content {
        path: path.clone(),
        problem: error.to_string(),
    })?;
    write_atomically(&path, &text)
}

/// Writes beside and renames, readable by the user alone: kubeconfigs hold keys.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ClusterError> {
    let failed = |source| ClusterError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

pub(super) fn forget(path: PathBuf) -> Result<(), ClusterError> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ClusterError::File {
            action: "delete",
            path,
            source: error,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(control_plane: bool, state: NodeState) -> Node {
        Node {
            name: "n".to_owned(),
            id: "1".to_owned(),
            control_plane,
            state,
        }
    }

    fn record(complete: bool) -> Record {
        let owner = Owner {
            workspace: "w".to_owned(),
            profile: "dev".to_owned(),
            root: None,
        };
        Record {
            owner,
            complete,
            control_plane: complete.then(|| "1".to_owned()),
            config: String::new(),
            network: false,
        }
    }

    #[test]
    fn an_interrupted_creation_is_recognised() {
        let nodes = [node(true, NodeState::Running)];
        assert!(matches!(
            condition(&nodes, Some(&record(false))),
            Some(Condition::Broken(_))
        ));
        assert_eq!(condition(&nodes, Some(&record(true))), Some(Condition::Running));
        let mut other = record(true);
        other.control_plane = Some("2".to_owned());
        assert_eq!(condition(&nodes, Some(&other)), None);
        assert_eq!(condition(&nodes, None), None);
        assert_eq!(condition(&[], Some(&record(true))), Some(Condition::Missing));
    }

    #[test]
    fn one_stopped_node_stops_the_cluster() {
        let (cp, worker) = (node(true, NodeState::Paused), node(false, NodeState::Stopped));
        assert_eq!(by_nodes(&[cp.clone(), worker.clone()]), Condition::Stopped);
        assert_eq!(by_nodes(&[cp]), Condition::Paused);
        assert!(matches!(by_nodes(&[worker]), Condition::Broken(_)));
    }

    #[test]
    fn the_memory_survives_writing_and_reading() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), "a").unwrap(), None);
        write(folder.path(), "a", &record(false)).unwrap();
        assert_eq!(read(folder.path(), "a").unwrap(), Some(record(false)));
        forget(record_path(folder.path(), "a")).unwrap();
        forget(record_path(folder.path(), "a")).unwrap();
    }
}
