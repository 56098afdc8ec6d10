//! Which way a change goes, and the rule that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use globset::GlobMatcher;
use serde::{Deserialize, Serialize};

use super::copy_line::{CopyLine, Over, covers, is_pattern, matcher, over};
use super::dependencies::is_dependency;
use super::dockerfile::{Attributes, Copy, Dockerfile, plain};
use super::rules::Rules;
use crate::image::OUTSIDE;

/// How a change reaches the running service. Ordered: what one way cannot do, the next one can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Files go into the running containers.
    Sync,
    /// A layer with the files is put on the last image, and the containers get the new image.
    Swap,
    /// The Dockerfile is built, and the containers get the new image.
    Build,
}

impl Way {
    /// The word on screen, in the ledger and in JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Swap => "swap",
            Self::Build => "build",
        }
    }

    /// The next one up.
    pub const fn above(self) -> Option<Self> {
        match self {
            Self::Sync => Some(Self::Swap),
            Self::Swap => Some(Self::Build),
            Self::Build => None,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What is decided about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `None`: the running service is none of its business.
    pub way: Option<Way>,
    /// The rule, for people: `--explain` prints it.
    pub rule: String,
}

/// Everything that decisions about a service rest on.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// Its sync rules.
    pub rules: Rules,
    /// A build on this machine makes what the rules copy: into the containers, or into a layer.
    pub host_build: bool,
    /// Its container is to be started again with each change, which another image does without the kubelet's back-off.
    pub container: bool,
    /// The Dockerfile's path below the source.
    pub dockerfile: String,
    /// Its COPY lines of the stage that becomes the image.
    copies: Vec<CopyLine>,
    /// What each line puts over the files of those before it.
    over: Vec<Over>,
    /// What the COPY lines of all stages name, without patterns.
    named: Vec<String>,
    /// The rules were read off the Dockerfile: what else it does with a file counts, too.
    pub inferred: bool,
    /// What a RUN makes something of that is in the image, and the line that says so.
    used: Vec<(usize, GlobMatcher)>,
    /// Patterns of what other stages copy, and of what commands see without a copy; `None` without a Dockerfile.
    elsewhere: Option<Vec<GlobMatcher>>,
}

impl Recipe {
    /// A service without a Dockerfile: only its rules count.
    pub fn new(rules: Rules, host_build: bool, dockerfile: &str) -> Self {
        Self {
            rules,
            host_build,
            dockerfile: plain(dockerfile),
            ..Self::default()
        }
    }

    /// Adds what the Dockerfile says.
    #[must_use]
    pub fn with_dockerfile(
        mut self,
        text: &str,
        target: Option<&str>,
        args: &BTreeMap<String, String>,
    ) -> Self {
        let file = Dockerfile::parse(text);
        let Some(stage) = file.target(target) else {
            return self;
        };
        for (at, copy) in file.copies(stage, args).into_iter().enumerate() {
            self.over.extend(over(at, &copy));
            if copy.from.is_none() {
                self.copies.push(CopyLine::new(at, copy));
            }
        }
        let others = file.stages.iter().filter(|other| !std::ptr::eq(*other, stage));
        let sources = others
            .flat_map(|other| file.copies(other, args))
            .filter(|copy| copy.from.is_none())
            .flat_map(|copy| copy.sources)
            .chain(file.mounted(args));
        let sources: Vec<String> = sources.collect();
        let own = self.copies.iter().flat_map(|line| &line.copy.sources);
        let named = own.chain(&sources);
        let named = named.filter(|source| !source.is_empty() && !is_pattern(source));
        self.named = named.cloned().collect();
        let used = file.used(stage, args).into_iter();
        self.used = used
            .filter_map(|used| Some((used.line, matcher(&used.source)?)))
            .collect();
        self.elsewhere = Some(sources.iter().filter_map(|source| matcher(source)).collect());
        self
    }

    /// Decides about one path, relative to the source.
    pub fn verdict(&self, path: &str) -> Verdict {
        let to = |way: Way, rule: String| Verdict { way: Some(way), rule };
        if self.steers(path) {
            return to(Way::Build, format!("{path} says how the image is built"));
        }
        if is_dependency(path) {
            return to(Way::Build, format!("{path} names dependencies"));
        }
        let made = self.made_by(path).map(|why| to(Way::Build, why));
        if self.inferred
            && let Some(made) = made
        {
            return made;
        }
        if let Some((rule, _)) = self.rules.target(path) {
            return if self.container {
                to(Way::Swap, format!("{rule}, and `restart: container`"))
            } else {
                to(Way::Sync, rule.to_string())
            };
        }
        if self.rules.ignores(path) {
            return Verdict {
                way: None,
                rule: "a sync rule ignores it".to_owned(),
            };
        }
        if self.host_build {
            let rule = "the service's build makes files of it";
            return if self.container {
                to(Way::Swap, format!("{rule}, and `restart: container`"))
            } else {
                to(Way::Sync, format!("{rule} that are synced"))
            };
        }
        match (made, self.copy_of(path)) {
            (Some(made), _) => made,
            (None, Some(line)) if line.copy.attributes.is_none() => {
                let at = line.copy.line;
                to(
                    Way::Build,
                    format!("line {at} of {} says whose it is by a name", self.dockerfile),
                )
            }
            (None, Some(line)) => {
                let at = line.copy.line;
                to(
                    Way::Swap,
                    format!(
                        "outside the sync rules, copied as it is by line {at} of {}",
                        self.dockerfile
                    ),
                )
            }
            (None, None) if self.copied_nowhere(path) => Verdict {
                way: None,
                rule: format!("{} copies it nowhere", self.dockerfile),
            },
            (None, None) => to(Way::Build, "outside the sync rules".to_owned()),
        }
    }

    /// Whether a file says how the image is built.
    pub fn steers(&self, path: &str) -> bool {
        let beside = path.strip_suffix(".dockerignore");
        path == self.dockerfile
            || path == OUTSIDE
            || beside.is_some_and(|rest| rest.is_empty() || rest == self.dockerfile)
    }

    /// Why the image has not just this file but something that a build makes of it; a build on this machine makes the same.
    pub fn made_by(&self, path: &str) -> Option<String> {
        if self.host_build {
            return None;
        }
        let file = &self.dockerfile;
        let last = self.copy_of(path).map(|line| &line.copy);
        if let Some(copy) = last.filter(|copy| copy.used_by_run) {
            return Some(format!(
                "line {} of {file} copies it and a RUN follows",
                copy.line
            ));
        }
        if let Some(copy) = last.filter(|copy| copy.unpacked) {
            return Some(format!("line {} of {file} unpacks it", copy.line));
        }
        let unknown = |copy: &&Copy| {
            copy.to.is_none() || (copy.unsettled && copy.sources.iter().any(|source| source == path))
        };
        if let Some(copy) = last.filter(unknown) {
            return Some(format!(
                "line {} of {file} copies it to a place that only a build knows",
                copy.line
            ));
        }
        if let Some((one, other)) = self.copied_twice(path) {
            return Some(format!(
                "lines {one} and {other} of {file} copy it to different places"
            ));
        }
        if let Some(over) = self.covered_by(path) {
            return Some(format!(
                "line {over} of {file} puts something else in its place, or may"
            ));
        }
        let used = self.used.iter().find(|(_, glob)| covers(glob, path));
        used.map(|(line, _)| format!("line {line} of {file} gives it to a RUN"))
    }

    /// Paths that the Dockerfile copies by their names.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// Whether a COPY line names this very path.
    pub fn is_named(&self, path: &str) -> bool {
        let mut sources = self.copies.iter().flat_map(|line| &line.copy.sources);
        sources.any(|source| source == path)
    }

    /// Owner and mode of what the image has at `place` of a path; `None` where only a build knows them.
    pub fn attributes(
        &self,
        path: &str,
        place: &str,
        source_is_folder: &dyn Fn(&str) -> bool,
    ) -> Option<Attributes> {
        let ordinary = Some(Attributes::default());
        match self.copy_of(path).map(|line| line.copy.attributes) {
            None => ordinary,
            Some(given) if given == ordinary => given,
            // Another place is a rule's own.
            Some(given) => match self.image_path(path, source_is_folder) {
                Some(own) if own != place => ordinary,
                _ => given,
            },
        }
    }

    /// Where the image has a file that a COPY line takes as it is; `None` where there is more to it.
    pub fn image_path(&self, path: &str, source_is_folder: &dyn Fn(&str) -> bool) -> Option<String> {
        if self.made_by(path).is_some() {
            return None;
        }
        self.copy_of(path)?.place(path, source_is_folder)
    }

    /// Whether the image, as the Dockerfile builds it, has anything to do with a path.
    pub fn reaches_image(&self, path: &str) -> bool {
        self.copy_of(path).is_some() || !self.copied_nowhere(path)
    }

    /// Whether no line of the Dockerfile has anything to do with a path that the image's own lines don't take.
    fn copied_nowhere(&self, path: &str) -> bool {
        let elsewhere = self.elsewhere.as_ref();
        elsewhere.is_some_and(|all| !all.iter().any(|glob| covers(glob, path)))
    }

    /// The last line that takes a path: it is the one whose content the image has.
    fn copy_of(&self, path: &str) -> Option<&CopyLine> {
        self.copies.iter().rev().find(|line| line.takes(path))
    }

    /// A later line that puts something where this path's file is.
    fn covered_by(&self, path: &str) -> Option<usize> {
        let own = self.copy_of(path)?;
        let place = own.place(path, &|_| true)?;
        let mut later = self.over.iter().filter(|over| over.at > own.at);
        later.find(|over| over.covers(&place)).map(|over| over.line)
    }

    /// Whether the replicas have a file as the source has it. Of what was read off a Dockerfile, that holds only for what the
    /// image has as it is; a rule that a person has written down is believed.
    pub fn is_given(&self, path: &str) -> bool {
        !self.inferred || self.made_by(path).is_none()
    }

    /// Two lines that copy a path to different places, as far as anybody knows.
    fn copied_twice(&self, path: &str) -> Option<(usize, usize)> {
        let mut lines = self.copies.iter().rev().filter(|line| line.takes(path));
        let last = lines.next()?;
        let place = |line: &CopyLine| line.place(path, &|_| true);
        let elsewhere = |line: &&CopyLine| place(line).is_none() || place(line) != place(last);
        Some((lines.find(elsewhere)?.copy.line, last.copy.line))
    }
}

/// The verdict about a whole change: the highest way that any of its paths needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `None`: nothing to do.
    pub way: Option<Way>,
    /// The path that asked for it and the rule.
    pub because: Option<(String, String)>,
    /// Every path with its verdict.
    pub verdicts: Vec<(String, Verdict)>,
}

impl Decision {
    /// The paths that the service has anything to do with.
    pub fn concerned(&self) -> BTreeSet<String> {
        let concerned = self.verdicts.iter().filter(|(_, verdict)| verdict.way.is_some());
        concerned.map(|(path, _)| path.clone()).collect()
    }
}

/// Decides about a change.
pub fn decide<'a>(recipe: &Recipe, paths: impl Iterator<Item = &'a str>) -> Decision {
    let verdicts: Vec<(String, Verdict)> = paths
        .map(|path| (path.to_owned(), recipe.verdict(path)))
        .collect();
    let mut highest: Option<&(String, Verdict)> = None;
    for one in &verdicts {
        if one.1.way > highest.and_then(|(_, verdict)| verdict.way) {
            highest = Some(one);
        }
    }
    Decision {
        way: highest.and_then(|(_, verdict)| verdict.way),
        because: highest.map(|(path, verdict)| (path.clone(), verdict.rule.clone())),
        verdicts,
    }
}

#[cfg(test)]
mod tests;
