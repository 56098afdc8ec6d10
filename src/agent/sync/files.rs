//! File system primitives of the agent: look at a path, put one node there atomically, remove one.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use crate::agent::digest;
use crate::agent::protocol::Node;

/// Temporary files beside their target start so.
const TEMPORARY: &str = ".vadev-";

/// What is at `path` now, without following a link.
pub fn inspect(path: &Path) -> io::Result<Node> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // A file where a folder of the path should be: there is nothing at the path itself either.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Node::Gone);
        }
        Err(e) => return Err(e),
    };
    if metadata.is_symlink() {
        let target = fs::read_link(path)?.to_string_lossy().into_owned();
        return Ok(Node::Link { target });
    }
    if metadata.is_dir() {
        return Ok(Node::Folder);
    }
    if !metadata.is_file() {
        // Reading a pipe or a device could wait for ever.
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "neither file, link nor folder",
        ));
    }
    Ok(Node::File {
        mode: metadata.permissions().mode() & 0o777,
        sha256: hash(path)?,
    })
}

/// SHA-256 of a file's content.
pub fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok(digest::to_hex(&hash.finalize()));
        }
        hash.update(&buffer[..length]);
    }
}

/// The path, if it is absolute and plain: no `..`, no `.`, no NUL, no doubled or trailing slash.
pub fn plain(path: &str) -> Option<PathBuf> {
    let parsed = PathBuf::from(path);
    let mut components = parsed.components();
    let plain = components.next() == Some(Component::RootDir)
        && components.all(|component| matches!(component, Component::Normal(_)));
    let rebuilt: PathBuf = parsed.components().collect();
    (plain && rebuilt.as_os_str() == path && !path.contains('\0')).then_some(parsed)
}

/// A node ready beside its target, one rename away from being in place. Dropped before that, it leaves nothing.
pub struct Prepared {
    temporary: PathBuf,
    target: PathBuf,
    placed: bool,
}

impl Prepared {
    /// Copies `content` to a temporary file in the nearest folder that exists above `target` (the same file system, so
    /// that the rename is atomic), and is not at or below one that is `going` before that. `unique` tells the temporary files
    /// of a change apart.
    pub fn file(
        content: &Path,
        target: &Path,
        mode: u32,
        unique: &str,
        going: &HashSet<&Path>,
    ) -> io::Result<Self> {
        let prepared = Self::at(target, unique, going);
        let mut from = File::open(content)?;
        let mut to = File::create(&prepared.temporary)?;
        io::copy(&mut from, &mut to)?;
        // Root writes for somebody else: the file stays whose it was, or becomes its folder's owner's.
        if rustix::process::geteuid().is_root()
            && let Some((user, group)) = owner(target)
        {
            // A root without that capability leaves the file its own: readable, which is what the service needs.
            drop(fchown(&to, Some(user), Some(group)));
        }
        to.set_permissions(fs::Permissions::from_mode(mode & 0o777))?;
        to.set_modified(next_time(target))?;
        Ok(prepared)
    }

    /// The same for a symbolic link.
    pub fn link(points_to: &str, target: &Path, unique: &str, going: &HashSet<&Path>) -> io::Result<Self> {
        let prepared = Self::at(target, unique, going);
        symlink(points_to, &prepared.temporary)?;
        Ok(prepared)
    }

    fn at(target: &Path, unique: &str, going: &HashSet<&Path>) -> Self {
        let stays = |folder: &&Path| !folder.ancestors().any(|above| going.contains(above));
        let folder = target
            .ancestors()
            .skip(1)
            .filter(stays)
            .find(|folder| folder.is_dir())
            .unwrap_or(Path::new("/"));
        Self {
            temporary: folder.join(format!("{TEMPORARY}{unique}")),
            target: target.to_owned(),
            placed: false,
        }
    }

    /// Renames it into place. A folder in its place is removed first.
    pub fn place(mut self) -> io::Result<()> {
        if let Some(folder) = self.target.parent() {
            fs::create_dir_all(folder)?;
        }
        if fs::symlink_metadata(&self.target).is_ok_and(|metadata| metadata.is_dir()) {
            fs::remove_dir_all(&self.target)?;
        }
        fs::rename(&self.temporary, &self.target)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.placed {
            // Best effort: the error that led here is the one to tell.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// User and group of what is at the path, or of the nearest folder above it.
fn owner(target: &Path) -> Option<(u32, u32)> {
    let mut found = target
        .ancestors()
        .filter_map(|path| fs::symlink_metadata(path).ok());
    found.next().map(|metadata| (metadata.uid(), metadata.gid()))
}

/// Now, but in a later second than the present file's time: Python's compiled files and make compare whole seconds, and
/// two saves in one second are usual here.
fn next_time(target: &Path) -> SystemTime {
    let now = SystemTime::now();
    let Ok(old) = fs::symlink_metadata(target).and_then(|metadata| metadata.modified()) else {
        return now;
    };
    let second = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if second(old) >= second(now) {
        old + Duration::from_secs(1)
    } else {
        now
    }
}

/// Removes a file, a link or a whole folder. A folder that cannot go itself (a mount point, or one in a folder of
/// somebody else's) is emptied.
pub fn remove(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(e),
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    for entry in fs::read_dir(path)? {
        remove(&entry?.path())?;
    }
    match fs::remove_dir(path) {
        Err(e)
            if !matches!(
                e.kind(),
                io::ErrorKind::ResourceBusy | io::ErrorKind::PermissionDenied
            ) =>
        {
            Err(e)
        }
        _ => Ok(()),
    }
}

/// Calls `found` for each file and link below `path` (or for `path` itself), folders in order of their names.
/// Temporary files of the agent are not counted.
pub fn walk(path: &Path, found: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(e) => Err(e),
        Ok(metadata) if metadata.is_dir() => {
            let mut names = fs::read_dir(path)?
                .map(|e| e.map(|e| e.file_name()))
                .collect::<io::Result<Vec<_>>>()?;
            names.sort();
            for name in names
                .iter()
                .filter(|name| !name.to_string_lossy().starts_with(TEMPORARY))
            {
                walk(&path.join(name), found)?;
            }
            Ok(())
        }
        Ok(metadata) if metadata.is_file() || metadata.is_symlink() => found(path),
        // Sockets, pipes and devices are made by the running service; nobody syncs them.
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn paths_must_be_plain() {
        for good in ["/a", "/app/src/main.py", "/app/with space"] {
            assert!(plain(good).is_some(), "{good}");
        }
        for bad in ["", "a", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\0b", "../a"] {
            assert!(plain(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_file_replaces_what_was_there_in_one_step() {
        let folder = folder();
        let (content, target) = (folder.path().join("content"), folder.path().join("new/deep/file"));
        fs::write(&content, "two").unwrap();
        let prepared = Prepared::file(&content, &target, 0o640, "1", &HashSet::new()).unwrap();
        assert_eq!(inspect(&target).unwrap(), Node::Gone);
        prepared.place().unwrap();
        let sha256 = digest::hex(b"two");
        assert_eq!(inspect(&target).unwrap(), Node::File { mode: 0o640, sha256 });
        // A folder gives way to a file, and nothing temporary is left.
        Prepared::file(&content, &folder.path().join("new"), 0o600, "2", &HashSet::new())
            .unwrap()
            .place()
            .unwrap();
        let mut names = vec![];
        walk(folder.path(), &mut |path| {
            let _: () = names.push(path.to_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(names, [content, folder.path().join("new")]);
    }

    #[test]
    fn what_goes_takes_no_file_along_that_comes() {
        let folder = folder();
        let (content, going) = (folder.path().join("content"), folder.path().join("going"));
        fs::create_dir_all(going.join("deep")).unwrap();
        fs::write(&content, "x").unwrap();
        let target = going.join("deep/file");
        let all = HashSet::from([going.as_path()]);
        let file = Prepared::file(&content, &target, 0o600, "1", &all).unwrap();
        let link = Prepared::link("file", &going.join("link"), "2", &all).unwrap();
        remove(&going).unwrap();
        file.place().unwrap();
        link.place().unwrap();
        assert!(going.join("link").is_symlink());
        assert_eq!(fs::read(target).unwrap(), b"x");
    }

    #[test]
    fn given_up_leaves_nothing() {
        let folder = folder();
        fs::write(folder.path().join("content"), "x").unwrap();
        let target = folder.path().join("target");
        drop(
            Prepared::file(
                &folder.path().join("content"),
                &target,
                0o600,
                "1",
                &HashSet::new(),
            )
            .unwrap(),
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn times_move_on_by_whole_seconds() {
        let folder = folder();
        let (content, target) = (folder.path().join("content"), folder.path().join("target"));
        fs::write(&content, "x").unwrap();
        let mut seconds = vec![];
        for unique in ["1", "2", "3"] {
            Prepared::file(&content, &target, 0o600, unique, &HashSet::new())
                .unwrap()
                .place()
                .unwrap();
            let time = fs::metadata(&target).unwrap().modified().unwrap();
            seconds.push(time.duration_since(UNIX_EPOCH).unwrap().as_secs());
        }
        assert!(seconds.is_sorted_by(|a, b| a < b), "{seconds:?}");
    }

    #[test]
    fn removing_is_recursive_and_repeatable() {
        let folder = folder();
        let tree = folder.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/c"), "x").unwrap();
        symlink("/nowhere", tree.join("link")).unwrap();
        assert_eq!(
            inspect(&tree.join("link")).unwrap(),
            Node::Link {
                target: "/nowhere".into()
            }
        );
        remove(&tree).unwrap();
        remove(&tree).unwrap();
        remove(&tree.join("a/b")).unwrap();
        assert_eq!(inspect(&tree).unwrap(), Node::Gone);
    }
}
