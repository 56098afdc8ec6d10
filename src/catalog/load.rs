//! From texts to the catalog, or to every problem in them.

use indexmap::IndexMap;
use serde::de::DeserializeOwned;

use super::embedded::NamedText;
use super::{Catalog, Infrastructure, MeshEntry, Problem, Problems, Service};

/// Reads the files of a catalog. Where two files have the same entry, see [`super::overlay`].
pub fn load(files: &[NamedText]) -> Result<Catalog, Problems> {
    let mut services = IndexMap::new();
    let mut infrastructure = IndexMap::new();
    let mut mesh = None;
    let mut problems = Vec::new();
    for (file, text) in files {
        let read = if file.contains("/services/") {
            read::<Service>(file, text).map(|s| drop(services.insert(s.name.clone(), s)))
        } else if file.contains("/infrastructure/") {
            read::<Infrastructure>(file, text).map(|s| drop(infrastructure.insert(s.name.clone(), s)))
        } else {
            read::<MeshEntry>(file, text).map(|entry| mesh = Some(entry))
        };
        problems.extend(read.err());
    }
    services.sort_keys();
    infrastructure.sort_by(|a, x: &Infrastructure, b, y| (x.group, a).cmp(&(y.group, b)));
    match (Problems::of(problems), mesh) {
        (None, Some(mesh)) => Ok(Catalog {
            services,
            infrastructure,
            mesh,
        }),
        (Some(problems), _) => Err(problems),
        (None, None) => Err(Problems::missing_mesh()),
    }
}

/// Reads one document.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Problem> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error
            .location()
            .map_or(1, |l| usize::try_from(l.line()).unwrap_or(1));
        Problem {
            file: file.to_owned(),
            line,
            column: 1,
            width: 1,
            source: text.lines().nth(line - 1).unwrap_or_default().to_owned(),
            message: error.to_string(),
            suggestion: None,
        }
    })
}
