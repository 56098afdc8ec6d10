//! The tree as a folder: written exactly, read back for comparing.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Family, Plain};
use crate::promote::Tree;
use crate::promote::tree::is_generated;

/// What writing did.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
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

/// Writes the tree: what is in it, and nothing else of vadev's. A file of somebody else's stays and is named; so does what
/// a symbolic link stands for, which may be anywhere.
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
        within(folder, name)?;
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
        let regular = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        // What can't be read as text is nobody's manifest.
        let own = regular && fs::read_to_string(&path).is_ok_and(|text| is_generated(&name, &text));
        if own {
            fs::remove_file(&path).map_err(|error| trouble(&path, &error))?;
            report.removed.push(name);
        } else {
            report.foreign.push(name);
        }
    }
    Ok(report)
}

/// Refuses where a folder on the way to a file is a symbolic link: the file would be written to another place.
fn within(folder: &Path, name: &str) -> Result<(), Failure> {
    let mut path = folder.to_owned();
    let folders = Path::new(name).parent().into_iter().flat_map(Path::components);
    for part in folders {
        path.push(part);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            let message = format!(
                "{} is a symbolic link, and what it stands for is not written to",
                path.display()
            );
            return Err(Plain::new(Family::Refused, message)
                .with_hint("replace it by a folder, or choose another one with --out")
                .into());
        }
    }
    Ok(())
}

/// Every object of a folder's manifests.
pub fn read(folder: &Path) -> Result<Vec<Value>, Failure> {
    let objects = manifests(folder)?.files.into_values().flatten();
    Ok(objects.filter(|object| object["kind"].is_string()).collect())
}

/// The manifests of a folder as they are on disk, whoever wrote them, as a tree to be checked.
pub fn manifests(folder: &Path) -> Result<Tree, Failure> {
    let mut tree = Tree::default();
    for name in files(folder)?.into_iter().filter(|name| is_manifest(name)) {
        let objects = objects(&folder.join(&name))?;
        tree.files.insert(name, objects);
    }
    Ok(tree)
}

/// What `kubectl apply -R` takes for manifests.
pub fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Every document of a file; of a list, its items.
pub fn objects(file: &Path) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
    let mut open: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| unreadable(file, &error))?;
    open.reverse();
    let mut objects = Vec::new();
    while let Some(mut next) = open.pop() {
        let list = next["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match next.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) if list => open.extend(items.into_iter().rev()),
            _ if next.is_null() => {}
            _ => objects.push(next),
        }
    }
    Ok(objects)
}

fn unreadable(path: &Path, error: &impl std::fmt::Display) -> Failure {
    Plain::new(Family::Usage, format!("can't read {}: {error}", path.display()))
        .with_hint("name a folder of Kubernetes manifests, such as one that vadev promote --out wrote")
        .into()
}

/// Paths of all files below a folder, relative to it, sorted; none where it is missing. A symbolic link is one of them,
/// whatever it stands for.
fn files(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let entries = match fs::read_dir(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read.map_err(|error| unreadable(&next, &error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&next, &error))?;
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.map_err(|error| unreadable(&path, &error))?.is_dir() {
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

    const HEAD: &str =
        "# VoiceAssistant, profile prod, for production: written by `vadev promote`. Changes belong\n";

    fn tree(names: &[&str]) -> BTreeMap<String, String> {
        let text = |name: &&str| ((*name).to_owned(), format!("{HEAD}kind: {name}\n"));
        names.iter().map(text).collect()
    }

    #[test]
    fn the_folder_is_the_tree_and_what_others_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let first = write(folder.path(), &tree(&["deploy-all.yaml", "services/go/old.yaml"])).unwrap();
        assert_eq!(first.written, ["deploy-all.yaml", "services/go/old.yaml"]);
        let theirs = [
            ("mine.yaml", "kind: Mine\n".to_owned()),
            // Of the tree's own names, but not written by a promotion.
            (
                "infrastructure/redis.yaml",
                "# replaces what vadev promote writes\nkind: Mine\n".to_owned(),
            ),
            // Written by a promotion, and moved by somebody.
            ("overlays/deploy-all.yaml", format!("{HEAD}kind: Mine\n")),
            ("istio/notes.yaml", format!("{HEAD}kind: Mine\n")),
            ("infrastructure/mysql.yaml", format!("kind: Mine\n{HEAD}")),
        ];
        for (name, text) in &theirs {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        let second = write(folder.path(), &tree(&["deploy-all.yaml"])).unwrap();
        assert_eq!(
            (second.unchanged, second.removed),
            (1, vec!["services/go/old.yaml".to_owned()])
        );
        let mut names: Vec<&str> = theirs.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(second.foreign, names);
        assert_eq!(read(folder.path()).unwrap().len(), 6);
    }

    #[test]
    fn every_document_of_every_manifest_is_read_and_of_a_list_its_items() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        for (name, text) in [
            ("a/x.yaml", "---\nkind: One\n---\n---\nkind: Two\n"),
            (
                "b.yml",
                "kind: List\nitems:\n- kind: Three\n- { kind: PodList, items: [{ kind: Four }] }\n",
            ),
            ("c.json", "{\"kind\": \"Five\", \"items\": 1}"),
            ("d.yaml", "values: 1\n"),
            ("notes.txt", "kind: [\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let tree = manifests(folder.path()).unwrap();
        let found: Vec<String> = tree
            .objects()
            .map(|(file, object)| format!("{file} {}", object["kind"].as_str().unwrap_or("?")))
            .collect();
        assert_eq!(
            found,
            [
                "a/x.yaml One",
                "a/x.yaml Two",
                "b.yml Three",
                "b.yml Four",
                "c.json Five",
                "d.yaml ?"
            ]
        );
        fs::write(folder.path().join("e.yaml"), "kind: [\n").unwrap();
        let wrong = manifests(folder.path()).unwrap_err().to_string();
        assert!(wrong.contains("e.yaml"), "{wrong}");
    }

    #[test]
    fn a_symbolic_link_is_never_followed() {
        use std::os::unix::fs::symlink;
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let outside = elsewhere.path().join("old.yaml");
        fs::write(&outside, format!("{HEAD}kind: Mine\n")).unwrap();
        fs::create_dir(folder.path().join("services")).unwrap();
        symlink(elsewhere.path(), folder.path().join("services/go")).unwrap();
        symlink(&outside, folder.path().join("deploy-all.yaml")).unwrap();
        let written = write(folder.path(), &tree(&["infrastructure/redis.yaml"])).unwrap();
        assert_eq!(written.removed, Vec::<String>::new());
        assert_eq!(written.foreign, ["deploy-all.yaml", "services/go"]);
        let refused = write(folder.path(), &tree(&["services/go/new.yaml"])).unwrap_err();
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
        // The link is replaced, and not what it stands for.
        write(folder.path(), &tree(&["deploy-all.yaml"])).unwrap();
        assert_eq!(
            fs::read_to_string(&outside).unwrap(),
            format!("{HEAD}kind: Mine\n")
        );
        assert!(!elsewhere.path().join("new.yaml").exists());
    }
}
