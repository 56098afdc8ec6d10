//! The log of accumulated changes, kept in the state folder (an emptyDir, which survives a container's restart): per path
//! what is to be there and what the image had. One JSON object a line; a group of lines counts once its commit line is
//! there, so a torn write is no change.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::agent::protocol::Node;

/// What a path is to be, and what it was in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Put there by the last change.
    pub now: Node,
    /// Found there before the first change.
    pub base: Node,
}

/// The changes since the image, by path.
pub type Log = BTreeMap<String, Logged>;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Entry { path: String, now: Node, base: Node },
    Commit { commit: u64 },
}

/// The file, open for appending.
pub struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Journal {
    /// Reads what is there and rewrites it without what later changes replaced.
    pub fn open(path: &Path) -> io::Result<(Self, Log)> {
        let log = match File::open(path) {
            Ok(file) => read(file)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Log::new(),
            Err(e) => return Err(e),
        };
        Ok((Self::rewritten(path, &log)?, log))
    }

    /// Forgets everything.
    pub fn clear(&mut self) -> io::Result<()> {
        *self = Self::rewritten(&self.path, &Log::new())?;
        Ok(())
    }

    /// Adds a change; when this fails, nothing was added.
    pub fn append<'a>(
        &mut self,
        id: u64,
        entries: impl Iterator<Item = (&'a String, &'a Logged)>,
    ) -> io::Result<()> {
        let group = lines(id, entries)?;
        if let Err(error) = self.file.write_all(&group) {
            // A torn group must not be completed by the next one's commit line.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += group.len() as u64;
        Ok(())
    }

    fn rewritten(path: &Path, log: &Log) -> io::Result<Self> {
        let fresh = path.with_extension("new");
        let content = lines(0, log.iter())?;
        fs::write(&fresh, &content)?;
        fs::rename(&fresh, path)?;
        let file = OpenOptions::new().append(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length: content.len() as u64,
        })
    }
}

fn lines<'a>(id: u64, entries: impl Iterator<Item = (&'a String, &'a Logged)>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (path, Logged { now, base }) in entries {
        serde_json::to_writer(
            &mut bytes,
            &Line::Entry {
                path: path.clone(),
                now: now.clone(),
                base: base.clone(),
            },
        )?;
        bytes.push(b'\n');
    }
    serde_json::to_writer(&mut bytes, &Line::Commit { commit: id })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read(file: File) -> io::Result<Log> {
    let mut log = Log::new();
    let mut group = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        match serde_json::from_slice(&line?) {
            Ok(Line::Entry { path, now, base }) => group.push((path, Logged { now, base })),
            Ok(Line::Commit { .. }) => apply(&mut log, group.drain(..)),
            // Torn: everything up to here was whole, nothing after it was acknowledged.
            Err(_) => break,
        }
    }
    Ok(log)
}

/// Brings `log` up to date. A path that is again what the image had needs no replay.
pub fn apply(log: &mut Log, changes: impl Iterator<Item = (String, Logged)>) {
    for (path, logged) in changes {
        if logged.now == logged.base {
            log.remove(&path);
        } else {
            log.insert(path, logged);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(sha256: &str) -> Logged {
        Logged {
            now: Node::File {
                mode: 0o644,
                sha256: sha256.into(),
            },
            base: Node::Gone,
        }
    }

    #[test]
    fn a_torn_group_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, log) = Journal::open(&path).unwrap();
        assert!(log.is_empty());
        journal
            .append(1, [(&"/a".to_owned(), &logged("1"))].into_iter())
            .unwrap();
        let mut torn = lines(
            2,
            [(&"/a".to_owned(), &logged("2")), (&"/b".to_owned(), &logged("2"))].into_iter(),
        )
        .unwrap();
        torn.truncate(torn.len() - 20);
        journal.file.write_all(&torn).unwrap();
        let (mut journal, log) = Journal::open(&path).unwrap();
        assert_eq!(log, Log::from([("/a".to_owned(), logged("1"))]));
        journal
            .append(3, [(&"/c".to_owned(), &logged("3"))].into_iter())
            .unwrap();
        assert_eq!(Journal::open(&path).unwrap().1.len(), 2);
    }

    #[test]
    fn back_to_the_image_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(&folder.path().join("j")).unwrap();
        journal
            .append(1, [(&"/a".to_owned(), &logged("1"))].into_iter())
            .unwrap();
        let reverted = Logged {
            now: Node::Gone,
            base: Node::Gone,
        };
        journal
            .append(2, [(&"/a".to_owned(), &reverted)].into_iter())
            .unwrap();
        assert!(Journal::open(&folder.path().join("j")).unwrap().1.is_empty());
    }
}
