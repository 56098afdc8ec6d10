//! Which way a change goes, and the rule that says so.

use std::collections::BTreeMap;
use std::fmt;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};

use super::dockerfile::{Copy, Dockerfile, plain};
use super::rules::Rules;

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
    /// A build on this machine makes what the rules copy.
    pub host_build: bool,
    /// Its container is to be started again with each change, which another image does without the kubelet's back-off.
    pub container: bool,
    /// The Dockerfile's path below the source.
    pub dockerfile: String,
    /// Its COPY lines of the stage that becomes the image.
    copies: Vec<CopyLine>,
    /// Patterns of what other stages copy.
    elsewhere: Vec<GlobMatcher>,
    /// Whether there is a Dockerfile that could be read.
    known: bool,
}

#[derive(Debug, Clone)]
struct CopyLine {
    copy: Copy,
    sources: Vec<GlobMatcher>,
}

/// Files whose change means other dependencies: everything built from them is made again.
const DEPENDENCIES: &[&str] = &[
    "go.mod",
    "go.sum",
    "go.work",
    "go.work.sum",
    "requirements*.txt",
    "constraints*.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile",
    "Pipfile.lock",
    "environment.yml",
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "Cargo.toml",
    "Cargo.lock",
    "pom.xml",
    "build.gradle*",
    "Gemfile",
    "Gemfile.lock",
];

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
        self.known = true;
        self.copies = file
            .copies(stage, args)
            .into_iter()
            .filter(|copy| copy.from.is_none())
            .map(|copy| CopyLine {
                sources: copy.sources.iter().filter_map(|source| matcher(source)).collect(),
                copy,
            })
            .collect();
        let others = file.stages.iter().filter(|other| !std::ptr::eq(*other, stage));
        let sources = others
            .flat_map(|other| file.copies(other, args))
            .filter(|copy| copy.from.is_none())
            .flat_map(|copy| copy.sources);
        self.elsewhere = sources.filter_map(|source| matcher(&source)).collect();
        self
    }

    /// Decides about one path, relative to the source.
    pub fn verdict(&self, path: &str) -> Verdict {
        let to = |way: Way, rule: String| Verdict { way: Some(way), rule };
        if path == self.dockerfile || path == ".dockerignore" {
            return to(Way::Build, format!("{path} says how the image is built"));
        }
        if is_dependency(path) {
            return to(Way::Build, format!("{path} names dependencies"));
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
            return to(
                Way::Sync,
                "the service's build makes files of it that are synced".to_owned(),
            );
        }
        match self.copy_of(path) {
            Some(line) if !line.copy.used_by_run => {
                let at = line.copy.line;
                to(
                    Way::Swap,
                    format!(
                        "outside the sync rules, copied as it is by line {at} of {}",
                        self.dockerfile
                    ),
                )
            }
            Some(line) => {
                let at = line.copy.line;
                to(
                    Way::Build,
                    format!("line {at} of {} copies it and a RUN follows", self.dockerfile),
                )
            }
            None if self.known && !self.elsewhere.iter().any(|glob| covers(glob, path)) => Verdict {
                way: None,
                rule: format!("{} copies it nowhere", self.dockerfile),
            },
            None => to(Way::Build, "outside the sync rules".to_owned()),
        }
    }

    /// Where the image has a file that a COPY line takes as it is; `None` where there is more to it.
    pub fn image_path(&self, path: &str, source_is_folder: &dyn Fn(&str) -> bool) -> Option<String> {
        let line = self.copy_of(path)?;
        let source = line
            .copy
            .sources
            .iter()
            .find(|source| matcher(source).is_some_and(|glob| covers(&glob, path)))?;
        let rest = path
            .strip_prefix(source.as_str())
            .unwrap_or(path)
            .trim_start_matches('/');
        let name = path.rsplit('/').next().unwrap_or(path);
        let to = line.copy.to.as_str();
        let folder = to.ends_with('/');
        if source.contains(['*', '?', '[']) {
            return (folder && !path.contains('/')).then(|| format!("{to}{name}"));
        }
        if !rest.is_empty() && (source.is_empty() || source_is_folder(source)) {
            return Some(format!("{}/{rest}", to.trim_end_matches('/')));
        }
        Some(if folder {
            format!("{to}{name}")
        } else {
            to.to_owned()
        })
    }

    /// The last line that takes a path: it is the one whose content the image has.
    fn copy_of(&self, path: &str) -> Option<&CopyLine> {
        let takes = |line: &&CopyLine| line.sources.iter().any(|glob| covers(glob, path));
        self.copies.iter().rev().find(takes)
    }
}

/// A folder's pattern covers all that is below it; the empty one everything.
fn covers(glob: &GlobMatcher, path: &str) -> bool {
    let mut part = path;
    loop {
        if glob.is_match(part) {
            return true;
        }
        match part.rsplit_once('/') {
            Some((above, _)) => part = above,
            None => return glob.glob().glob().is_empty(),
        }
    }
}

/// `*` of a COPY line stays within a folder, and braces mean themselves. `None` for what is no pattern.
fn matcher(source: &str) -> Option<GlobMatcher> {
    let pattern = source.replace('{', "[{]").replace('}', "[}]");
    let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
    glob.ok().map(|glob| glob.compile_matcher())
}

fn is_dependency(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    DEPENDENCIES.iter().any(|pattern| match pattern.split_once('*') {
        Some((head, tail)) => {
            name.starts_with(head) && name.ends_with(tail) && name.len() >= head.len() + tail.len()
        }
        None => name == *pattern,
    })
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
mod tests {
    use super::*;
    use crate::profile::workspace::SyncRule;

    const PYTHON: &str = "FROM base\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n\
                          COPY conf ./conf/\nCOPY app ./app\nCOPY templates templates\nCOPY *.ini ./\n";

    fn recipe(sync: &[(&str, &str)], host_build: bool, dockerfile: &str) -> Recipe {
        let rule = |(from, to): &(&str, &str)| SyncRule {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            ignore: vec!["*.md".to_owned()],
        };
        let rules = Rules::new("x", &sync.iter().map(rule).collect::<Vec<_>>()).unwrap();
        Recipe::new(rules, host_build, "Dockerfile").with_dockerfile(dockerfile, None, &BTreeMap::new())
    }

    fn way(recipe: &Recipe, path: &str) -> Option<Way> {
        recipe.verdict(path).way
    }

    #[test]
    fn python_by_its_lines() {
        let recipe = recipe(&[("app", "/app/app")], false, PYTHON);
        assert_eq!(way(&recipe, "app/main.py"), Some(Way::Sync));
        assert_eq!(way(&recipe, "app/NOTES.md"), None);
        assert_eq!(way(&recipe, "templates/a.html"), Some(Way::Swap));
        assert_eq!(way(&recipe, "x.ini"), Some(Way::Swap));
        assert_eq!(way(&recipe, "requirements-dev.txt"), Some(Way::Build));
        assert_eq!(way(&recipe, "Dockerfile"), Some(Way::Build));
        assert_eq!(way(&recipe, "README"), None);
        assert_eq!(recipe.verdict("README").rule, "Dockerfile copies it nowhere");
        assert!(
            recipe
                .verdict("templates/a.html")
                .rule
                .contains("line 7 of Dockerfile")
        );
    }

    #[test]
    fn go_is_built_here_or_in_the_image() {
        let text =
            "FROM golang AS build\nCOPY . .\nRUN go build -o /x .\nFROM scratch\nCOPY --from=build /x /x\n";
        let with = recipe(&[("bin/x", "/x")], true, text);
        assert_eq!(way(&with, "main.go"), Some(Way::Sync));
        assert_eq!(way(&with, "go.mod"), Some(Way::Build));
        let without = recipe(&[], false, text);
        assert_eq!(way(&without, "main.go"), Some(Way::Build));
    }

    #[test]
    fn without_a_dockerfile_everything_outside_is_a_build() {
        let rules = Rules::default();
        assert_eq!(
            way(&Recipe::new(rules, false, "Dockerfile"), "x"),
            Some(Way::Build)
        );
    }

    #[test]
    fn the_highest_way_decides_for_all() {
        let recipe = recipe(&[("app", "/app/app")], false, PYTHON);
        let decision = decide(
            &recipe,
            ["app/a.py", "templates/t", "README", "conf/c"].into_iter(),
        );
        assert_eq!(decision.way, Some(Way::Swap));
        assert_eq!(decision.because.unwrap().0, "templates/t");
        assert_eq!(decide(&recipe, ["README"].into_iter()).way, None);
        assert_eq!(Way::Sync.above().and_then(Way::above), Some(Way::Build));
    }

    #[test]
    fn copied_files_have_a_place_in_the_image() {
        let recipe = recipe(&[], false, PYTHON);
        let folder = |path: &str| ["app", "conf", "templates"].contains(&path);
        let place = |path: &str| recipe.image_path(path, &folder);
        assert_eq!(
            place("templates/x/t.html").as_deref(),
            Some("/app/templates/x/t.html")
        );
        assert_eq!(place("conf/c.yaml").as_deref(), Some("/app/conf/c.yaml"));
        assert_eq!(place("a.ini").as_deref(), Some("/app/a.ini"));
        assert_eq!(place("README"), None);
    }
}
