//! Sync rules and a local build that a Dockerfile implies: what `vadev init` proposes, and what `dev` goes by where the
//! workspace file says nothing.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Serialize;

use super::copy_line::{covers, is_pattern, matcher, over};
use super::dependencies::is_dependency;
use super::dockerfile::{Copy, Dockerfile, Instruction, Stage, Used, overlap, plain};
use super::go_build::{self, GoBuild};
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
    /// Some of what the rules take goes another way, which no rule of a workspace file can say: whoever goes by the Dockerfile
    /// as it stands, and not by rules that are written down, gets it right.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partly: bool,
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
        found.notes.push(match target {
            Some(target) => format!("the Dockerfile has no stage {target}"),
            None => "the Dockerfile has no FROM".to_owned(),
        });
        return found;
    };
    let copies = file.copies(stage, args);
    let given = built;
    let go = if given {
        None
    } else {
        go_of(&file, stage, &copies, args, look)
    };
    let here = match &go {
        Some((line, Ok(go))) => Some((*line, go)),
        Some((line, Err(why))) => {
            found
                .notes
                .push(format!("line {line}: {why}: its changes are builds"));
            None
        }
        None => None,
    };
    let built = given || here.is_some();
    let used = if built { Vec::new() } else { file.used(stage, args) };
    for copy in &copies {
        match &copy.from {
            Some(_) if here.is_some_and(|(line, _)| line == copy.line) => {
                found.notes.extend(here.map(|(_, go)| build_here(copy, go, &mut found.sync, &mut found.build)));
            }
            Some(_) if go.as_ref().is_some_and(|(line, _)| *line == copy.line) => {}
            None => from_context(copy, &used, look, &mut found),
            // What the workspace's own build makes, and where, only its rules say.
            Some(stage) if given => found.notes.push(format!(
                "line {}: {} comes from {stage}: `sync` has to say what the build of the workspace file makes of it",
                copy.line,
                copy.sources.join(" ")
            )),
            Some(stage) => {
                covered(copy, stage, &mut found);
                let names: Vec<&str> = copy.sources.iter().map(|path| name_of(path)).collect();
                found.notes.push(format!(
                    "line {}: {} comes from {stage}: its changes are builds",
                    copy.line,
                    names.join(" ")
                ));
            }
        }
    }
    // Of two rules that take one path the first would decide, and the image has what the other says as well.
    let rules = &found.sync;
    found.partly |= rules.iter().enumerate().any(|(at, one)| {
        let takes = |other: &SyncRule| overlap(&plain(&one.from), &plain(&other.from)) || one.to == other.to;
        rules[..at].iter().any(takes)
    });
    found
}

/// What a line from elsewhere puts over what earlier lines have of the source.
fn covered(copy: &Copy, from: &str, found: &mut Inferred) {
    let over = over(0, copy);
    let under = |rule: &&SyncRule| over.iter().any(|over| overlap(&over.path, &rule.to));
    if let Some(rule) = found.sync.iter().find(under) {
        found.notes.push(format!(
            "line {}: what comes from {from} lies over a part of {}, whose changes are builds there",
            copy.line, rule.to
        ));
        found.partly = true;
    }
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
        } else if is_pattern(source) {
            if copy.to.as_ref().is_some_and(|to| to.ends_with('/')) {
                "is a pattern: its changes are swaps".to_owned()
            } else {
                "is a pattern, and goes to a place that only a build knows: its changes are builds".to_owned()
            }
        } else if let Some(to) = &copy.to {
            let linked = link_on(source, look).map(|_| Kind::Link);
            match linked.or_else(|| look.kind(source)) {
                None => "is not there".to_owned(),
                Some(Kind::Link) => "is a symbolic link: its changes are builds".to_owned(),
                // A folder's content goes into the target, whatever the target ends in.
                Some(Kind::Folder) => {
                    rule(line, shown, to.trim_end_matches('/').to_owned(), found);
                    let parts = parts(source, used);
                    found.partly |= !parts.is_empty();
                    found.notes.extend(parts);
                    continue;
                }
                Some(Kind::File) if copy.unsettled => {
                    format!("becomes {to} or goes into it, which only a build knows: its changes are builds")
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

/// What a RUN makes something of within a synced folder.
fn parts(folder: &str, used: &[Used]) -> Vec<String> {
    let inside = |used: &&Used| {
        let below = used.source.strip_prefix(folder);
        below.is_some_and(|rest| folder.is_empty() || rest.starts_with('/')) && !is_dependency(&used.source)
    };
    let note = |used: &Used| {
        format!(
            "line {}: {} is what a RUN makes something of: its changes are builds",
            used.line, used.source
        )
    };
    used.iter().filter(inside).map(note).collect()
}

/// The line that copies what `go build` makes of this source, with the build, where it can run on this machine; or why it
/// can't.
type Go = (usize, Result<GoBuild, String>);

/// Once something is built here, every change is taken for one that this build deals with: there must be nothing else in
/// the image that a build of it makes of the source.
fn go_of(
    file: &Dockerfile,
    stage: &Stage,
    copies: &[Copy],
    args: &BTreeMap<String, String>,
    look: &dyn Look,
) -> Option<Go> {
    if look.kind("go.mod") != Some(Kind::File) {
        return None;
    }
    let made = |copy: &Copy| {
        let ([result], Some(stage), Some(_)) = (copy.sources.as_slice(), &copy.from, &copy.to) else {
            return None;
        };
        let mut builds = go_build::builds(file, stage, args).into_iter();
        builds.find(|build| build.makes(result))
    };
    let (copy, build) = copies.iter().find_map(|copy| Some((copy, made(copy)?)))?;
    let name = copy.sources.first().map(|path| name_of(path)).unwrap_or_default();
    if let Err(why) = &build.words {
        return Some((copy.line, Err(format!("{name} is built {why}"))));
    }
    // What gives the program rights or a smaller size is part of it; its mode and owner, syncing sees to.
    let changes = |run: &&Instruction| {
        let all = go_build::commands(&run.arguments);
        all.iter().any(|command| {
            let names = command.iter().skip(1).any(|word| name_of(word) == name);
            names && !["chmod", "chown"].contains(&command[0].as_str())
        })
    };
    let later = stage.instructions.iter();
    let mut later = later.filter(|one| one.keyword == "RUN" && one.line > copy.line);
    if let Some(run) = later.find(changes) {
        let why = format!("line {} makes something of {name}", run.line);
        return Some((copy.line, Err(why)));
    }
    let other = copies
        .iter()
        .filter(|other| other.line != copy.line)
        .find(|other| match &other.from {
            None => other.used_by_run,
            Some(stage) => {
                file.has_context(stage, args) && !other.sources.iter().all(|path| is_systems(path))
            }
        });
    let result = other.map_or(Ok(build), |other| {
        Err(format!(
            "{name} could be built here, but not what line {} makes of the source",
            other.line
        ))
    });
    Some((copy.line, result))
}

/// What a stage has from its base image or from packages, and not from the source.
fn is_systems(path: &str) -> bool {
    const FOLDERS: [&str; 9] = [
        "etc/ssl",
        "etc/passwd",
        "etc/group",
        "etc/nsswitch.conf",
        "usr/share/zoneinfo",
        "usr/share/ca-certificates",
        "usr/local/go/lib",
        "lib",
        "usr/lib",
    ];
    FOLDERS.iter().any(|folder| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The rule and the build of a result that is made on this machine; what is told of it.
fn build_here(copy: &Copy, go: &GoBuild, sync: &mut Vec<SyncRule>, build: &mut Option<HostBuild>) -> String {
    let name = copy.sources.first().map(|path| name_of(path)).unwrap_or_default();
    let to = copy.to.clone().unwrap_or_default();
    let to = if to.ends_with('/') {
        format!("{to}{name}")
    } else {
        to
    };
    let output = format!("{OUTPUT}/{name}");
    let mut command: Vec<String> = ["go", "build", "-o", &output].map(str::to_owned).to_vec();
    command.extend(go.words.iter().flatten().cloned());
    let without = go.left_out.as_ref().map_or_else(String::new, |left_out| {
        format!("; without {left_out}, which only a build of the image knows")
    });
    let cgo = if go.says_cgo {
        ""
    } else {
        "; without cgo, of which the Dockerfile says nothing"
    };
    let told = format!(
        "line {}: {name} is built here by `{}`, then {output} → {to}{without}{cgo}",
        copy.line,
        command.join(" ")
    );
    let mut env = IndexMap::from([
        ("CGO_ENABLED".to_owned(), "0".to_owned()),
        ("GOOS".to_owned(), "linux".to_owned()),
    ]);
    env.extend(go.env.clone());
    *build = Some(HostBuild { command, env });
    sync.push(SyncRule {
        from: output,
        to,
        ignore: Vec::new(),
    });
    told
}

#[cfg(test)]
mod tests;
