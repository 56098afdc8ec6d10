//! What all replicas of a service are brought in step with, and what is known of how far they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::ReloadError;
use super::given::{agree, going, has_below, note};
use super::rounds::{Files, Rounds};
use super::service::Service;
use super::source::{Contents, Source};
use super::tree::{Lack, Tree};
use super::watch::{self, Shared};
use crate::agent::digest;
use crate::agent::protocol::Node;

/// What went since the image.
const GONE: &str = "gone";
/// What the results on this machine were built of.
const BUILT: &str = "built";
/// What has failed to be served.
const BEHIND: &str = "behind";

/// What all replicas of a service are brought in step with.
#[derive(Debug)]
pub struct Origin {
    /// The service.
    pub service: Service,
    /// Its source.
    pub source: Shared,
    /// The session's token.
    pub token: String,
    /// What its files hold.
    contents: Mutex<Contents>,
    /// What replicas were last given, by target path.
    given: Mutex<BTreeMap<String, Node>>,
    /// Target paths that went since the image was built.
    gone: Mutex<BTreeSet<String>>,
    /// Where what outlives a session is kept.
    state: PathBuf,
    /// What the build on this machine has made may be given to replicas.
    results: AtomicBool,
    /// Digest of the source that the last build on this machine was of; nothing where that failed.
    built: Mutex<Option<String>>,
    /// The builds on this machine.
    rounds: Mutex<Rounds>,
    /// The newest image has failed and the one before it is back: the source is not to be laid over that.
    held: AtomicBool,
}

impl Origin {
    /// Remembers what went in earlier sessions. `state` is the workspace's state folder.
    pub fn new(service: Service, source: Shared, token: String, state: &Path) -> Self {
        Self {
            source,
            token,
            contents: Mutex::default(),
            given: Mutex::default(),
            gone: Mutex::new(recalled(&memory(state, GONE, &service.name))),
            results: AtomicBool::new(service.build.is_none()),
            built: Mutex::default(),
            rounds: Mutex::default(),
            held: AtomicBool::new(false),
            service,
            state: state.to_owned(),
        }
    }

    /// The files that the build on this machine is made of: all but what it makes, and what sync rules ignore. Blocks while
    /// files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn sources(&self) -> Result<Files, ReloadError> {
        let source = watch::lock(&self.source);
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = &self.service.recipe.rules;
        let mut files = Files::new();
        for path in source.files() {
            if rules.target(path).is_none() && !rules.ignores(path) {
                files.insert(path.to_owned(), contents.node(source.root(), path)?);
            }
        }
        files.retain(|_, node| *node != Node::Gone);
        Ok(files)
    }

    /// What the builds on this machine have come to.
    pub fn rounds(&self) -> std::sync::MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last build on this machine was of this source.
    pub fn is_built_of(&self, digest: &str) -> bool {
        let built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        built.as_deref() == Some(digest)
    }

    /// Notes which source the results on this machine are of, if any. Also known to later sessions: [`Self::recall`].
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn built(&self, digest: Option<String>) -> Result<(), ReloadError> {
        if digest.is_some() {
            self.has_results(true);
        }
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        *built = digest;
        self.remember(BUILT, &*built)
    }

    /// Says whether replicas may be given what the build on this machine has made: what it left before this session, or
    /// before an image that has it newer, is of an older source.
    pub fn has_results(&self, has: bool) {
        self.results.store(has, Ordering::SeqCst);
    }

    /// Takes the results on this machine as an earlier session left them, and says whether they are of the source as it
    /// is. Blocks while files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn recall(&self) -> Result<bool, ReloadError> {
        if self.service.build.is_none() {
            return Ok(true);
        }
        let earlier: Option<String> = recalled(&memory(&self.state, BUILT, &self.service.name));
        self.has_results(true);
        Ok(earlier == Some(digest_of(&self.sources()?)))
    }

    /// Notes paths whose last change failed, for who asks from outside of the session.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn behind(&self, paths: &BTreeSet<String>) -> Result<(), ReloadError> {
        let noted = self.noted_behind();
        if noted == *paths {
            return Ok(());
        }
        self.remember(BEHIND, paths)
    }

    /// What [`Self::behind`] noted last, in this session or an earlier one.
    pub fn noted_behind(&self) -> BTreeSet<String> {
        recalled(&memory(&self.state, BEHIND, &self.service.name))
    }

    /// Says whether replicas are to stay as their image made them; whether they were.
    pub fn hold(&self, held: bool) -> bool {
        self.held.swap(held, Ordering::SeqCst)
    }

    /// Whether replicas are to stay as their image made them.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::SeqCst)
    }

    /// Notes what went and what came (again).
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn note(&self, went: &[String], came: &[&String]) -> Result<(), ReloadError> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let before = gone.clone();
        note(&mut gone, went, came);
        if *gone == before {
            Ok(())
        } else {
            self.remember(GONE, &*gone)
        }
    }

    /// A new image has everything: nothing is to be taken away from it.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn forget(&self) -> Result<(), ReloadError> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.clear();
        self.remember(GONE, &*gone)
    }

    fn remember(&self, what: &str, value: &impl serde::Serialize) -> Result<(), ReloadError> {
        let path = memory(&self.state, what, &self.service.name);
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        std::fs::write(&path, bytes).map_err(ReloadError::io("write", path))
    }

    /// The tree that every replica should have now. Blocks while files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn tree(&self) -> Result<Tree, ReloadError> {
        if self.is_held() || !self.results.load(Ordering::SeqCst) {
            return Ok(Tree::default());
        }
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Everywhere in this order: the source, what was given, what files hold.
        let mut source = watch::lock(&self.source);
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        // Files that the local build made are found by looking; the watch does not see them.
        for rule in self
            .service
            .recipe
            .rules
            .iter()
            .filter(|_| self.service.build.is_some())
        {
            let path = source.root().join(&rule.from);
            if path.is_file() {
                source.add(&rule.from);
            } else if path.is_dir() {
                source.scan(&rule.from);
            }
        }
        let recipe = &self.service.recipe;
        let is_given = |path: &str| recipe.is_given(path);
        Tree::read(&source, &recipe.rules, &is_given, &gone, &mut contents)
    }

    /// What of these paths (below the source) differs from what the replicas have; whether all of it is new to them.
    /// Blocks while files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn differing<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Result<Lack, ReloadError> {
        let source = watch::lock(&self.source);
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lack = Lack::default();
        for path in paths {
            let Some((_, target)) = self.service.recipe.rules.target(path) else {
                continue;
            };
            match contents.node(source.root(), path)? {
                // A replica that attached since the file became a folder has what is in it.
                Node::Folder if has_below(&given, &target) => {}
                Node::Gone | Node::Folder => {
                    let folder = self.gone_folder(&source, path).unwrap_or(target);
                    lack.deletes.push(folder);
                }
                node if given.get(&target) == Some(&node) => {}
                node => {
                    lack.nodes.insert(target.clone(), node);
                    lack.writes.insert(target, path.to_owned());
                }
            }
        }
        lack.deletes.sort();
        lack.deletes.dedup();
        Ok(lack)
    }

    /// Where the folder of a file went with it, the topmost such folder as the rules place it: what the image or the service
    /// made in it goes, too.
    fn gone_folder(&self, source: &Source, path: &str) -> Option<String> {
        let above = |path: &str| path.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let mut gone = None;
        let mut folder = above(path);
        while let Some(name) = folder.filter(|name| !source.is_folder(name)) {
            // The target of a rule itself stays: it may be a mount point or hold more than the source.
            if self.service.recipe.rules.iter().any(|rule| rule.from == name) {
                break;
            }
            gone = self.service.recipe.rules.target(&name).map(|(_, target)| target);
            folder = above(&name);
        }
        gone
    }

    /// Notes that nobody knows what the replicas have of these: whatever the source has next, they get. What went is to be
    /// gone from a replica that comes later, all the same.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn doubt(&self, lack: &Lack) -> Result<(), ReloadError> {
        let went = {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            let went = going(&given, &lack.deletes);
            for target in went.iter().chain(lack.writes.keys()) {
                given.insert(target.clone(), Node::Gone);
            }
            went
        };
        self.note(&went, &lack.writes.keys().collect::<Vec<_>>())
    }

    /// Notes the same of all that the replicas were given below the source's `paths`: they come to run another image.
    pub fn doubt_paths(&self, paths: &BTreeSet<String>) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, target) in paths
            .iter()
            .filter_map(|path| self.service.recipe.rules.target(path))
        {
            given.insert(target, Node::Gone);
        }
    }

    /// Notes the same of target paths.
    pub fn doubt_targets(&self, targets: &BTreeSet<String>) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.extend(targets.iter().map(|target| (target.clone(), Node::Gone)));
    }

    /// Whether every one of these paths holds exactly this. Blocks while files are read.
    pub fn holds<'p>(&self, all: impl Iterator<Item = (&'p String, Option<&'p Node>)>) -> bool {
        let source = watch::lock(&self.source);
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = all;
        // One that can't be read now is another one.
        all.all(|(path, node)| node.is_some() && contents.node(source.root(), path).ok().as_ref() == node)
    }

    /// Notes that one replica has been brought to this.
    pub fn attached(&self, tree: BTreeMap<String, Node>) {
        agree(
            &mut self.given.lock().unwrap_or_else(PoisonError::into_inner),
            tree,
        );
    }

    /// Notes that the replicas have been given what `lack` says, but for those of [`Self::unlike`]: not every replica has the
    /// same of them, so that whatever the source has next goes to all, even if it is what they were to get.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn gave(&self, lack: &Lack, unlike: &BTreeSet<String>) -> Result<(), ReloadError> {
        let went = {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            let went = going(&given, &lack.deletes);
            for target in &went {
                given.remove(target);
            }
            given.extend(lack.nodes.clone());
            given.extend(unlike.iter().map(|target| (target.clone(), Node::Gone)));
            went
        };
        self.note(&went, &lack.writes.keys().collect::<Vec<_>>())
    }
}

/// One digest of the files that a build is made of.
pub fn digest_of(files: &Files) -> String {
    digest::hex(serde_json::to_string(files).unwrap_or_default().as_bytes())
}

/// Where something about a service outlives the session.
fn memory(state: &Path, what: &str, service: &str) -> PathBuf {
    state.join(format!("reload-{what}-{service}.json"))
}

/// What is kept there. Not there, or torn: nothing is known.
fn recalled<T: Default + serde::de::DeserializeOwned>(path: &Path) -> T {
    let bytes = std::fs::read(path).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}
