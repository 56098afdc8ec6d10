//! The tar of one layer that lies over an image: changed files, and whiteouts for those that are gone. The same content
//! always gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// One path of the image that is to be different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// Absolute path in the image.
    pub path: String,
    /// What is to be there.
    pub what: OverlayKind,
    /// User and group.
    pub owner: (u64, u64),
}

/// What a path is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverlayKind {
    /// A file with the content of one on this machine, and these permission bits.
    File {
        /// On this machine.
        source: PathBuf,
        /// For instance `0o644`.
        mode: u32,
    },
    /// A symbolic link to this target.
    Link(String),
    /// A folder with these permission bits.
    Folder(u32),
    /// Nothing: neither it nor what is below it.
    Deleted,
}

/// Changes over one image, newest first: however many there were, they are one layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlays {
    paths: BTreeMap<String, OverlayKind>,
    /// Folders that were deleted and made again: nothing of the image's own shows through.
    renewed: BTreeSet<String>,
    /// Whose the paths are.
    owners: BTreeMap<String, (u64, u64)>,
}

impl Overlays {
    /// Adds newer changes over those that are there.
    pub fn add(&mut self, newer: impl IntoIterator<Item = Overlay>) {
        for Overlay { path, what, owner } in newer {
            let path = format!("/{}", path.trim_matches('/'));
            let replaced = |folder: &str| {
                let above = self.paths.get(folder);
                above.is_some_and(|above| !matches!(above, OverlayKind::Folder(_)))
            };
            // It went with the folder that it was in, and a layer has no place below a file.
            if what == OverlayKind::Deleted && ancestors(&path).any(replaced) {
                continue;
            }
            self.owners.insert(path.clone(), owner);
            if matches!(what, OverlayKind::Folder(_)) {
                if self.paths.get(&path) == Some(&OverlayKind::Deleted) {
                    self.renewed.insert(path.clone());
                }
            } else {
                // What was below a path that is no folder now is gone with it.
                let below = format!("{path}/");
                self.paths.retain(|other, _| !other.starts_with(&below));
                self.renewed
                    .retain(|other| *other != path && !other.starts_with(&below));
            }
            if what != OverlayKind::Deleted {
                for folder in ancestors(&path) {
                    if self.paths.get(folder) == Some(&OverlayKind::Deleted) {
                        self.paths.insert(folder.to_owned(), OverlayKind::Folder(0o755));
                        self.renewed.insert(folder.to_owned());
                    }
                }
            }
            self.paths.insert(path, what);
        }
    }

    /// How many paths differ.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Forgets all: a build has them in it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes the layer's tar.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(out);
        for (name, what) in &self.paths {
            let path = Path::new(name.trim_start_matches('/'));
            let mut header = tar::Header::new_gnu();
            let present = *what != OverlayKind::Deleted;
            let (user, group) = self
                .owners
                .get(name)
                .filter(|_| present)
                .copied()
                .unwrap_or_default();
            header.set_uid(user);
            header.set_gid(group);
            header.set_size(0);
            header.set_mode(0o777);
            header.set_mtime(EPOCH);
            match what {
                OverlayKind::File { source, mode } => {
                    // Read whole: an editor may replace it while it is sent, and the time depends on it.
                    let mut content = Vec::new();
                    File::open(source)?.read_to_end(&mut content)?;
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_size(content.len() as u64);
                    header.set_mode(*mode);
                    header.set_mtime(stamp(&content));
                    archive.append_data(&mut header, path, content.as_slice())?;
                }
                OverlayKind::Folder(mode) => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    archive.append_data(&mut header, path, io::empty())?;
                    if self.renewed.contains(name) {
                        header.set_entry_type(tar::EntryType::Regular);
                        header.set_mode(0o600);
                        archive.append_data(&mut header, path.join(".wh..wh..opq"), io::empty())?;
                    }
                }
                OverlayKind::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    archive.append_link(&mut header, path, target)?;
                }
                OverlayKind::Deleted => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    let whiteout = path.with_file_name(format!(".wh.{name}"));
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(0o600);
                    archive.append_data(&mut header, whiteout, io::empty())?;
                }
            }
        }
        archive.into_inner()?.flush()
    }
}

/// The folders above a path, the nearest first, without the root.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let cut = |path: &str| path.rfind('/').filter(|at| *at > 0);
    std::iter::successors(Some(path), move |path| cut(path).map(|at| &path[..at])).skip(1)
}

/// 2017: long past, whatever the machine's clock says.
const EPOCH: u64 = 1_500_000_000;

/// A time for a file that follows from its content: the same content gives the same layer, and other content is another
/// version to everything that compares times (Python's compiled modules, web servers' `Last-Modified`).
fn stamp(content: &[u8]) -> u64 {
    let digest = Sha256::digest(content);
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    EPOCH + u64::from(number >> 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(overlays: &Overlays) -> Vec<(String, u64, u64)> {
        let mut bytes = Vec::new();
        overlays.write(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(Result::unwrap);
        entries
            .map(|entry| {
                let path = entry.path().unwrap().display().to_string();
                (path, entry.size(), entry.header().mtime().unwrap())
            })
            .collect()
    }

    fn file(path: &str, source: &Path) -> Overlay {
        Overlay {
            path: path.to_owned(),
            what: OverlayKind::File {
                source: source.to_owned(),
                mode: 0o644,
            },
            owner: (0, 0),
        }
    }

    #[test]
    fn the_newest_change_of_a_path_counts() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a");
        std::fs::write(&source, "one").unwrap();
        let deleted = |path: &str| Overlay {
            path: path.to_owned(),
            what: OverlayKind::Deleted,
            owner: (0, 0),
        };
        let mut overlays = Overlays::default();
        overlays.add([
            file("/app/b/c", &source),
            file("/app/a", &source),
            deleted("/app/gone"),
        ]);
        overlays.add([deleted("/app/b"), file("/app/gone", &source)]);
        let names: Vec<String> = entries(&overlays).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["app/a", "app/.wh.b", "app/gone"]);
        overlays.add([file("/app/b/d/e", &source)]);
        let names: Vec<String> = entries(&overlays).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(
            names,
            ["app/a", "app/b", "app/b/.wh..wh..opq", "app/b/d/e", "app/gone"]
        );
    }

    #[test]
    fn nothing_is_below_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a");
        std::fs::write(&source, "one").unwrap();
        let deleted = Overlay {
            what: OverlayKind::Deleted,
            ..file("/app/a/b", &source)
        };
        let mut overlays = Overlays::default();
        overlays.add([file("/app/a", &source), deleted]);
        let names: Vec<String> = entries(&overlays).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["app/a"]);
    }

    #[test]
    fn files_belong_to_whom_they_are_said_to() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a");
        std::fs::write(&source, "one").unwrap();
        let mut overlays = Overlays::default();
        let theirs = Overlay {
            owner: (7, 8),
            ..file("/app/a", &source)
        };
        overlays.add([theirs, file("/app/b", &source)]);
        let mut bytes = Vec::new();
        overlays.write(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let owner = |entry: io::Result<tar::Entry<'_, _>>| {
            let header = entry.unwrap().header().clone();
            (header.uid().unwrap(), header.gid().unwrap())
        };
        let owners: Vec<_> = archive.entries().unwrap().map(owner).collect();
        assert_eq!(owners, [(7, 8), (0, 0)]);
    }

    #[test]
    fn bytes_follow_from_content_alone() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("a");
        let mut overlays = Overlays::default();
        overlays.add([file("/app/a", &source)]);
        let mut made = Vec::new();
        for text in ["one", "one", "two"] {
            std::fs::write(&source, text).unwrap();
            made.push(entries(&overlays));
        }
        assert_eq!(made[0], made[1]);
        assert_ne!(made[1][0].2, made[2][0].2, "another time for other content");
        assert_eq!(made[1][0].1, made[2][0].1);
    }
}
