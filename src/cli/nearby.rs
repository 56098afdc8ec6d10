//! What a completion reads of the workspace: single lines of its files, because it has ten milliseconds. A file that can't be read,
//! or is written in another way, completes nothing.

use std::path::{Path, PathBuf};

use super::workspace::FILE;
use crate::catalog::NamedText;

/// The workspace's own files of services and systems, named as those of the catalog are: after what is in them.
pub fn catalog() -> Vec<NamedText> {
    let Some(file) = workspace() else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let root = file.parent().unwrap_or(Path::new("."));
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let inline = below(&text, "extraServices").filter_map(|line| {
        let entry = line.strip_prefix("  ").unwrap_or(line);
        let entry = entry.strip_prefix("- ").or_else(|| entry.strip_prefix("  "))?;
        Some(entry.strip_prefix("name: ")?.trim().to_owned())
    });
    let mut found: Vec<NamedText> = inline
        .map(|name| (format!("/services/{name}.yaml"), String::new()))
        .collect();
    for path in list(&text, "extraServiceFiles") {
        if let Some(text) = read(&root.join(path))
            && let Some(name) = value(&text, "name")
        {
            found.push((format!("/services/{name}.yaml"), text));
        }
    }
    for part in ["services", "infrastructure"] {
        let Some(folder) = value(&text, "catalog") else {
            break;
        };
        let entries = std::fs::read_dir(root.join(folder).join(part));
        for entry in entries.into_iter().flatten().flatten() {
            if let Some(text) = read(&entry.path()) {
                found.push((format!("/{part}/{}", entry.file_name().to_string_lossy()), text));
            }
        }
    }
    found
}

/// The workspace file that a command without `--file` would take.
fn workspace() -> Option<PathBuf> {
    if let Some(file) = std::env::var_os("VADEV_FILE") {
        return Some(file.into());
    }
    let here = std::env::current_dir().ok()?;
    let mut files = here.ancestors().map(|folder| folder.join(FILE));
    files.find(|file| file.is_file())
}

/// The text of a top-level key.
fn value(text: &str, key: &str) -> Option<String> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let plain = line?.split(" #").next()?.trim().trim_matches(['"', '\'']);
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// The lines below a top-level key.
fn below<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let from = text
        .lines()
        .skip_while(move |line| line.strip_prefix(key).is_none_or(|rest| rest.trim_end() != ":"));
    from.skip(1)
        .take_while(|line| line.is_empty() || line.starts_with([' ', '#', '-']))
}

/// A list of texts, in one line or one a line.
fn list(text: &str, key: &str) -> Vec<String> {
    let plain = |item: &str| item.trim().trim_matches(['"', '\'']).to_owned();
    if let Some(flow) = value(text, key) {
        let inner = flow.trim_start_matches('[').trim_end_matches(']');
        return inner
            .split(',')
            .map(plain)
            .filter(|item| !item.is_empty())
            .collect();
    }
    below(text, key)
        .filter_map(|line| Some(plain(line.trim_start().strip_prefix("- ")?)))
        .collect()
}

/// The keys right below a top-level key.
pub fn keys(text: &str, section: &str) -> Vec<String> {
    let entry = |line: &str| {
        let line = line
            .strip_prefix("  ")
            .filter(|rest| !rest.starts_with([' ', '#', '-']))?;
        Some(line.split_once(':')?.0.trim_matches('"').to_owned())
    };
    below(text, section).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_mostly_written() {
        let text = "name: shop  # ours\nextraServiceFiles:\n  - \"a.yaml\"\n- b.yaml\ncatalog: own\nconfig:\n  A: 1\n  # no\n  \"B\": x\n    C: 2\nport: 1\n";
        assert_eq!(value(text, "name").as_deref(), Some("shop"));
        assert_eq!(list(text, "extraServiceFiles"), ["a.yaml", "b.yaml"]);
        assert_eq!(
            list("extraServiceFiles: [a.yaml, 'b.yaml']", "extraServiceFiles"),
            ["a.yaml", "b.yaml"]
        );
        assert_eq!(keys(text, "config"), ["A", "B"]);
        assert!(keys(text, "secrets").is_empty() && value(text, "config").is_none());
    }
}
