//! A service that is being developed: where its source is and what a change of it means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ReloadError;
use super::decide::Recipe;
use super::dockerfile::{Dockerfile, overlap};
use super::infer::{Inferred, infer};
use super::rules::Rules;
use super::source::{Source, Wanted, look};
use crate::agent::protocol::Then;
use crate::image::{beside, read_dockerfile};
use crate::profile::stack::SizedService;
use crate::profile::workspace::{HostBuild, Restart};

/// Between SIGTERM and SIGKILL when a process is restarted after a change: someone is waiting.
const GRACE: Duration = Duration::from_millis(1500);

/// A service of the workspace, ready to be watched.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its source.
    pub source: PathBuf,
    /// What decides about a change.
    pub recipe: Recipe,
    /// What the recipe was read off, and where that is.
    dockerfile: (PathBuf, Option<Dockerfile>),
    /// The build on this machine, where there is one.
    pub build: Option<HostBuild>,
    /// What happens after files were synced.
    pub restart: Restart,
    /// What the rules were read off, where the workspace file has none.
    pub inferred: Option<Inferred>,
    /// Asked from inside the pod whether the service answers.
    pub probe: String,
    /// How long a start may take.
    pub patience: Duration,
}

impl Service {
    /// Reads what the workspace says about a service, and its Dockerfile. `root` is the workspace's folder.
    ///
    /// # Errors
    /// Its source is not there, or a rule cannot be used.
    pub fn open(root: &Path, sized: &SizedService) -> Result<Self, ReloadError> {
        let name = &sized.service.name;
        let source = root.join(&sized.source);
        if !source.is_dir() {
            return Err(ReloadError::NoSource {
                service: name.clone(),
                path: source,
            });
        }
        let said = &sized.workspace;
        let dockerfile = said.dockerfile.as_deref().unwrap_or("Dockerfile");
        let file = source.join(dockerfile);
        let text = read_dockerfile(&file).ok();
        let args: BTreeMap<String, String> = said.args.clone().into_iter().collect();
        let target = said.target.as_deref();
        let mut build = said.build.clone();
        let mut inferred = None;
        // An empty list is an answer, too: nothing is synced.
        let mut sync = said.sync.clone().unwrap_or_default();
        if let Some(text) = text.as_deref().filter(|_| said.sync.is_none()) {
            let found = infer(text, target, &args, build.is_some(), &look(&source));
            sync.clone_from(&found.sync);
            build = build.or_else(|| found.build.clone());
            inferred = Some(found);
        }
        // Without a rule nothing of what a build here makes would ever be served.
        build = build.filter(|_| !sync.is_empty());
        let rules = Rules::new(name, &sync, &look(&source))?;
        let mut recipe = Recipe::new(rules, build.is_some(), dockerfile);
        recipe.inferred = inferred.is_some();
        recipe.container = said.restart == Restart::Container;
        if let Some(text) = &text {
            recipe = recipe.with_dockerfile(text, target, &args);
        }
        let probes = &sized.service.probes;
        Ok(Self {
            name: name.clone(),
            source,
            recipe,
            dockerfile: (file, text.as_deref().map(Dockerfile::parse)),
            build,
            restart: said.restart,
            inferred,
            probe: format!("http://127.0.0.1:{}{}", sized.service.port, probes.readiness),
            patience: Duration::from_secs(u64::from(probes.startup_seconds.max(10))),
        })
    }

    /// One with this recipe, which is not asked whether it answers.
    #[cfg(test)]
    pub(super) fn tried(source: &Path, recipe: Recipe) -> Self {
        Self {
            name: "tried".to_owned(),
            source: source.to_owned(),
            recipe,
            dockerfile: (source.join("Dockerfile"), None),
            build: None,
            restart: Restart::Auto,
            inferred: None,
            probe: String::new(),
            patience: Duration::from_secs(1),
        }
    }

    /// Lists its source. What a build on this machine makes is looked at when it has been made, not watched.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open_source(&self) -> Result<Source, ReloadError> {
        let mut wanted = Wanted {
            synced: self.recipe.rules.iter().map(|rule| rule.from.clone()).collect(),
            copied: self.recipe.named().to_vec(),
        };
        if self.build.is_some() {
            let results = std::mem::take(&mut wanted.synced);
            let apart = |copied: &String| !results.iter().any(|result| overlap(copied, result));
            wanted.copied.retain(apart);
        }
        Source::open(&self.source, &self.recipe.dockerfile, wanted)
    }

    /// Whether the Dockerfile says something else by now than what the recipe was read off.
    pub fn is_outdated(&self) -> bool {
        let (file, before) = &self.dockerfile;
        let text = read_dockerfile(file).ok();
        text.as_deref().map(Dockerfile::parse) != *before
    }

    /// The Dockerfile and its ignore file where they lie outside the source: the watch of the source does not see them.
    pub fn outside(&self) -> Vec<PathBuf> {
        let (dockerfile, _) = &self.dockerfile;
        let folder = dockerfile.parent().and_then(|folder| folder.canonicalize().ok());
        let (Some(folder), Some(name)) = (folder, dockerfile.file_name()) else {
            return Vec::new();
        };
        let inside = self
            .source
            .canonicalize()
            .is_ok_and(|root| folder.starts_with(root));
        if inside || !dockerfile.is_file() {
            return Vec::new();
        }
        let dockerfile = folder.join(name);
        vec![beside(&dockerfile), dockerfile]
    }

    /// What the process has to do after a change. A file that was not there is one, too: what looks for modules, templates or
    /// migrations when it starts would not find it until then.
    pub fn then(&self) -> Then {
        let grace_millis = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
        match self.restart {
            Restart::None => Then::Nothing,
            Restart::Auto | Restart::Process | Restart::Container => Then::Restart { grace_millis },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reload::tried;

    #[test]
    fn what_git_ignores_and_the_image_has_is_part_of_the_source() {
        let folder = tempfile::tempdir().unwrap();
        let text = "FROM x\nCOPY dist /dist\nCOPY bin/server /server\nCOPY . /app\n";
        std::fs::write(folder.path().join(".gitignore"), "dist\nbin\nlogs\n").unwrap();
        for path in ["dist/a.js", "bin/server", "logs/x", "main.go"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "1").unwrap();
        }
        let recipe = tried::recipe(folder.path(), &[("bin/server", "/server")], text);
        let mut service = Service::tried(folder.path(), recipe);
        let files = |service: &Service| -> Vec<String> {
            let source = service.open_source().unwrap();
            source.files().map(str::to_owned).collect()
        };
        assert_eq!(
            files(&service),
            [".gitignore", "bin/server", "dist/a.js", "main.go"]
        );
        // What a build on this machine makes is not watched.
        service.build = Some(HostBuild {
            command: Vec::new(),
            env: indexmap::IndexMap::new(),
        });
        assert_eq!(files(&service), [".gitignore", "dist/a.js", "main.go"]);
    }
}
