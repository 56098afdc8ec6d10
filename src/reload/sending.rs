//! What is sent to a replica: read when it is sent, and compared with what was to be sent.

use std::collections::{BTreeMap, BTreeSet};

use super::ReloadError;
use super::given::unlike;
use super::origin::Origin;
use super::source::Source;
use super::tree::{Lack, Size, write};
use super::watch;
use crate::agent::outgoing::Change;
use crate::agent::protocol::{Entry, Node, Then};

/// So much of a change is held in memory; the rest is read while it is sent.
const BUDGET: u64 = 32 << 20;
/// So much goes packed: the way through the API server is slower than packing it.
const LARGE: u64 = 32 << 20;

impl Origin {
    /// Makes a change of what is lacking. Blocks while files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn change(&self, lack: &Lack, then: Then) -> Result<Change, ReloadError> {
        let (root, modes) = {
            let source = watch::lock(&self.source);
            (source.root().to_owned(), self.modes(&source, lack))
        };
        let mut change = Change {
            deletes: lack.deletes.clone(),
            writes: BTreeMap::new(),
            then,
            compress: false,
        };
        let mut size = Size {
            left: BUDGET,
            total: 0,
        };
        for (target, path) in &lack.writes {
            match write(&root, path, &mut size)? {
                Some(mut write) => {
                    write.mode = modes.get(target).copied().unwrap_or(write.mode);
                    change.writes.insert(target.clone(), write);
                }
                // It went while the change was made ready: another change says so too.
                None => change.deletes.push(target.clone()),
            }
        }
        change.compress = size.total >= LARGE;
        Ok(change)
    }

    /// Target paths of which a replica was sent something else than `lack` was to bring: a file was saved between the look
    /// and the sending.
    pub fn unlike(&self, lack: &Lack, sent: &[Entry]) -> BTreeSet<String> {
        let modes = self.modes(&watch::lock(&self.source), lack);
        let mut wanted = lack.nodes.clone();
        for (target, given) in modes {
            if let Some(Node::File { mode, .. }) = wanted.get_mut(&target) {
                *mode = given;
            }
        }
        unlike(&wanted, sent)
    }

    /// COPY may say another mode than a file has.
    fn modes(&self, source: &Source, lack: &Lack) -> BTreeMap<String, u32> {
        let is_folder = |path: &str| path.is_empty() || source.is_folder(path);
        let mode = |(target, path): (&String, &String)| {
            let attributes = self.service.recipe.attributes(path, target, &is_folder)?;
            Some((target.clone(), attributes.mode? & 0o777))
        };
        lack.writes.iter().filter_map(mode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::outgoing::{self, Content};
    use crate::reload::tried;

    fn lacking(origin: &Origin) -> Lack {
        origin.differing(["a"].into_iter()).unwrap()
    }

    /// What one replica is sent.
    fn sent(origin: &Origin, lack: &Lack) -> Vec<Entry> {
        let change = origin.change(lack, Then::Nothing).unwrap();
        let (sender, _receiver) = tokio::sync::mpsc::channel(8);
        outgoing::produce(1, change, &sender).unwrap().expected
    }

    #[test]
    fn a_save_between_two_replicas_is_not_lost_when_it_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let save = |text: &str| std::fs::write(folder.path().join("a"), text).unwrap();
        save("one");
        let origin = tried::origin(folder.path(), "FROM x\nCOPY --chmod=4700 . /app\n");
        let lack = lacking(&origin);
        let first = origin.unlike(&lack, &sent(&origin, &lack));
        assert!(first.is_empty(), "{first:?}");
        save("two");
        let second = origin.unlike(&lack, &sent(&origin, &lack));
        origin.gave(&lack, &second).unwrap();
        save("one");
        assert!(
            !lacking(&origin).is_empty(),
            "the second replica has the other one"
        );
        let lack = lacking(&origin);
        let unlike = origin.unlike(&lack, &sent(&origin, &lack));
        origin.gave(&lack, &unlike).unwrap();
        assert!(lacking(&origin).is_empty());
    }

    #[test]
    fn large_files_go_packed_and_are_not_held_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let origin = tried::origin(folder.path(), "FROM x\n");
        let file = std::fs::File::create(folder.path().join("a")).unwrap();
        for (length, packed) in [(LARGE - 1, false), (LARGE, true)] {
            file.set_len(length).unwrap();
            let change = origin.change(&lacking(&origin), Then::Nothing).unwrap();
            assert_eq!(change.compress, packed, "{length}");
            assert!(matches!(change.writes["/app/a"].content, Content::File(_)));
        }
    }
}
