//! One replica: a connection to the agent in its pod, and its files in step with the source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::ReloadError;
use super::service::Service;
use super::source::Contents;
use super::tree::{Lack, Tree, write};
use super::watch::{self, Shared};
use crate::agent::outgoing::Change;
use crate::agent::protocol::{Child, Node, Then};
use crate::agent::remote::{Error as AgentError, Remote};
use crate::failure::{Diagnose, Family};
use crate::k8s::{Cluster, K8sError, Tunnel};
use crate::render::develop::AGENT_PORT;

/// How often an idle connection is asked for a sign of life.
pub const PULSE: Duration = Duration::from_secs(10);

/// Why a replica could not be reached or brought in step.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The way to it.
    #[error(transparent)]
    Cluster(#[from] K8sError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The source.
    #[error(transparent)]
    Source(#[from] ReloadError),
    /// A thread ended early.
    #[error("reading the source was broken off: {0}")]
    Broken(String),
}

impl Diagnose for LinkError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Agent(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Broken(_) => None,
        }
    }
    fn family(&self) -> Family {
        match self {
            Self::Cluster(error) => error.family(),
            Self::Agent(error) => error.family(),
            Self::Source(error) => error.family(),
            Self::Broken(_) => Family::Internal,
        }
    }
}

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
    /// Where `gone` is kept.
    memory: PathBuf,
    /// What the build on this machine makes is of the source as it is.
    built: AtomicBool,
}

impl Origin {
    /// Remembers what went in earlier sessions. `state` is the workspace's state folder.
    pub fn new(service: Service, source: Shared, token: String, state: &std::path::Path) -> Self {
        let memory = state.join(format!("reload-gone-{}.json", service.name));
        // Not there, or torn: nothing is known to have gone.
        let gone = std::fs::read(&memory)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            source,
            token,
            contents: Mutex::default(),
            given: Mutex::default(),
            gone: Mutex::new(gone.unwrap_or_default()),
            built: AtomicBool::new(service.build.is_none()),
            service,
            memory,
        }
    }

    /// Says whether the build on this machine has succeeded: what it left before is of an older source.
    pub fn is_built(&self, built: bool) {
        self.built.store(built, Ordering::SeqCst);
    }

    /// Notes what went and what came (again).
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn note(&self, went: &[String], came: &[&String]) -> Result<(), ReloadError> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let before = gone.len();
        gone.extend(went.iter().cloned());
        let grew = gone.len() > before;
        let shrank = came.iter().filter(|path| gone.remove(**path)).count() > 0;
        if grew || shrank {
            self.remember(&gone)
        } else {
            Ok(())
        }
    }

    /// A new image has everything: nothing is to be taken away from it.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn forget(&self) -> Result<(), ReloadError> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.clear();
        self.remember(&gone)
    }

    fn remember(&self, gone: &BTreeSet<String>) -> Result<(), ReloadError> {
        let bytes = serde_json::to_vec(gone).unwrap_or_default();
        std::fs::write(&self.memory, bytes).map_err(ReloadError::io("write", &self.memory))
    }

    /// The tree that every replica should have now. Blocks while files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn tree(&self) -> Result<Tree, ReloadError> {
        if !self.built.load(Ordering::SeqCst) {
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
        Tree::read(&source, &self.service.recipe.rules, &gone, &mut contents)
    }

    /// What of these paths (below the source) differs from what the replicas have; whether all of it is new to them.
    /// Blocks while files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn differing<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Result<(Lack, bool), ReloadError> {
        let source = watch::lock(&self.source);
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut lack, mut fresh) = (Lack::default(), true);
        for path in paths {
            let Some((_, target)) = self.service.recipe.rules.target(path) else {
                continue;
            };
            match contents.node(source.root(), path)? {
                Node::Gone | Node::Folder => {
                    fresh = false;
                    let folder = self.gone_folder(&source, path).unwrap_or(target);
                    lack.deletes.push(folder);
                }
                node if given.get(&target) == Some(&node) => {}
                node => {
                    fresh &= !given.contains_key(&target);
                    lack.nodes.insert(target.clone(), node);
                    lack.writes.insert(target, path.to_owned());
                }
            }
        }
        lack.deletes.sort();
        lack.deletes.dedup();
        Ok((lack, fresh))
    }

    /// Where the folder of a file went with it, the topmost such folder as the rules place it: what the image or the service
    /// made in it goes, too.
    fn gone_folder(&self, source: &super::source::Source, path: &str) -> Option<String> {
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

    /// Notes that nobody knows what the replicas have of these: whatever the source has next, they get.
    pub fn doubt(&self, lack: &Lack) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        for target in &lack.deletes {
            let prefix = format!("{target}/");
            let below = |path: &String| path == target || path.starts_with(&prefix);
            given
                .iter_mut()
                .filter(|(path, _)| below(path))
                .for_each(|(_, node)| *node = Node::Gone);
        }
        for target in lack.writes.keys() {
            given.insert(target.clone(), Node::Gone);
        }
    }

    /// Notes that the replicas have been given what `lack` says.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn gave(&self, lack: &Lack) -> Result<(), ReloadError> {
        {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            for target in &lack.deletes {
                let prefix = format!("{target}/");
                given.retain(|path, _| path != target && !path.starts_with(&prefix));
            }
            given.extend(lack.nodes.clone());
        }
        self.note(&lack.deletes, &lack.writes.keys().collect::<Vec<_>>())
    }

    /// Makes a change of what is lacking. Blocks while files are read.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn change(&self, lack: &Lack, then: Then) -> Result<Change, ReloadError> {
        let (root, modes) = {
            let source = watch::lock(&self.source);
            let is_folder = |path: &str| path.is_empty() || source.is_folder(path);
            // COPY may say another mode than the file has.
            let mode = |(target, path): (&String, &String)| {
                let attributes = self.service.recipe.attributes(path, target, &is_folder)?;
                Some((target.clone(), attributes.mode?))
            };
            let modes: BTreeMap<_, _> = lack.writes.iter().filter_map(mode).collect();
            (source.root().to_owned(), modes)
        };
        let mut change = Change {
            deletes: lack.deletes.clone(),
            writes: BTreeMap::new(),
            then,
            compress: false,
        };
        for (target, path) in &lack.writes {
            match write(&root, path)? {
                Some(mut write) => {
                    write.mode = modes.get(target).copied().unwrap_or(write.mode);
                    change.writes.insert(target.clone(), write);
                }
                // It went while the change was made ready: another change says so too.
                None => change.deletes.push(target.clone()),
            }
        }
        Ok(change)
    }
}

/// Runs blocking work of an origin.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReloadError> + Send + 'static,
) -> Result<T, LinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(LinkError::Broken(error.to_string())),
    }
}

/// A replica brought in step.
#[derive(Debug, Clone, Copy)]
pub struct Attached {
    /// Files that it lacked.
    pub brought: usize,
    /// Whether its agent was replaced by this vadev's.
    pub healed: bool,
    /// Until it was in step.
    pub took: Duration,
}

/// An open session with a replica's agent.
pub struct Link {
    /// The pod.
    pub pod: String,
    /// The session.
    pub remote: Remote,
    /// The states of the service's process.
    pub events: UnboundedReceiver<Child>,
    /// Whether the agent was replaced.
    healed: bool,
}

impl Link {
    /// Connects to the agent in a pod, and replaces it where it is not this vadev's.
    ///
    /// # Errors
    /// It cannot be reached, or refuses the token.
    pub async fn open(cluster: &Cluster, namespace: &str, pod: &str, token: &str) -> Result<Self, LinkError> {
        let mut healed = false;
        loop {
            let tunnel = Tunnel::open(cluster, namespace, pod, AGENT_PORT).await?;
            let mut remote = Remote::open(tunnel, token).await?;
            if !remote.is_current() && !healed {
                remote.upgrade().await?;
                healed = true;
                // The new agent listens a moment after the old one said that it goes.
                tokio::time::sleep(Duration::from_millis(150)).await;
                continue;
            }
            let events = remote
                .events()
                .ok_or_else(|| AgentError::OutOfOrder("its events were taken".to_owned()))?;
            return Ok(Self {
                pod: pod.to_owned(),
                remote,
                events,
                healed,
            });
        }
    }

    /// Brings in what the replica lacks of the source as it is now, and lets a service start that waited for it.
    ///
    /// # Errors
    /// The source cannot be read, or the agent refuses.
    pub async fn attach(&mut self, origin: &std::sync::Arc<Origin>) -> Result<Attached, LinkError> {
        let begun = Instant::now();
        let waiting = self.remote.welcome().child == Child::Waiting;
        let lack = self.lack(origin).await?;
        let then = if waiting {
            Then::Nothing
        } else {
            origin.service.then(false)
        };
        let brought = lack.len();
        if brought > 0 {
            let shared = std::sync::Arc::clone(origin);
            let change = blocking(move || shared.change(&lack, then)).await?;
            self.remote.apply(change).await?;
        }
        self.remote.start().await?;
        Ok(Attached {
            brought,
            healed: self.healed,
            took: begun.elapsed(),
        })
    }

    /// What it lacks.
    ///
    /// # Errors
    /// The source cannot be read, or the agent does not answer.
    pub async fn lack(&mut self, origin: &std::sync::Arc<Origin>) -> Result<Lack, LinkError> {
        let there = self.remote.status(&origin.service.recipe.rules.roots()).await?;
        let shared = std::sync::Arc::clone(origin);
        let tree = blocking(move || shared.tree()).await?;
        let lack = tree.lack(&there);
        let given = tree
            .files
            .into_iter()
            .map(|(target, (_, node))| (target, node))
            .collect();
        *origin.given.lock().unwrap_or_else(PoisonError::into_inner) = given;
        Ok(lack)
    }
}
