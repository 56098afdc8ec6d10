//! The agent's state: contents by their hash, the log of changes, and how both get into the container's files.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files::{self, Prepared};
use super::journal::{self, Journal, Log, Logged};
use crate::agent::digest;
use crate::agent::protocol::{Cause, Entry, Node};

/// Why a change, or a part of one, could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The path in the container.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The content is not what was announced.
    #[error("{path}: content has SHA-256 {found}, announced was {announced}")]
    Content {
        /// The path in the container.
        path: String,
        /// Computed here.
        found: String,
        /// Sent.
        announced: String,
    },
}

impl Error {
    fn io(path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// What the CLI decides by.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Content { .. } => Cause::BadContent,
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::DirectoryNotEmpty => Cause::NotWritable,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::NoSpace,
                _ => Cause::Other,
            },
        }
    }
}

/// One transaction, with its contents in the store already.
#[derive(Debug, Default)]
pub struct Change {
    /// From `Begin`.
    pub id: u64,
    /// Removed first.
    pub deletes: Vec<String>,
    /// Files (whose content is stored under its hash) and links.
    pub writes: BTreeMap<String, Node>,
}

/// What a restart of the container brought back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Paths put in place again.
    pub applied: usize,
    /// Paths whose image version is another one than the change was made to: the image is newer, it wins.
    pub dropped: Vec<String>,
}

/// The state folder.
pub struct Store {
    folder: PathBuf,
    journal: Journal,
    log: Log,
    incoming: u64,
}

impl Store {
    /// Opens the state in `folder`, or starts one.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let text = folder.to_string_lossy().into_owned();
        fs::create_dir_all(folder.join("content")).map_err(Error::io(&text))?;
        // What an interrupted transfer left.
        let incoming = folder.join("incoming");
        files::remove(&incoming)
            .and_then(|()| fs::create_dir_all(&incoming))
            .map_err(Error::io(&text))?;
        let (journal, log) = Journal::open(&folder.join("journal")).map_err(Error::io(&text))?;
        let store = Self {
            folder: folder.to_owned(),
            journal,
            log,
            incoming: 0,
        };
        store.discard(&store.kept().map_err(Error::io(&text))?);
        Ok(store)
    }

    /// The hashes of all contents, those of changes that were never committed too.
    fn kept(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(self.folder.join("content"))?;
        names
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    /// Where content of this hash is.
    fn content(&self, sha256: &str) -> PathBuf {
        self.folder.join("content").join(sha256)
    }

    /// Begins to receive content for `path`.
    pub fn receive(&mut self, path: &str) -> Result<Incoming, Error> {
        self.incoming += 1;
        let file_path = self.folder.join("incoming").join(self.incoming.to_string());
        let file = File::create(&file_path).map_err(Error::io(path))?;
        Ok(Incoming {
            path: path.to_owned(),
            file_path,
            file,
            hash: Sha256::new(),
        })
    }

    /// Keeps what was received, under its hash.
    pub fn keep(&self, incoming: &Incoming, sha256: &str) -> Result<(), Error> {
        fs::rename(&incoming.file_path, self.content(sha256)).map_err(Error::io(&incoming.path))
    }

    /// What was changed since the image.
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |(path, logged): (&String, &Logged)| Entry {
            path: path.clone(),
            node: logged.now.clone(),
        };
        self.log.iter().map(entry).collect()
    }

    /// Forgets the changes; the files stay.
    pub fn forget(&mut self) -> Result<(), Error> {
        self.journal.clear().map_err(Error::io("journal"))?;
        self.log.clear();
        let content = self.folder.join("content");
        files::remove(&content)
            .and_then(|()| fs::create_dir_all(&content))
            .map_err(Error::io("content"))
    }

    /// Puts a change in place and says what is there afterwards, read back from the file system. Everything that can be
    /// refused is done beside the targets first: a change that fails there changed nothing.
    pub fn commit(&mut self, change: &Change) -> Result<Vec<Entry>, Error> {
        for path in change.writes.keys() {
            spares_folder(path, &change.deletes)?;
        }
        let mut prepared = Vec::with_capacity(change.writes.len());
        let going: HashSet<&Path> = change.deletes.iter().map(Path::new).collect();
        for (number, (path, node)) in change.writes.iter().enumerate() {
            let unique = format!("{}-{number}", change.id);
            prepared.extend(
                self.prepare(path, node, &unique, &going)?
                    .map(|ready| (path, ready)),
            );
        }
        let mut changes = Log::new();
        for path in &change.deletes {
            self.note(&mut changes, path, Node::Gone)?;
        }
        for (path, node) in &change.writes {
            self.note(&mut changes, path, node.clone())?;
        }
        self.journal
            .append(change.id, changes.iter())
            .map_err(Error::io("journal"))?;
        let replaced = self.contents_of(changes.keys());
        journal::apply(&mut self.log, changes.into_iter());
        for path in &change.deletes {
            files::remove(Path::new(path)).map_err(Error::io(path))?;
        }
        for (path, ready) in prepared {
            ready.place().map_err(Error::io(path))?;
        }
        self.discard(&replaced);
        let mut entries = Vec::new();
        for path in checked_deletes(&change.deletes, &change.writes).chain(change.writes.keys()) {
            let node = look(path)?;
            // An emptied mount point is as gone as it can be.
            let empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
            let node = if node == Node::Folder && empty() {
                Node::Gone
            } else {
                node
            };
            entries.push(Entry {
                path: path.clone(),
                node,
            });
        }
        Ok(entries)
    }

    /// Brings the changes back after the container's file system was reset to the image.
    pub fn replay(&mut self) -> Result<Replayed, Error> {
        let mut replayed = Replayed::default();
        let mut due = Vec::new();
        for (path, logged) in &self.log {
            let current = look(path)?;
            if current == logged.now {
                continue;
            }
            if current == logged.base {
                due.push((path.clone(), logged.now.clone()));
            } else {
                replayed.dropped.push(path.clone());
            }
        }
        // Deepest first, so that folders are empty when their turn comes; then what is written.
        let (gone, written): (Vec<_>, Vec<_>) = due.into_iter().partition(|(_, node)| *node == Node::Gone);
        for (path, _) in gone.iter().rev() {
            files::remove(Path::new(path)).map_err(Error::io(path))?;
        }
        for (number, (path, node)) in written.iter().enumerate() {
            if let Some(ready) = self.prepare(path, node, &format!("replay-{number}"), &HashSet::new())? {
                ready.place().map_err(Error::io(path))?;
            }
        }
        replayed.applied = gone.len() + written.len();
        let restored = |path: &String| {
            let base = self.log[path].base.clone();
            (
                path.clone(),
                Logged {
                    now: base.clone(),
                    base,
                },
            )
        };
        let dropped: Log = replayed.dropped.iter().map(restored).collect();
        self.journal
            .append(0, dropped.iter())
            .map_err(Error::io("journal"))?;
        journal::apply(&mut self.log, dropped.into_iter());
        Ok(replayed)
    }

    fn prepare(
        &self,
        path: &str,
        node: &Node,
        unique: &str,
        going: &HashSet<&Path>,
    ) -> Result<Option<Prepared>, Error> {
        let target = Path::new(path);
        let prepared = match node {
            Node::File { mode, sha256 } => {
                Prepared::file(&self.content(sha256), target, *mode, unique, going)
            }
            Node::Link { target: points_to } => Prepared::link(points_to, target, unique, going),
            Node::Folder | Node::Gone => return Ok(None),
        };
        prepared.map(Some).map_err(Error::io(path))
    }

    /// Notes that `path` becomes `node`, with everything below it when it is a folder now.
    fn note(&self, changes: &mut Log, path: &str, node: Node) -> Result<(), Error> {
        let current = look(path)?;
        if current == Node::Folder {
            files::walk(Path::new(path), &mut |below| {
                let current = files::inspect(below)?;
                // A name that is no UTF-8 came with the image and is in no sync rule.
                if let Some(below) = below.to_str() {
                    changes.insert(below.to_owned(), self.logged(below, current, Node::Gone));
                }
                Ok(())
            })
            .map_err(Error::io(path))?;
        }
        let logged = self.logged(path, current, node);
        changes.insert(path.to_owned(), logged);
        Ok(())
    }

    fn logged(&self, path: &str, current: Node, now: Node) -> Logged {
        Logged {
            now,
            base: self.log.get(path).map_or(current, |logged| logged.base.clone()),
        }
    }

    fn contents_of<'a>(&self, paths: impl Iterator<Item = &'a String>) -> Vec<String> {
        let hash = |path: &String| match self.log.get(path).map(|logged| &logged.now) {
            Some(Node::File { sha256, .. }) => Some(sha256.clone()),
            _ => None,
        };
        paths.filter_map(hash).collect()
    }

    /// Removes contents that no path has any more.
    fn discard(&self, candidates: &[String]) {
        if candidates.is_empty() {
            return;
        }
        let used: HashSet<&str> = self
            .log
            .values()
            .filter_map(|logged| match &logged.now {
                Node::File { sha256, .. } => Some(sha256.as_str()),
                _ => None,
            })
            .collect();
        for sha256 in candidates.iter().filter(|sha256| !used.contains(sha256.as_str())) {
            // Space only: the next forget removes it.
            let _ = fs::remove_file(self.content(sha256));
        }
    }
}

/// A file takes the place of a folder only when the change says that what is in it goes: a rule that names a wrong target
/// must not empty a folder of the container.
fn spares_folder(path: &str, deletes: &[String]) -> Result<(), Error> {
    let goes = |below: &Path| deletes.iter().any(|gone| below.starts_with(gone));
    let target = Path::new(path);
    if !fs::symlink_metadata(target).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let check = &mut |below: &Path| {
        if goes(below) {
            Ok(())
        } else {
            let problem = "a file is to be where a folder with other files is";
            Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, problem))
        }
    };
    files::walk(target, check).map_err(Error::io(path))
}

fn look(path: &str) -> Result<Node, Error> {
    files::inspect(Path::new(path)).map_err(Error::io(path))
}

/// The deletes that hold after the change: one at or above a written path does not.
pub fn checked_deletes<'a, V>(
    deletes: &'a [String],
    writes: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = &'a String> {
    deletes.iter().filter(|path| {
        let below = format!("{path}/");
        let first = writes.range(below.clone()..).next();
        !writes.contains_key(*path) && !first.is_some_and(|(written, _)| written.starts_with(&below))
    })
}

/// Content on its way in. It is hashed while it is written.
pub struct Incoming {
    path: String,
    file_path: PathBuf,
    file: File,
    hash: Sha256,
}

impl Incoming {
    /// Adds a part.
    pub fn write(&mut self, part: &[u8]) -> Result<(), Error> {
        self.hash.update(part);
        self.file.write_all(part).map_err(Error::io(&self.path))
    }

    /// Checks the whole against what was announced and returns where it is.
    pub fn finish(&mut self, announced: &str) -> Result<&Path, Error> {
        let found = digest::to_hex(&std::mem::take(&mut self.hash).finalize());
        if found == announced {
            return Ok(&self.file_path);
        }
        // Best effort; the folder is emptied at the next start anyway.
        let _ = fs::remove_file(&self.file_path);
        Err(Error::Content {
            path: self.path.clone(),
            found,
            announced: announced.to_owned(),
        })
    }
}
