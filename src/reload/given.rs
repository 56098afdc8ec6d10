//! What replicas were given, by target path, and what went since their image. Pure.

use std::collections::{BTreeMap, BTreeSet};

use std::borrow::Borrow;
use std::ops::Bound;

use crate::agent::protocol::{Entry, Node};

/// What is known below a path, in order.
pub(super) fn below<'m, K: Borrow<str> + Ord, V>(
    all: &'m BTreeMap<K, V>,
    target: &str,
) -> impl Iterator<Item = (&'m K, &'m V)> {
    let prefix = format!("{target}/");
    let from = (Bound::Included(prefix.as_str()), Bound::Unbounded);
    let range = all.range::<str, _>(from);
    range.take_while(move |(path, _)| (*path).borrow().starts_with(&prefix))
}

/// All that goes with `deletes`, as far as it was given: when a folder comes again, what was in it stays gone.
pub(super) fn going(given: &BTreeMap<String, Node>, deletes: &[String]) -> Vec<String> {
    let mut went = deletes.to_vec();
    for target in deletes {
        went.extend(below(given, target).map(|(path, _)| path.clone()));
    }
    went
}

/// Whether replicas have something below a path, as far as it was given.
pub(super) fn has_below(given: &BTreeMap<String, Node>, target: &str) -> bool {
    below(given, target).any(|(_, node)| *node != Node::Gone)
}

/// A path that came is not gone, and neither is a folder above it.
pub(super) fn note(gone: &mut BTreeSet<String>, went: &[String], came: &[&String]) {
    gone.extend(went.iter().cloned());
    for path in came {
        let mut part = path.as_str();
        while !part.is_empty() {
            gone.remove(part);
            part = part.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
}

/// What of `given` still holds now that a replica was given `tree`: others may have another content of what differs, so that
/// whatever the source has next goes to all. What is new in the tree is news to the others.
pub(super) fn agree(given: &mut BTreeMap<String, Node>, tree: BTreeMap<String, Node>) {
    if given.is_empty() {
        *given = tree;
        return;
    }
    for (target, node) in given.iter_mut() {
        if tree.get(target) != Some(node) {
            *node = Node::Gone;
        }
    }
}

/// Which of `wanted` a replica was sent as something else, or not at all.
pub(super) fn unlike(wanted: &BTreeMap<String, Node>, sent: &[Entry]) -> BTreeSet<String> {
    let sent: BTreeMap<&str, &Node> = sent
        .iter()
        .map(|entry| (entry.path.as_str(), &entry.node))
        .collect();
    let other = |(target, node): &(&String, &Node)| sent.get(target.as_str()) != Some(node);
    let others = wanted.iter().filter(other);
    others.map(|(target, _)| target.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_comes_again_leaves_its_files_gone() {
        let given = ["/a/b", "/a/b/x", "/a/b/y/z", "/a/bc"].map(|path| (path.to_owned(), Node::Gone));
        let went = going(&given.into(), &["/a/b".to_owned()]);
        assert_eq!(went, ["/a/b", "/a/b/x", "/a/b/y/z"]);
        let link = Node::Link {
            target: "x".to_owned(),
        };
        let given = [("/a/b/x".to_owned(), link), ("/a/c/x".to_owned(), Node::Gone)].into();
        assert!(has_below(&given, "/a/b") && !has_below(&given, "/a/b/x") && !has_below(&given, "/a/c"));
        let mut gone = BTreeSet::new();
        note(&mut gone, &went, &[]);
        note(&mut gone, &[], &[&"/a/b/x".to_owned()]);
        assert_eq!(gone, ["/a/b/y/z".to_owned()].into());
    }

    #[test]
    fn what_one_replica_is_given_is_no_news_of_the_others() {
        let file = |sha256: &str| Node::File {
            mode: 0o644,
            sha256: sha256.to_owned(),
        };
        let all = |list: &[(&str, Node)]| -> BTreeMap<String, Node> {
            list.iter()
                .map(|(path, node)| ((*path).to_owned(), node.clone()))
                .collect()
        };
        let mut given = BTreeMap::new();
        agree(&mut given, all(&[("/a", file("1")), ("/b", file("1"))]));
        assert_eq!(given, all(&[("/a", file("1")), ("/b", file("1"))]));
        // A second replica comes between a save and its turn: whichever content is there next differs from what is noted.
        agree(
            &mut given,
            all(&[("/a", file("1")), ("/b", file("2")), ("/c", file("1"))]),
        );
        assert_eq!(given, all(&[("/a", file("1")), ("/b", Node::Gone)]));
        agree(&mut given, BTreeMap::new());
        assert_eq!(given, all(&[("/a", Node::Gone), ("/b", Node::Gone)]));
    }
}
