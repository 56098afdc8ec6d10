//! Sync rules and a local build that a Dockerfile implies: what `vadev init` proposes, and what `dev` goes by where the
//! workspace file says nothing.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::copy_line::{covers, matcher};
use super::decide::is_dependency;
use super::dockerfile::{Copy, Dockerfile, Used, plain};
use crate::image::{unquoted, words};
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

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, wherever it leads.
    Link,
}

/// What the inference asks about files.
pub trait Look {
    /// What is at the path below the source; `None` where there is nothing.
    fn kind(&self, path: &str) -> Option<Kind>;
}

impl<F: Fn(&str) -> Option<Kind>> Look for F {
    fn kind(&self, path: &str) -> Option<Kind> {
        self(path)
    }
}

/// The first symbolic link on the way to a path, itself included.
pub(super) fn link_on<'p>(path: &'p str, look: &dyn Look) -> Option<&'p str> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.map(|end| &path[..end])
        .find(|part| !part.is_empty() && look.kind(part) == Some(Kind::Link))
}

/// Where a local build puts its result: below vadev's own name, so that nobody mistakes it for a source.
pub const OUTPUT: &str = ".vadev-build";

/// Reads a proposal off a Dockerfile. `args` are build arguments; `built` says that the workspace names a build on this
/// machine, which does what RUN lines do in the image.
pub fn infer(
    text: &str,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
    built: bool,
    look: &dyn Look,
) -> Inferred {
    let mut found = Inferred::default();
    let file = Dockerfile::parse(text);
    let Some(stage) = file.target(target) else {
        found.notes.push("the Dockerfile has no such stage".to_owned());
        return found;
    };
    let copies = file.copies(stage, args);
    let given = built;
    let built = given || copies.iter().any(|copy| go_of(&file, copy, look).is_some());
    let used = if built { Vec::new() } else { file.used(stage, args) };
    for copy in &copies {
        match &copy.from {
            None => from_context(copy, &used, look, &mut found),
            // What the workspace's own build makes, and where, only its rules say.
            Some(stage) if given => found.notes.push(format!(
                "line {}: {} comes from {stage}: `sync` has to say what the build of the workspace file makes of it",
                copy.line,
                copy.sources.join(" ")
            )),
            Some(stage) => from_stage(&file, stage, copy, look, &mut found),
        }
    }
    found
}

fn from_context(copy: &Copy, used: &[Used], look: &dyn Look, found: &mut Inferred) {
    let line = copy.line;
    for source in &copy.sources {
        let shown = if source.is_empty() { "." } else { source };
        let whole = |used: &&Used| matcher(&used.source).is_some_and(|glob| covers(&glob, source));
        let why = if copy.used_by_run {
            "is used by a later RUN: its changes are builds".to_owned()
        } else if copy.unpacked {
            "is unpacked: its changes are builds".to_owned()
        } else if let Some(used) = used.iter().find(whole) {
            format!(
                "is also what a RUN makes something of (line {}): its changes are builds",
                used.line
            )
        } else if source.contains(['*', '?', '[']) {
            "is a pattern: its changes are swaps".to_owned()
        } else if let Some(to) = &copy.to {
            let linked = link_on(source, look).map(|_| Kind::Link);
            match linked.or_else(|| look.kind(source)) {
                None => "is not there".to_owned(),
                Some(Kind::Link) => "is a symbolic link: its changes are builds".to_owned(),
                // A folder's content goes into the target, whatever the target ends in.
                Some(Kind::Folder) => {
                    rule(line, shown, to.trim_end_matches('/').to_owned(), found);
                    found.notes.extend(parts(source, used));
                    continue;
                }
                Some(Kind::File) => {
                    let name = source.rsplit('/').next().unwrap_or_default();
                    let into = if to.ends_with('/') { name } else { "" };
                    rule(line, shown, format!("{to}{into}"), found);
                    continue;
                }
            }
        } else {
            "goes to a place that only a build knows: its changes are builds".to_owned()
        };
        found.notes.push(format!("line {line}: {shown} {why}"));
    }
}

fn rule(line: usize, from: &str, to: String, found: &mut Inferred) {
    if to.is_empty() {
        let note = format!("line {line}: {from} goes to /, which is no place to sync to");
        found.notes.push(note);
        return;
    }
    found.notes.push(format!("line {line}: {from} → {to}"));
    found.sync.push(SyncRule {
        from: from.to_owned(),
        to,
        ignore: Vec::new(),
    });
}

/// What a RUN makes something of within a synced folder. A rule that a person has written down counts for it, too.
fn parts(folder: &str, used: &[Used]) -> Vec<String> {
    let inside = |used: &&Used| {
        let below = used.source.strip_prefix(folder);
        below.is_some_and(|rest| folder.is_empty() || rest.starts_with('/')) && !is_dependency(&used.source)
    };
    let note = |used: &Used| {
        format!(
            "line {}: {} is what a RUN makes something of: its changes are builds, until a rule of the workspace file syncs it",
            used.line, used.source
        )
    };
    used.iter().filter(inside).map(note).collect()
}

/// The flags and packages of the `go build` that makes what a line copies, where it can run on this machine.
fn go_of(file: &Dockerfile, copy: &Copy, look: &dyn Look) -> Option<Vec<String>> {
    let [result] = copy.sources.as_slice() else {
        return None;
    };
    copy.from.as_ref()?;
    copy.to.as_ref()?;
    let go = file.commands().find_map(|command| go_build(command, result))?;
    (look.kind("go.mod") == Some(Kind::File)).then_some(go)
}

/// A result of another stage: where that stage is `go build` of this source, the build can run on this machine.
fn from_stage(file: &Dockerfile, stage: &str, copy: &Copy, look: &dyn Look, found: &mut Inferred) {
    let line = copy.line;
    let [result] = copy.sources.as_slice() else { return };
    let name = result.rsplit('/').next().unwrap_or(result);
    let go = go_of(file, copy, look).filter(|_| found.build.is_none());
    let (Some(words), Some(to)) = (go, &copy.to) else {
        found.notes.push(format!(
            "line {line}: {name} comes from {stage}: its changes are builds"
        ));
        return;
    };
    let to = if to.ends_with('/') {
        format!("{to}{name}")
    } else {
        to.clone()
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
    let mut words = words(&command[at + "go build".len()..])
        .into_iter()
        .map(|word| unquoted(&word))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn look(path: &str) -> Option<Kind> {
        match path {
            "" | "app" | "conf" => Some(Kind::Folder),
            "main.py" | "requirements.txt" | "go.mod" | "x.tgz" => Some(Kind::File),
            "current" => Some(Kind::Link),
            _ => None,
        }
    }

    #[test]
    fn python_is_synced_by_its_lines() {
        let text = "FROM x\nWORKDIR /srv\nCOPY requirements.txt ./\nRUN pip install -r requirements.txt\n\
                    COPY app ./app\nCOPY main.py gone.py ./\n";
        let found = infer(text, None, &BTreeMap::new(), false, &look);
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
        let found = infer(text, None, &BTreeMap::new(), false, &look);
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
        let without = infer(text, None, &BTreeMap::new(), false, &|_: &str| None);
        assert!(without.build.is_none() && without.sync.is_empty());
    }

    #[test]
    fn the_whole_source_is_a_rule() {
        let found = infer(
            "FROM x\nWORKDIR /app\nCOPY . .\n",
            None,
            &BTreeMap::new(),
            false,
            &look,
        );
        assert_eq!(
            (found.sync[0].from.as_str(), found.sync[0].to.as_str()),
            (".", "/app")
        );
    }

    #[test]
    fn what_only_a_build_can_do_is_no_rule() {
        let text = "FROM node AS assets\nCOPY conf .\nCOPY app/web .\nRUN npm run build\nFROM x\nCOPY app main.py/ w\n\
                    ADD x.tgz /opt/app\nCOPY current conf /srv/\nCOPY app /app\nCOPY --from=assets /out /static\n";
        let found = infer(text, None, &BTreeMap::new(), false, &look);
        let rules: Vec<_> = found.sync.iter().map(|rule| rule.from.as_str()).collect();
        assert_eq!(rules, ["app"]);
        for expected in [
            "line 6: app goes to a place that only a build knows",
            "line 7: x.tgz is unpacked",
            "line 8: current is a symbolic link",
            "line 8: conf is also what a RUN makes something of (line 2)",
            "line 3: app/web is what a RUN makes something of",
        ] {
            assert!(
                found.notes.iter().any(|note| note.starts_with(expected)),
                "{expected}: {:?}",
                found.notes
            );
        }
        let built = infer(text, None, &BTreeMap::new(), true, &look);
        let rules: Vec<_> = built.sync.iter().map(|rule| rule.from.as_str()).collect();
        assert_eq!(rules, ["conf", "app"], "a build here does what RUN does");
    }
}
