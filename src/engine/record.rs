//! What is remembered of a service's own images, in `.vadev/images`: of what the last build was made, and what the nodes run.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::image::{Built, Listing};

/// How many images of a service are kept in nodes and in Docker: the one that serves, and two to look back at.
pub const KEPT: usize = 3;

/// The images of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// The last real build, which Docker has.
    pub built: Option<Made>,
    /// What the moving tag means in the nodes: the last build, or one with a layer of changed files over it.
    pub serving: Option<Made>,
    /// Exact references, the newest last.
    pub recent: Vec<String>,
}

/// An image and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Digest of source tree, Dockerfile, arguments and bases.
    pub inputs: String,
    /// The image.
    pub image: Built,
    /// Digest of its configuration, by which the kubelet reports what runs.
    pub config: String,
}

impl Record {
    /// Reads it; a file that is missing or was written by another version is an empty record: everything is made again.
    pub fn read(state: &Path, service: &str) -> Self {
        let text = std::fs::read(path(state, service)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Writes it in one go.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn write(&self, state: &Path, service: &str) -> io::Result<()> {
        replace(&path(state, service), &serde_json::to_vec_pretty(self)?)
    }

    /// Notes a build.
    pub fn built(&mut self, made: Made) {
        self.note(&made);
        self.built = Some(made);
    }

    /// Notes what the nodes run from now on.
    pub fn serves(&mut self, made: Made) {
        self.note(&made);
        self.serving = Some(made);
    }

    /// Digest of the configuration of an image that was made before, by its ID. With Docker's containerd store the two differ,
    /// and a build of an unchanged result has nothing to ship by which the digest would be told once more.
    pub fn config_of(&self, id: &str) -> Option<String> {
        let mut made = [&self.built, &self.serving].into_iter().flatten();
        made.find(|made| made.image.id == id)
            .map(|made| made.config.clone())
    }

    fn note(&mut self, made: &Made) {
        let name = &made.image.reference;
        self.recent.retain(|other| other != name);
        self.recent.push(name.clone());
        let surplus = self.recent.len().saturating_sub(KEPT);
        self.recent.drain(..surplus);
    }

    /// The exact references that must not be taken away.
    pub fn kept(&self) -> Vec<String> {
        let current = [&self.built, &self.serving].into_iter().flatten();
        let mut kept: Vec<String> = current.map(|made| made.image.reference.clone()).collect();
        kept.extend(self.recent.iter().cloned());
        kept
    }
}

/// Which image a listing is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The last real build.
    Built,
    /// The last one with a layer of changed files over it.
    Layered,
}

/// What an image was made of.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// As in [`Made`].
    inputs: String,
    listing: Listing,
}

/// Remembers what an image was made of, path by path, in place of the one before it in this role.
///
/// # Errors
/// The state folder cannot be written.
pub fn keep(state: &Path, service: &str, role: Role, inputs: &str, listing: &Listing) -> io::Result<()> {
    let kept = Kept {
        inputs: inputs.to_owned(),
        listing: listing.clone(),
    };
    replace(&listed(state, service, role), &serde_json::to_vec(&kept)?)
}

/// What the image with these inputs was made of; `None` where it was made before anybody kept that.
pub fn listing(state: &Path, service: &str, inputs: &str) -> Option<Listing> {
    [Role::Built, Role::Layered].into_iter().find_map(|role| {
        let text = std::fs::read(listed(state, service, role)).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.inputs == inputs).then_some(kept.listing)
    })
}

/// A process that is killed leaves the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let new = path.with_added_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(new, path)
}

fn path(state: &Path, service: &str) -> PathBuf {
    state.join("images").join(format!("{service}.json"))
}

fn listed(state: &Path, service: &str, role: Role) -> PathBuf {
    let role = match role {
        Role::Built => "built",
        Role::Layered => "layered",
    };
    state.join("images").join(format!("{service}.{role}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(n: usize) -> Made {
        Made {
            inputs: format!("i{n}"),
            image: Built {
                reference: format!("s:dev-{n}"),
                id: format!("sha256:{n}"),
            },
            config: format!("sha256:{n}"),
        }
    }

    #[test]
    fn what_an_image_was_made_of_is_found_by_its_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let of = |inputs: &str| listing(state, "s", inputs);
        assert_eq!(of("1"), None);
        keep(state, "s", Role::Built, "1", &Listing::default()).unwrap();
        keep(state, "s", Role::Layered, "2", &Listing::default()).unwrap();
        keep(state, "s", Role::Layered, "3", &Listing::default()).unwrap();
        assert!(of("1").is_some() && of("2").is_none() && of("3").is_some());
        assert_eq!(listing(state, "other", "1"), None);
    }

    #[test]
    fn the_last_few_and_those_in_use_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::read(folder.path(), "s");
        assert_eq!(record, Record::default());
        record.built(made(0));
        for n in 1..=5 {
            record.serves(made(n));
        }
        assert_eq!(record.config_of("sha256:5").as_deref(), Some("sha256:5"));
        assert_eq!(record.config_of("sha256:4"), None);
        record.write(folder.path(), "s").unwrap();
        let record = Record::read(folder.path(), "s");
        assert_eq!(
            record.kept(),
            ["s:dev-0", "s:dev-5", "s:dev-3", "s:dev-4", "s:dev-5"]
        );
        std::fs::write(folder.path().join("images/s.json"), "{\"built\": 1}").unwrap();
        assert_eq!(Record::read(folder.path(), "s"), Record::default());
    }
}
