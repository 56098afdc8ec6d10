//! Reading profiles.

use indexmap::IndexMap;

use super::Profile;
use crate::catalog::{NamedText, Problems, embedded_profiles, read};

/// The profiles built into vadev, by name.
pub fn builtin_profiles() -> Result<IndexMap<String, Profile>, Problems> {
    load_profiles(&embedded_profiles())
}

/// Reads profiles; a later file replaces an earlier one of the same name.
pub fn load_profiles(files: &[NamedText]) -> Result<IndexMap<String, Profile>, Problems> {
    let mut profiles = IndexMap::new();
    let mut problems = Vec::new();
    for (file, text) in files {
        match read::<Profile>(file, text) {
            Ok(profile) => drop(profiles.insert(profile.name.clone(), profile)),
            Err(problem) => problems.push(problem),
        }
    }
    Problems::of(problems).map_or(Ok(profiles), Err)
}
