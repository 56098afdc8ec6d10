//! The tree as a folder: written exactly, read back for comparing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Family, Plain};

/// What writing did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    /// The folder.
    pub folder: PathBuf,
    /// Files that are new or have another text now.
    pub written: Vec<String>,
    /// How many were as they are already.
    pub unchanged: usize,
    /// Files of an earlier promotion that no longer belong there.
    pub removed: Vec<String>,
    /// Files that somebody else put there; left alone.
    pub foreign: Vec<String>,
}

/// Words in the first line of every generated file, by which a later promotion knows its own.
const MARK: &str = "vadev promote";

/// Writes the tree: what is in it, and nothing else of vadev's. A file of somebody else's stays and is named.
pub fn write(folder: &Path, texts: &BTreeMap<String, String>) -> Result<Written, Failure> {
    let trouble = |path: &Path, error: &io::Error| -> Failure {
        Plain::new(
            Family::Environment,
            format!("can't write {}: {error}", path.display()),
        )
        .with_hint("choose a folder that you may write to with --out")
        .into()
    };
    let mut report = Written {
        folder: folder.to_owned(),
        written: Vec::new(),
        unchanged: 0,
        removed: Vec::new(),
        foreign: Vec::new(),
    };
    for (name, text) in texts {
        let path = folder.join(name);
        if fs::read_to_string(&path).is_ok_and(|there| there == *text) {
            report.unchanged += 1;
            continue;
        }
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| trouble(parent, &error))?;
        // A reader never sees half a file.
        let temporary = path.with_extension(format!("tmp{}", std::process::id()));
        let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|error| trouble(&path, &error))?;
        report.written.push(name.clone());
    }
    for name in files(folder)? {
        if texts.contains_key(&name) {
            continue;
        }
        let path = folder.join(&name);
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.lines().take(4).any(|line| line.contains(MARK)) {
            fs::remove_file(&path).map_err(|error| trouble(&path, &error))?;
            report.removed.push(name);
        } else {
            report.foreign.push(name);
        }
    }
    Ok(report)
}

/// Every object of a folder's YAML files.
pub fn read(folder: &Path) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    for name in files(folder)? {
        if !matches!(
            Path::new(&name).extension().and_then(|e| e.to_str()),
            Some("yaml" | "yml")
        ) {
            continue;
        }
        let path = folder.join(&name);
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&text).map_err(|error| unreadable(&path, &error))?;
        objects.extend(documents.into_iter().filter(|object| object["kind"].is_string()));
    }
    Ok(objects)
}

fn unreadable(path: &Path, error: &impl std::fmt::Display) -> Failure {
    Plain::new(Family::Usage, format!("can't read {}: {error}", path.display()))
        .with_hint("name a folder of Kubernetes manifests, such as one that vadev promote --out wrote")
        .into()
}

/// Paths of all files below a folder, relative to it, sorted; none where it is missing.
fn files(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let entries = match fs::read_dir(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(|error| unreadable(&next, &error))?,
        };
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&next, &error))?.path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(relative) = path.strip_prefix(folder) {
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_tree_and_what_others_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let tree = |names: &[&str]| -> BTreeMap<String, String> {
            names
                .iter()
                .map(|name| ((*name).to_owned(), format!("# {MARK}\nkind: {name}\n")))
                .collect()
        };
        let first = write(folder.path(), &tree(&["a.yaml", "b/c.yaml"])).unwrap();
        assert_eq!(first.written, ["a.yaml", "b/c.yaml"]);
        fs::write(folder.path().join("mine.yaml"), "kind: Mine\n").unwrap();
        let second = write(folder.path(), &tree(&["a.yaml"])).unwrap();
        assert_eq!(
            (second.unchanged, second.removed, second.foreign),
            (1, vec!["b/c.yaml".to_owned()], vec!["mine.yaml".to_owned()])
        );
        assert_eq!(read(folder.path()).unwrap().len(), 2);
    }
}
