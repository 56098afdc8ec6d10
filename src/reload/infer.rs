//! Sync rules and a local build that a Dockerfile implies: what `vadev init` proposes, and what `dev` goes by where the
//! workspace file says nothing.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::dockerfile::{Copy, Dockerfile, plain};
use crate::profile::workspace::{HostBuild, SyncRule};

/// A proposal, with where each part comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Inferred {
    /// Rules for files that the image has as they are.
    pub sync: Vec<SyncRule>,
    /// For a compiled service: the build whose result is synced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<HostBuild>,
    /// Remarks for people: what each line became, and what became nothing.
    pub notes: Vec<String>,
}

/// What the inference asks about files.
pub trait Look {
    /// Whether the path below the source is a folder; `None` where there is nothing.
    fn folder(&self, path: &str) -> Option<bool>;
}

impl<F: Fn(&str) -> Option<bool>> Look for F {
    fn folder(&self, path: &str) -> Option<bool> {
        self(path)
    }
}

/// Where a local build puts its result: below vadev's own name, so that nobody mistakes it for a source.
pub const OUTPUT: &str = ".vadev-build";

/// Reads a proposal off a Dockerfile. `args` are build arguments.
pub fn infer(text: &str, target: Option<&str>, args: &BTreeMap<String, String>, look: &dyn Look) -> Inferred {
    let mut found = Inferred::default();
    let file = Dockerfile::parse(text);
    let Some(stage) = file.target(target) else {
        found.notes.push("the Dockerfile has no such stage".to_owned());
        return found;
    };
    for copy in file.copies(stage, args) {
        match &copy.from {
            None => from_context(&copy, look, &mut found),
            Some(stage) => from_stage(&file, stage, &copy, look, &mut found),
        }
    }
    found
}

fn from_context(copy: &Copy, look: &dyn Look, found: &mut Inferred) {
    let line = copy.line;
    for source in &copy.sources {
        let shown = if source.is_empty() { "." } else { source };
        if copy.used_by_run {
            found.notes.push(format!(
                "line {line}: {shown} is used by a later RUN: its changes are builds"
            ));
            continue;
        }
        if source.contains(['*', '?', '[']) {
            found.notes.push(format!(
                "line {line}: {shown} is a pattern: its changes are swaps"
            ));
            continue;
        }
        let name = source.rsplit('/').next().unwrap_or_default();
        let to = match look.folder(source) {
            None => {
                found.notes.push(format!("line {line}: {shown} is not there"));
                continue;
            }
            // A folder's content goes into the target, whatever the target ends in.
            Some(true) => copy.to.trim_end_matches('/').to_owned(),
            Some(false) if copy.to.ends_with('/') => format!("{}{name}", copy.to),
            Some(false) => copy.to.clone(),
        };
        if to.is_empty() {
            found.notes.push(format!(
                "line {line}: {shown} goes to /, which is no place to sync to"
            ));
            continue;
        }
        found.notes.push(format!("line {line}: {shown} → {to}"));
        found.sync.push(SyncRule {
            from: shown.to_owned(),
            to,
            ignore: Vec::new(),
        });
    }
}

/// A result of another stage: where that stage is `go build` of this source, the build can run on this machine.
fn from_stage(file: &Dockerfile, stage: &str, copy: &Copy, look: &dyn Look, found: &mut Inferred) {
    let line = copy.line;
    let [result] = copy.sources.as_slice() else { return };
    let name = result.rsplit('/').next().unwrap_or(result);
    let go = file.commands().find_map(|command| go_build(command, result));
    let Some(words) = go.filter(|_| found.build.is_none() && look.folder("go.mod") == Some(false)) else {
        found.notes.push(format!(
            "line {line}: {name} comes from {stage}: its changes are builds"
        ));
        return;
    };
    let to = if copy.to.ends_with('/') {
        format!("{}{name}", copy.to)
    } else {
        copy.to.clone()
    };
    let output = format!("{OUTPUT}/{name}");
    let mut command: Vec<String> = ["go", "build", "-o", &output].map(str::to_owned).to_vec();
    command.extend(words);
    found.notes.push(format!(
        "line {line}: {name} is built here by `{}`, then {output} → {to}",
        command.join(" ")
    ));
    found.build = Some(HostBuild {
        command,
        env: IndexMap::from([
            ("CGO_ENABLED".to_owned(), "0".to_owned()),
            ("GOOS".to_owned(), "linux".to_owned()),
        ]),
    });
    found.sync.push(SyncRule {
        from: output,
        to,
        ignore: Vec::new(),
    });
}

/// The flags and packages of a `go build` whose result is `result`.
fn go_build(command: &str, result: &str) -> Option<Vec<String>> {
    let at = command.find("go build")?;
    let words = words(&command[at + "go build".len()..]);
    let mut words = words
        .into_iter()
        .take_while(|word| !["&&", ";", "||", "|"].contains(&word.as_str()));
    let (mut kept, mut output) = (Vec::new(), None);
    while let Some(word) = words.next() {
        if word == "-o" {
            output = words.next();
        } else if let Some(value) = word.strip_prefix("-o=") {
            output = Some(value.to_owned());
        } else {
            kept.push(word);
        }
    }
    let output = plain(&output?);
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    (output == result || name(&output) == name(result)).then_some(kept)
}

/// The words of a shell command, quotes taken off.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str) -> Option<bool> {
        match path {
            "" | "app" => Some(true),
            "main.py" | "requirements.txt" | "go.mod" => Some(false),
            _ => None,
        }
    }

    #[test]
    fn python_is_synced_by_its_lines() {
        let text = "FROM x\nWORKDIR /srv\nCOPY requirements.txt ./\nRUN pip install -r requirements.txt\n\
                    COPY app ./app\nCOPY main.py gone.py ./\n";
        let found = infer(text, None, &BTreeMap::new(), &look);
        let pairs: Vec<_> = found
            .sync
            .iter()
            .map(|rule| (rule.from.as_str(), rule.to.as_str()))
            .collect();
        assert_eq!(pairs, [("app", "/srv/app"), ("main.py", "/srv/main.py")]);
        assert!(found.build.is_none());
        assert!(found.notes[0].contains("line 3: requirements.txt is used by a later RUN"));
        assert_eq!(found.notes.len(), 4);
    }

    #[test]
    fn go_is_built_on_this_machine() {
        let text = "FROM golang AS build\nCOPY . .\n\
                    RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/server ./cmd/server && true\n\
                    FROM scratch\nCOPY --from=build /out/server /server\n";
        let found = infer(text, None, &BTreeMap::new(), &look);
        let build = found.build.unwrap();
        let expected = [
            "go",
            "build",
            "-o",
            ".vadev-build/server",
            "-trimpath",
            "-ldflags",
            "-s -w",
            "./cmd/server",
        ];
        assert_eq!(build.command, expected);
        assert_eq!(
            (found.sync[0].from.as_str(), found.sync[0].to.as_str()),
            (".vadev-build/server", "/server")
        );
        let without = infer(text, None, &BTreeMap::new(), &|_: &str| None);
        assert!(without.build.is_none() && without.sync.is_empty());
    }

    #[test]
    fn the_whole_source_is_a_rule() {
        let found = infer("FROM x\nWORKDIR /app\nCOPY . .\n", None, &BTreeMap::new(), &look);
        assert_eq!(
            (found.sync[0].from.as_str(), found.sync[0].to.as_str()),
            (".", "/app")
        );
    }
}
