//! What containers should have, and what they lack.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ReloadError;
use super::given::below;
use super::rules::Rules;
use super::source::{Contents, Source};
use crate::agent::outgoing::{Content, Write};
use crate::agent::protocol::{Entry, Node, tree_digest};

/// Smaller files are sent from memory: one read, and what was hashed is what is sent.
const SMALL: u64 = 1 << 20;

/// The files that every replica should have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// Target path → path below the source, and what is there.
    pub files: BTreeMap<String, (String, Node)>,
    /// Target paths that were there and are to be gone.
    pub gone: BTreeSet<String>,
    /// Target paths that rules name: what a container has there, or above, in place of it stays.
    pub named: BTreeSet<String>,
}

/// What a replica lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lack {
    /// Target path → path below the source.
    pub writes: BTreeMap<String, String>,
    /// Target paths.
    pub deletes: Vec<String>,
    /// What the written ones held when the difference was found. A file that is saved again before it is sent is sent
    /// as it is then, and is known to be unlike this.
    pub nodes: BTreeMap<String, Node>,
}

impl Lack {
    /// Whether nothing is lacking.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.deletes.is_empty()
    }

    /// How many paths.
    pub fn len(&self) -> usize {
        self.writes.len() + self.deletes.len()
    }
}

impl Tree {
    /// Reads all that the rules copy and that `is_given`.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(
        source: &Source,
        rules: &Rules,
        is_given: &dyn Fn(&str) -> bool,
        gone: &BTreeSet<String>,
        contents: &mut Contents,
    ) -> Result<Self, ReloadError> {
        let mut files = BTreeMap::new();
        for (target, path) in source.mapped(rules) {
            if !is_given(&path) {
                continue;
            }
            match contents.node(source.root(), &path)? {
                Node::Gone | Node::Folder => {}
                node => drop(files.insert(target, (path, node))),
            }
        }
        let there = |target: &&String| files.contains_key(*target) || has_below(&files, target);
        let gone = gone.iter().filter(|target| !there(target)).cloned().collect();
        let named = rules.iter().filter_map(|rule| rule.target(&rule.from)).collect();
        Ok(Self { files, gone, named })
    }

    /// What is missing or different in `there`, and what should be gone. Modes are the image's business: COPY may set them.
    pub fn lack(&self, there: &[Entry]) -> Lack {
        let there: BTreeMap<&str, &Node> = there
            .iter()
            .map(|entry| (entry.path.as_str(), &entry.node))
            .collect();
        let differs = |target: &str, node: &Node| there.get(target).is_none_or(|found| !same(found, node));
        let (mut writes, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        for (target, (path, node)) in &self.files {
            if differs(target, node) {
                writes.insert(target.clone(), path.clone());
                nodes.insert(target.clone(), node.clone());
            }
        }
        let still = |target: &&String| there.contains_key(target.as_str()) || has_below(&there, target);
        let mut deletes: BTreeSet<String> = self.gone.iter().filter(still).cloned().collect();
        // A folder became a file since the image, or a file a folder.
        for target in self.files.keys().filter(|target| !self.named.contains(*target)) {
            if has_below(&there, target) {
                deletes.insert(target.clone());
            }
            let mut above = target.as_str();
            while let Some((folder, _)) = above.rsplit_once('/')
                && !self.named.contains(folder)
            {
                // Behind a link there may be the folder.
                if matches!(there.get(folder), Some(Node::File { .. })) {
                    deletes.insert(folder.to_owned());
                }
                above = folder;
            }
        }
        Lack {
            writes,
            deletes: deletes.into_iter().collect(),
            nodes,
        }
    }

    /// One digest of all files: the same for the source and for a replica that lacks nothing.
    pub fn digest(&self) -> String {
        digest(
            self.files
                .iter()
                .map(|(target, (_, node))| (target.as_str(), node)),
        )
    }

    /// The same of what a replica has, as far as the source has a say in it.
    pub fn digest_of(&self, there: &[Entry]) -> String {
        let ours = |entry: &&Entry| self.files.contains_key(&entry.path) || self.gone.contains(&entry.path);
        digest(
            there
                .iter()
                .filter(ours)
                .map(|entry| (entry.path.as_str(), &entry.node)),
        )
    }
}

fn has_below<K: Borrow<str> + Ord, V>(all: &BTreeMap<K, V>, target: &str) -> bool {
    below(all, target).next().is_some()
}

fn same(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::File { sha256: a, .. }, Node::File { sha256: b, .. }) => a == b,
        (a, b) => a == b,
    }
}

fn digest<'a>(nodes: impl Iterator<Item = (&'a str, &'a Node)>) -> String {
    let entry = |(path, node): (&str, &Node)| Entry {
        path: path.to_owned(),
        node: match node {
            Node::File { sha256, .. } => Node::File {
                mode: 0,
                sha256: sha256.clone(),
            },
            other => other.clone(),
        },
    };
    tree_digest(&nodes.map(entry).collect::<Vec<_>>())
}

/// How much of a change there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// So many bytes may still be held in memory; what is beyond is read when it is sent.
    pub left: u64,
    /// So many bytes there are, wherever they are read.
    pub total: u64,
}

/// Makes one file ready to be sent; `None` where it is gone meanwhile.
///
/// # Errors
/// It is there and cannot be read.
pub fn write(root: &Path, path: &str, size: &mut Size) -> Result<Option<Write>, ReloadError> {
    use std::os::unix::fs::PermissionsExt;
    let full = root.join(path);
    let metadata = match std::fs::symlink_metadata(&full) {
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        other => other.map_err(ReloadError::io("read", &full))?,
    };
    let mode = metadata.permissions().mode() & 0o777;
    let content = if metadata.is_symlink() {
        let target = std::fs::read_link(&full).map_err(ReloadError::io("read", &full))?;
        Content::Link(target.to_string_lossy().into_owned())
    } else if !metadata.is_file() {
        return Ok(None);
    } else if metadata.len() <= SMALL && size.left > 0 {
        size.total += metadata.len();
        size.left = size.left.saturating_sub(metadata.len());
        match std::fs::read(&full) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => Content::Bytes(other.map_err(ReloadError::io("read", &full))?),
        }
    } else {
        size.total += metadata.len();
        Content::File(full)
    };
    Ok(Some(Write { mode, content }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::source::Wanted;

    fn file(sha256: &str, mode: u32) -> Node {
        Node::File {
            mode,
            sha256: sha256.into(),
        }
    }

    #[test]
    fn a_replica_lacks_what_differs() {
        let tree = Tree {
            files: BTreeMap::from([
                ("/a/x".to_owned(), ("x".to_owned(), file("1", 0o644))),
                ("/a/y".to_owned(), ("y".to_owned(), file("2", 0o644))),
                ("/a/z".to_owned(), ("z".to_owned(), file("3", 0o644))),
            ]),
            gone: ["/a/old".to_owned(), "/a/folder".to_owned(), "/a/never".to_owned()].into(),
            named: ["/a".to_owned()].into(),
        };
        let entry = |path: &str, node: Node| Entry {
            path: path.into(),
            node,
        };
        let there = [
            entry("/a/x", file("1", 0o755)),
            entry("/a/y", file("other", 0o644)),
            entry("/a/old", file("9", 0o644)),
            entry("/a/folder/deep", file("9", 0o644)),
            entry("/a/made-at-run-time", file("9", 0o644)),
        ];
        let lack = tree.lack(&there);
        assert_eq!(lack.writes.keys().collect::<Vec<_>>(), ["/a/y", "/a/z"]);
        assert_eq!(lack.deletes, ["/a/folder", "/a/old"]);
        assert_ne!(tree.digest_of(&there), tree.digest());
        let whole = [
            entry("/a/x", file("1", 0o755)),
            entry("/a/y", file("2", 0o600)),
            entry("/a/z", file("3", 0o644)),
            entry("/a/made-at-run-time", file("9", 0o644)),
        ];
        assert!(tree.lack(&whole).is_empty());
        assert_eq!(tree.digest_of(&whole), tree.digest());
    }

    #[test]
    fn files_and_folders_take_each_others_place() {
        let files = ["/a/was-folder", "/a/was-file/x", "/named"];
        let tree = Tree {
            files: files
                .map(|path| (path.to_owned(), ("x".to_owned(), file("1", 0o644))))
                .into(),
            named: ["/a".to_owned(), "/named".to_owned()].into(),
            ..Tree::default()
        };
        let there = ["/a/was-folder/y", "/a/was-file", "/named/other"].map(|path| Entry {
            path: path.into(),
            node: file("2", 0o644),
        });
        let lack = tree.lack(&there);
        assert_eq!(lack.deletes, ["/a/was-file", "/a/was-folder"]);
        assert_eq!(lack.writes.len(), 3);
    }

    #[test]
    fn a_folder_that_came_again_is_not_gone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("parts")).unwrap();
        std::fs::write(folder.path().join("parts/a"), "1").unwrap();
        let source = Source::open(folder.path(), "Dockerfile", Wanted::default()).unwrap();
        let rule = crate::profile::workspace::SyncRule {
            from: ".".to_owned(),
            to: "/app".to_owned(),
            ignore: Vec::new(),
        };
        let rules = Rules::new("x", &[rule], &|_: &str| None).unwrap();
        let gone = ["/app/parts", "/app/parts/old", "/app/other"]
            .map(str::to_owned)
            .into();
        let tree = Tree::read(&source, &rules, &|_| true, &gone, &mut Contents::default()).unwrap();
        assert_eq!(
            tree.gone,
            ["/app/other".to_owned(), "/app/parts/old".to_owned()].into()
        );
        assert_eq!(tree.files.keys().collect::<Vec<_>>(), ["/app/parts/a"]);
    }
}
