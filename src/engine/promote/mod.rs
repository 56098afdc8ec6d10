//! Promotion's effects: the folder, the registry, and the cluster that is asked or changed.

mod apply;
mod compare;
mod folder;
mod registry;

pub use apply::{Applied, ApplyTo, apply};
pub use compare::{compare_cluster, compare_development, compare_folder};
pub use folder::{Written, write};
pub use registry::{Digests, Push, digests, push};

use std::path::Path;

use crate::failure::{Failure, Family, Plain};
use crate::promote::check::Known;

/// What the checks are to know of this machine: no value of a development secret may be in a tree.
pub fn known(state: &Path, issuer: &str, registry: Option<&str>) -> Result<Known, Failure> {
    let secrets = super::secrets::load(state).map_err(|error| {
        Plain::new(
            Family::Environment,
            format!(
                "can't read the development secrets in {}: {error}",
                state.display()
            ),
        )
    })?;
    Ok(Known {
        development_secrets: secrets
            .into_values()
            .flat_map(indexmap::IndexMap::into_values)
            .collect(),
        development_issuer: issuer.to_owned(),
        registry: registry.map(str::to_owned),
    })
}
