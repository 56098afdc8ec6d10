//! What variables and paths of a Dockerfile mean at one place of it, as far as the file itself says.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::{unquoted, words};

/// Builders set these by themselves, whatever the file says.
const PLATFORM: [&str; 8] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

/// Variables and the folder at one place of a stage.
pub(super) struct Scope<'a> {
    given: &'a BTreeMap<String, String>,
    outside: &'a BTreeMap<String, Option<String>>,
    /// Declared without a value: `None`. What is not there, a base image may have.
    pub variables: BTreeMap<String, Option<String>>,
    /// Set by ENV, which wins over ARG.
    fixed: BTreeSet<String>,
    /// `None`: where the base image has it.
    pub workdir: Option<String>,
    /// There was nothing before the first line.
    scratch: bool,
    /// Folders that are there for sure.
    folders: BTreeSet<String>,
    /// Where something was put of which only its source tells whether it is a folder.
    placed: BTreeSet<String>,
}

/// Every image has these but an empty one.
const FOLDERS: [&str; 26] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/bin",
    "/usr/lib",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/share",
    "/var",
];

impl<'a> Scope<'a> {
    pub fn new(
        given: &'a BTreeMap<String, String>,
        outside: &'a BTreeMap<String, Option<String>>,
        scratch: bool,
    ) -> Self {
        Self {
            given,
            outside,
            variables: BTreeMap::new(),
            fixed: BTreeSet::new(),
            workdir: scratch.then(|| "/".to_owned()),
            scratch,
            folders: BTreeSet::new(),
            placed: BTreeSet::new(),
        }
    }

    /// Changes the folder, which makes it.
    pub fn enter(&mut self, path: &str) {
        let path = self.fill(&unquoted(path));
        self.workdir = path.and_then(|path| join(self.workdir.as_deref(), &path));
        if let Some(folder) = self.workdir.clone() {
            self.has(&folder, true);
        }
    }

    /// Notes what is at an absolute path from now on; a folder for sure, or what only its source tells.
    pub fn has(&mut self, path: &str, folder: bool) {
        let path = path.trim_end_matches('/');
        if folder {
            self.folders.insert(path.to_owned());
        } else {
            self.placed.insert(path.to_owned());
        }
        let mut above = path;
        while let Some((folder, _)) = above.rsplit_once('/') {
            self.folders.insert(folder.to_owned());
            above = folder;
        }
    }

    /// Whether a file that is copied to `to`, which ends in no slash, goes into a folder of that name; `None` where only the
    /// image knows.
    pub fn is_folder(&self, to: &str, file: &str) -> Option<bool> {
        if to == "/" || self.folders.contains(to) || (!self.scratch && FOLDERS.contains(&to)) {
            return Some(true);
        }
        if self.placed.contains(to) {
            return None;
        }
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let ending = |path: &str| name(path).rsplit_once('.').map(|(_, ending)| ending.to_owned());
        let alike = name(to) == name(file) || (ending(to).is_some() && ending(to) == ending(file));
        (self.scratch || alike).then_some(false)
    }

    pub fn declare(&mut self, arguments: &str) {
        for word in words(arguments) {
            let (name, default) = word
                .split_once('=')
                .map_or((word.as_str(), None), |(name, default)| {
                    (name, Some(unquoted(default)))
                });
            if self.fixed.contains(name) || PLATFORM.contains(&name) {
                continue;
            }
            let value = match (self.given.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    let Some(value) = self.fill(&default) else {
                        self.variables.remove(name);
                        continue;
                    };
                    Some(value)
                }
                (None, None) => {
                    let before = self.variables.get(name).or_else(|| self.outside.get(name));
                    before.cloned().flatten()
                }
            };
            self.variables.insert(name.to_owned(), value);
        }
    }

    pub fn environment(&mut self, arguments: &str) {
        let all = words(arguments);
        let pairs: Vec<(&str, &str)> = if all.first().is_some_and(|word| word.contains('=')) {
            all.iter().filter_map(|word| word.split_once('=')).collect()
        } else {
            // The old form: one name, one value.
            arguments.split_once(char::is_whitespace).into_iter().collect()
        };
        // All of a line are filled in with what was before it.
        let values: Vec<_> = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), self.fill(&unquoted(value.trim()))))
            .collect();
        for (name, value) in values {
            match value {
                Some(value) => drop(self.variables.insert(name.clone(), Some(value))),
                None => drop(self.variables.remove(&name)),
            }
            self.fixed.insert(name);
        }
    }

    /// `$NAME`, `${NAME}` and `${NAME:-default}`; `None` where a value is not known.
    pub fn fill(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            if let Some(before) = before.strip_suffix('\\') {
                out.push_str(before);
                out.push('$');
                rest = after;
                continue;
            }
            out.push_str(before);
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let (inner, after) = if let Some(braced) = after.strip_prefix('{') {
                closed(braced)?
            } else {
                after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len()))
            };
            rest = after;
            if inner.is_empty() {
                out.push('$');
                continue;
            }
            let (name, operator) = inner.split_at(inner.find(|c| !is_name(c)).unwrap_or(inner.len()));
            let value = self.variables.get(name)?.as_deref();
            let default = operator.strip_prefix(":-").or_else(|| operator.strip_prefix('-'));
            match (value, default) {
                (Some(value), None) if operator.is_empty() => out.push_str(value),
                (Some(value), Some(_)) if !value.is_empty() || operator.starts_with('-') => {
                    out.push_str(value);
                }
                (_, Some(default)) => out.push_str(&self.fill(default)?),
                (_, None) => return None,
            }
        }
        Some(out + rest)
    }
}

/// What stands before the brace that closes what has begun, and what comes after it; others may be opened within.
fn closed(text: &str) -> Option<(&str, &str)> {
    let mut open = 1usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => open += 1,
            '}' if open == 1 => return Some((&text[..at], &text[at + 1..])),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// A path as WORKDIR and COPY resolve it.
pub(super) fn join(workdir: Option<&str>, path: &str) -> Option<String> {
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}/{path}", workdir?.trim_end_matches('/'))
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_defaults() {
        let (args, outside) = (
            BTreeMap::new(),
            BTreeMap::from([("G".to_owned(), Some("g".to_owned()))]),
        );
        let mut scope = Scope::new(&args, &outside, true);
        scope.declare("A=1 B G TARGETARCH");
        scope.environment("OLD form of it");
        scope.environment("X=\"a b\" A=2 Y=$PATH:/x");
        scope.declare("A=3");
        let fill = |text: &str| scope.fill(text);
        assert_eq!(
            fill("$A-${B:-two}-${OLD}/x$").as_deref(),
            Some("2-two-form of it/x$")
        );
        assert_eq!(fill("${B:-${B:-/opt}/${A}}/two").as_deref(), Some("/opt/2/two"));
        assert_eq!(fill("$X\\$A$G").as_deref(), Some("a b$Ag"));
        for unknown in [
            "$B",
            "$NONE",
            "${NONE:-x}",
            "$Y",
            "${TARGETARCH:-amd64}",
            "${A%x}",
        ] {
            assert_eq!(fill(unknown), None, "{unknown}");
        }
    }
}
