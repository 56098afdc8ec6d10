//! What a build's context holds, path by path: so that what lies between an image and the source has names. Pure.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::iter::Peekable;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::supply::docker::hex;

/// How a folder's print begins.
const FOLDER: &str = "folder ";

/// Everything that a build could see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// By path below the context: mode and content in one word.
    paths: BTreeMap<String, String>,
}

impl Listing {
    /// Notes what is at a path.
    pub(super) fn add(&mut self, path: String, print: String) {
        self.paths.insert(path, print);
    }

    /// One digest of all of it.
    pub fn digest(&self) -> String {
        let mut hash = ListingDigest::default();
        for (path, print) in &self.paths {
            hash.add(path, print);
        }
        hash.end()
    }

    /// What is at a path; `None` where nothing is.
    pub fn print(&self, path: &str) -> Option<&str> {
        self.paths.get(path).map(String::as_str)
    }

    /// Paths that are not the same in both. A folder that came or went is its files, and what is empty makes no image
    /// another one.
    pub fn differing(&self, other: &Self) -> BTreeSet<String> {
        let mut differing = Differing::from(self, |_| true);
        for (path, print) in &other.paths {
            differing.add(path, print);
        }
        differing.end()
    }

    /// Takes over what `other` has at these paths.
    pub fn take(&mut self, other: &Self, paths: &BTreeSet<String>) {
        for path in paths {
            match other.paths.get(path) {
                Some(print) => drop(self.paths.insert(path.clone(), print.clone())),
                None => drop(self.paths.remove(path)),
            }
        }
    }
}

/// What differs from a listing, found path by path, in their order.
pub(super) struct Differing<'a, C> {
    before: Peekable<btree_map::Iter<'a, String, String>>,
    counts: C,
    found: BTreeSet<String>,
}

impl<'a, C: Fn(&str) -> bool> Differing<'a, C> {
    /// From `before`, of the paths that `counts` takes.
    pub fn from(before: &'a Listing, counts: C) -> Self {
        Self {
            before: before.paths.iter().peekable(),
            counts,
            found: BTreeSet::new(),
        }
    }

    /// The next path as it is now.
    pub fn add(&mut self, path: &str, print: &str) {
        while let Some((gone, print)) = self.before.next_if(|(before, _)| before.as_str() < path) {
            self.note(gone, print.starts_with(FOLDER));
        }
        let same = match self.before.next_if(|(before, _)| before.as_str() == path) {
            Some((_, before)) => before == print,
            None => print.starts_with(FOLDER),
        };
        self.note(path, same);
    }

    /// All that differ.
    pub fn end(mut self) -> BTreeSet<String> {
        while let Some((gone, print)) = self.before.next() {
            self.note(gone, print.starts_with(FOLDER));
        }
        self.found
    }

    fn note(&mut self, path: &str, same: bool) {
        if !same && (self.counts)(path) {
            self.found.insert(path.to_owned());
        }
    }
}

/// The digest of a listing that is made path by path, in their order.
#[derive(Debug, Default)]
pub(super) struct ListingDigest(Sha256);

impl ListingDigest {
    pub fn add(&mut self, path: &str, print: &str) {
        for text in [path, print] {
            // With its length: no two listings give the same bytes.
            self.0.update((text.len() as u64).to_le_bytes());
            self.0.update(text);
        }
    }

    pub fn end(self) -> String {
        hex(&self.0.finalize())
    }
}

/// A regular file.
pub(super) fn file(mode: u32, sha256: &str) -> String {
    format!("file {mode:o} {sha256}")
}

/// A symbolic link.
pub(super) fn link(target: &str) -> String {
    format!("link {target}")
}

/// A folder.
pub(super) fn folder(mode: u32) -> String {
    format!("{FOLDER}{mode:o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(all: &[(&str, String)]) -> Listing {
        let mut listing = Listing::default();
        for (path, print) in all {
            listing.add((*path).to_owned(), print.clone());
        }
        listing
    }

    #[test]
    fn what_differs_has_a_name() {
        let before = listing(&[
            ("a", file(0o644, "1")),
            ("b", file(0o644, "1")),
            ("c", link("b")),
            ("old", folder(0o755)),
            ("kept", folder(0o755)),
        ]);
        let mut now = listing(&[
            ("a", file(0o755, "1")),
            ("b", file(0o644, "1")),
            ("d", link("b")),
            ("new", folder(0o755)),
            ("kept", folder(0o700)),
        ]);
        let names = ["a", "c", "d", "kept"].map(str::to_owned).into();
        assert_eq!(before.differing(&now), names);
        assert_eq!(now.differing(&before), names);
        assert_ne!(before.digest(), now.digest());
        now.take(&before, &["c".to_owned(), "d".to_owned()].into());
        assert_eq!(before.differing(&now), ["a", "kept"].map(str::to_owned).into());
    }
}
