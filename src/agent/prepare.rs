//! `vadev-agent prepare FOLDER [UID:PATH]...`: what a pod's `fsGroup` and init containers do, for containers that run without
//! Kubernetes. Puts this program into a folder that the others share, for their health checks, and gives each fresh volume
//! to the user who will write to it.

use std::io;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use super::sync::install;

/// A path and the numeric user and group that it is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// User and group.
    pub id: u32,
    /// Folder.
    pub path: PathBuf,
}

impl Owned {
    /// Reads `999:/volumes/postgres-data`.
    pub fn parse(word: &str) -> Result<Self, String> {
        let wrong = || format!("prepare: {word:?} is not UID:PATH");
        let (id, path) = word.split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            id: id.parse().map_err(|_| wrong())?,
            path: path.into(),
        })
    }
}

/// Installs the agent into `folder` and gives each path to its owner. The content of a volume stays as it is: only its root
/// can belong to somebody else, because whoever writes below it is its owner.
pub fn run(folder: &str, owned: &[Owned]) -> io::Result<Vec<String>> {
    let program = install(folder.as_ref())?;
    let mut done = vec![program.display().to_string()];
    for one in owned {
        chown(&one.path, Some(one.id), Some(one.id))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", one.path.display())))?;
        done.push(format!("{} belongs to {}", one.path.display(), one.id));
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_hold_colons_and_an_id_may_not_be_a_name() {
        let owned = Owned::parse("999:/volumes/a:b").unwrap();
        assert_eq!((owned.id, owned.path), (999, PathBuf::from("/volumes/a:b")));
        assert!(Owned::parse("redis:/data").is_err());
        assert!(Owned::parse("/data").is_err());
    }

    #[test]
    fn the_program_is_put_there_and_the_path_given_away() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let own = std::fs::metadata(folder.path()).unwrap().uid();
        let owned = Owned {
            id: own,
            path: folder.path().into(),
        };
        let done = run(&folder.path().display().to_string(), &[owned]).unwrap();
        assert_eq!(done.len(), 2);
        assert!(folder.path().join("vadev-agent").is_file());
        let missing = Owned {
            id: own,
            path: folder.path().join("none"),
        };
        assert!(
            run(&folder.path().display().to_string(), &[missing])
                .unwrap_err()
                .to_string()
                .contains("none")
        );
    }
}
