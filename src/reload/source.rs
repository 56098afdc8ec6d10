//! A service's source folder: which files it has, and what they hold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::ops::Bound;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::ReloadError;
use super::ignores::Ignores;
use super::infer::Kind;
use super::rules::Rules;
use crate::agent::digest;
use crate::agent::protocol::Node;
use crate::image::{DockerIgnore, beside, ignore_of};

/// The files of a source, by path below it, and the rules of what is not one.
#[derive(Debug)]
pub struct Source {
    root: PathBuf,
    dockerfile: PathBuf,
    ignores: Ignores,
    /// What rules name.
    named: Vec<String>,
    files: BTreeSet<Box<str>>,
    folders: BTreeSet<Box<str>>,
}

/// Paths below a source that are part of it even where git ignores them.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Named by sync rules: looked at, whoever ignores them.
    pub synced: Vec<String>,
    /// Named by the Dockerfile.
    pub copied: Vec<String>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Found {
    /// Files and links that were not known.
    pub files: Vec<String>,
    /// Folders that were not known.
    pub folders: Vec<String>,
}

impl Source {
    /// Lists the source at `root`, whose image `dockerfile` (a path from there) builds.
    ///
    /// # Errors
    /// The folder is not there or cannot be read.
    pub fn open(root: &Path, dockerfile: &str, wanted: Wanted) -> Result<Self, ReloadError> {
        let root = root.canonicalize().map_err(ReloadError::io("read", root))?;
        let path = root.join(dockerfile);
        let mut ignores = Ignores::new(&root, left_out(&root, &path));
        for folder in above(&root) {
            ignores.add_gitignore(folder, &text(&folder.join(".gitignore")));
        }
        ignores.watch(Path::new(dockerfile));
        ignores.watch(&beside(Path::new(dockerfile)));
        ignores.watch(Path::new(".dockerignore"));
        for path in &wanted.copied {
            ignores.copy(Path::new(path));
        }
        let named = wanted.synced.into_iter();
        let mut source = Self {
            root,
            dockerfile: path,
            ignores,
            named: named.filter(|from| !from.is_empty()).collect(),
            files: BTreeSet::new(),
            folders: BTreeSet::new(),
        };
        let root = source.root.clone();
        fs::read_dir(&root).map_err(ReloadError::io("read", &root))?;
        source.want();
        source.scan("");
        Ok(source)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every file and link.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(AsRef::as_ref)
    }

    /// Every folder, with the source itself as the empty text.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.folders.iter().map(AsRef::as_ref)
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether it has no file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The path below the source; `None` for one that is not below it or no text.
    pub fn relative<'p>(&self, path: &'p Path) -> Option<&'p str> {
        path.strip_prefix(&self.root).ok()?.to_str()
    }

    /// Whether the path (absolute) is none of this source's.
    pub fn is_ignored(&self, path: &Path, is_folder: bool) -> bool {
        self.ignores.is_ignored(path, is_folder)
    }

    /// Whether a known folder.
    pub fn is_folder(&self, path: &str) -> bool {
        self.folders.contains(path)
    }

    /// Whether a file says what is part of the source.
    pub fn is_rule(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let beside = || beside(&self.dockerfile);
        name == ".gitignore" || path == ".dockerignore" || self.root.join(path) == beside()
    }

    /// Reads such files again; those below the source are read with the next scan.
    pub fn reread(&mut self) {
        self.ignores.set_docker(left_out(&self.root, &self.dockerfile));
        for folder in above(&self.root) {
            self.ignores
                .add_gitignore(folder, &text(&folder.join(".gitignore")));
        }
        self.want();
    }

    /// What a rule names is looked at, whoever ignores it.
    fn want(&mut self) {
        for from in self.named.clone() {
            let from = Path::new(&from);
            let apart = self.ignores.is_apart(from) && !self.has_kept(from);
            self.ignores.want(from, apart);
        }
    }

    /// Whether the image's build takes anything of a folder below the source.
    fn has_kept(&self, folder: &Path) -> bool {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten();
        entries.filter_map(Result::ok).any(|entry| {
            let path = folder.join(entry.file_name());
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            !self.ignores.is_apart(&path) || (is_folder && self.has_kept(&path))
        })
    }

    /// Notes a file; whether it is new.
    pub fn add(&mut self, path: &str) -> bool {
        self.files.insert(path.into())
    }

    /// Takes a path and everything below it out; the files that went.
    pub fn remove(&mut self, path: &str) -> Vec<String> {
        let mut gone = below(&self.files, path);
        for folder in below(&self.folders, path) {
            self.folders.remove(folder.as_str());
        }
        for file in &gone {
            self.files.remove(file.as_str());
        }
        if self.files.remove(path) {
            gone.push(path.to_owned());
        }
        self.folders.remove(path);
        gone
    }

    /// Lists `folder` anew (with everything below it), and says what was not known. A folder that cannot be read is told
    /// by the watch, which fails on it too.
    pub fn scan(&mut self, folder: &str) -> Found {
        let mut found = Found::default();
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            let path = self.root.join(&folder);
            let Ok(entries) = fs::read_dir(&path) else {
                continue;
            };
            if self.folders.insert(folder.as_str().into()) {
                found.folders.push(folder.clone());
            }
            let entries: Vec<_> = entries.filter_map(Result::ok).collect();
            if !folder.is_empty() {
                if entries.iter().any(|entry| entry.file_name() == ".gitignore") {
                    self.ignores.add_gitignore(&path, &text(&path.join(".gitignore")));
                } else {
                    self.ignores.drop_gitignore(&path);
                }
            }
            for entry in entries {
                let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
                    continue;
                };
                if self.ignores.is_ignored(&path.join(&name), kind.is_dir()) {
                    continue;
                }
                let below = if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                if kind.is_dir() {
                    open.push(below);
                } else if (kind.is_file() || kind.is_symlink()) && self.add(&below) {
                    found.files.push(below);
                }
            }
        }
        found
    }

    /// What the containers should have: target path → path below the source.
    pub fn mapped(&self, rules: &Rules) -> BTreeMap<String, String> {
        let target = |path: &str| Some((rules.target(path)?.1, path.to_owned()));
        let part = |path: &&str| !self.ignores.is_aside(&self.root.join(path));
        self.files().filter(part).filter_map(target).collect()
    }
}

/// The source and the folders above it, down from the repository's.
fn above(root: &Path) -> Vec<&Path> {
    let mut folders: Vec<&Path> = Vec::new();
    for folder in root.ancestors() {
        folders.push(folder);
        if folder.join(".git").exists() {
            folders.reverse();
            return folders;
        }
    }
    // Outside a repository only the source's own file counts.
    vec![root]
}

/// A file that makes no sense fails the build, which says why: here it leaves nothing out.
fn left_out(root: &Path, dockerfile: &Path) -> DockerIgnore {
    ignore_of(root, dockerfile).unwrap_or_default()
}

/// What is at paths below a folder, for rules and proposals.
pub fn look(folder: &Path) -> impl Fn(&str) -> Option<Kind> + '_ {
    move |path| {
        let path = folder.join(path);
        let found = match fs::symlink_metadata(&path).ok()? {
            // The source itself may be one: what is in it counts.
            found if found.is_symlink() && path == folder.join("") => fs::metadata(&path).ok()?,
            found => found,
        };
        Some(if found.is_symlink() {
            Kind::Link
        } else if found.is_dir() {
            Kind::Folder
        } else {
            Kind::File
        })
    }
}

fn text(path: &Path) -> String {
    // Not there, or not readable: it says nothing.
    fs::read_to_string(path).unwrap_or_default()
}

fn below(set: &BTreeSet<Box<str>>, path: &str) -> Vec<String> {
    if path.is_empty() {
        return set.iter().map(ToString::to_string).collect();
    }
    let from: Box<str> = format!("{path}/").into();
    let range = set.range::<str, _>((Bound::Included(&*from), Bound::Unbounded));
    range
        .take_while(|one| one.starts_with(&*from))
        .map(ToString::to_string)
        .collect()
}

/// What a file looked like when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    length: u64,
    modified: Option<SystemTime>,
    inode: u64,
    mode: u32,
}

/// What files hold, read again only when they look different.
#[derive(Debug, Default)]
pub struct Contents(HashMap<String, (Look, Node)>);

/// A file this young may be written again within its time stamp's grain: it is not taken from memory.
const YOUNG: std::time::Duration = std::time::Duration::from_millis(50);

impl Contents {
    /// What is at `path` below `root`.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn node(&mut self, root: &Path, path: &str) -> Result<Node, ReloadError> {
        let full = root.join(path);
        let metadata = match fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                self.0.remove(path);
                return Ok(Node::Gone);
            }
            Err(e) => return Err(ReloadError::io("read", full)(e)),
        };
        if metadata.is_symlink() {
            let target = fs::read_link(&full).map_err(ReloadError::io("read", &full))?;
            return Ok(Node::Link {
                target: target.to_string_lossy().into_owned(),
            });
        }
        if metadata.is_dir() {
            return Ok(Node::Folder);
        }
        if !metadata.is_file() {
            return Ok(Node::Gone);
        }
        let look = Look {
            length: metadata.len(),
            modified: metadata.modified().ok(),
            inode: metadata.ino(),
            mode: metadata.mode() & 0o777,
        };
        let settled = look
            .modified
            .and_then(|time| time.elapsed().ok())
            .is_some_and(|age| age > YOUNG);
        if settled && let Some((before, node)) = self.0.get(path).filter(|(before, _)| *before == look) {
            debug_assert_eq!(*before, look);
            return Ok(node.clone());
        }
        let node = Node::File {
            mode: look.mode,
            sha256: hash(&full).map_err(ReloadError::io("read", &full))?,
        };
        self.0.insert(path.to_owned(), (look, node.clone()));
        Ok(node)
    }
}

fn hash(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(digest::to_hex(&hash.finalize()));
        }
        hash.update(&buffer[..length]);
    }
}

#[cfg(test)]
mod tests;
