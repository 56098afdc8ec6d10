//! Promotion's effects: the folder, the registry, and the cluster that is asked or changed.

mod apply;
mod compare;
mod fits;
mod folder;
mod registry;

pub use apply::{Applied, ApplyTo, apply, confirm};
pub use compare::{compare_cluster, compare_development, compare_folder, there};
pub use folder::{Written, is_manifest, manifests, objects, write};
pub use registry::{Digests, Push, digests, push};

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Family, Plain};
use crate::promote::check::Known;

/// What the checks are to know of this machine: no value of a development secret may be in a tree, whether it is of the
/// workspace's own cluster, of Compose or of somebody else's cluster.
pub fn known(state: &Path, issuer: &str, registry: Option<&str>) -> Result<Known, Failure> {
    let mut development_secrets = Vec::new();
    for folder in with_secrets(state)? {
        let secrets = super::secrets::load(&folder).map_err(|error| unreadable(&folder, &error))?;
        development_secrets.extend(secrets.into_values().flat_map(indexmap::IndexMap::into_values));
    }
    Ok(Known {
        development_secrets,
        development_issuer: issuer.to_owned(),
        registry: registry.map(str::to_owned),
    })
}

/// The folders that may hold development secrets.
fn with_secrets(state: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut folders = vec![state.to_owned(), state.join("compose")];
    let contexts = state.join("contexts");
    let entries = match std::fs::read_dir(&contexts) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(folders),
        Err(error) => return Err(unreadable(&contexts, &error)),
    };
    for entry in entries {
        folders.push(entry.map_err(|error| unreadable(&contexts, &error))?.path());
    }
    Ok(folders)
}

fn unreadable(folder: &Path, error: &io::Error) -> Failure {
    Plain::new(
        Family::Environment,
        format!(
            "can't read the development secrets in {}: {error}",
            folder.display()
        ),
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_development_secret_of_this_workspace_is_known() {
        let state = tempfile::tempdir().unwrap();
        assert!(
            known(state.path(), "i", None)
                .unwrap()
                .development_secrets
                .is_empty()
        );
        for (folder, value) in [("", "one"), ("compose", "two"), ("contexts/staging", "three")] {
            let folder = state.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            let text = format!(r#"{{"redis":{{"password":"{value}"}}}}"#);
            std::fs::write(folder.join("secrets.json"), text).unwrap();
        }
        let all = known(state.path(), "i", None).unwrap().development_secrets;
        assert_eq!(all, ["one", "two", "three"]);
    }
}
