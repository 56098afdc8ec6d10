//! Looking at the replicas of services from outside of a session: is each in step with the source, and bringing it there.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout;

use super::ReloadError;
use super::decide::Way;
use super::host;
use super::images::{Delivered, Images};
use super::ledger::{Entry, Ledger, Stages, millis};
use super::link::{Link, LinkError, blocking};
use super::origin::Origin;
use super::replicas::Replicas;
use super::session::Developed;
use super::stale::stale;
use crate::agent::protocol::Then;
use crate::engine::Platform;
use crate::engine::builds;
use crate::engine::deliver::Delivery;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{Cluster, PodFeed, PodView, Scope, View, pods};
use crate::render::develop::INSTALLER;
use crate::report::Reporter;

/// The longest wait for the first look at the cluster, and the shortest for a pod.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many names of differing files a report has.
const NAMED: usize = 10;

/// A replica beside its source.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatus {
    /// The service.
    pub service: String,
    /// The pod.
    pub pod: String,
    /// Whether it has what the source has.
    pub in_step: bool,
    /// Files that the rules copy.
    pub files: usize,
    /// One digest of the source's files, as hex.
    pub source_hash: String,
    /// The same of the replica's.
    pub replica_hash: String,
    /// How many paths differ.
    pub differing: usize,
    /// Some of them.
    pub paths: Vec<String>,
    /// Syncing is not enough: it needs another image.
    pub needs_build: bool,
    /// Why it could not be looked at.
    pub problem: Option<String>,
}

/// Makes a service's source known, outside of a session.
///
/// # Errors
/// The source cannot be read.
pub fn origin(developed: &Developed, state: &std::path::Path) -> Result<Arc<Origin>, ReloadError> {
    let service = developed.service.clone();
    let source = Arc::new(Mutex::new(service.open_source()?));
    let origin = Origin::new(service, source, developed.token.clone(), state);
    Ok(Arc::new(origin))
}

/// The pods of a service that run the agent.
async fn replicas(cluster: &Cluster, namespace: &str, service: &str) -> Result<Vec<PodView>, Failure> {
    let found = pods(cluster, namespace, &[service.to_owned()]).await?;
    let with_agent = |pod: &PodView| pod.init_containers.iter().any(|name| name == INSTALLER);
    let all = found.len();
    let found: Vec<PodView> = found.into_iter().filter(with_agent).collect();
    match (found.is_empty(), all) {
        (false, _) => Ok(found),
        (true, 0) => Err(ReloadError::NoPod {
            service: service.to_owned(),
        }
        .into()),
        (true, _) => Err(ReloadError::NotDeveloped {
            service: service.to_owned(),
        }
        .into()),
    }
}

/// Compares every replica of a service with its source, and its image with what only an image brings. Nothing is built for
/// it: what a build on this machine has left of an older source is said to be that.
///
/// # Errors
/// The source cannot be read, the pods cannot be listed, or none runs the agent.
pub async fn status(
    platform: &Platform,
    cluster: &Cluster,
    namespace: &str,
    origin: &Arc<Origin>,
) -> Result<Vec<ReplicaStatus>, Failure> {
    let mut all = Vec::new();
    let shared = Arc::clone(origin);
    let mut behind: Vec<String> = origin.noted_behind().into_iter().collect();
    if !blocking(move || shared.recall()).await? {
        behind.push("what is built on this machine".to_owned());
    }
    let stale = stale(platform, origin).await?;
    let needs_build = !stale.is_empty();
    behind.retain(|path| !stale.contains(path));
    behind.extend(stale);
    for pod in replicas(cluster, namespace, &origin.service.name).await? {
        let found = one(cluster, &pod, origin).await;
        let mut status = ReplicaStatus {
            service: origin.service.name.clone(),
            pod: pod.name.clone(),
            in_step: false,
            files: 0,
            source_hash: String::new(),
            replica_hash: String::new(),
            differing: 0,
            paths: Vec::new(),
            needs_build,
            problem: None,
        };
        match found {
            Ok(found) => {
                status = ReplicaStatus {
                    pod: pod.name,
                    needs_build,
                    ..found
                }
                .and(&behind);
            }
            Err(error) => status.problem = Some(error.to_string()),
        }
        all.push(status);
    }
    Ok(all)
}

async fn one(cluster: &Cluster, pod: &PodView, origin: &Arc<Origin>) -> Result<ReplicaStatus, LinkError> {
    let mut link = Link::open(cluster, &pod.namespace, &pod.name, &origin.token).await?;
    let there = link.remote.status(&origin.service.recipe.rules.roots()).await?;
    let shared = Arc::clone(origin);
    let tree = blocking(move || shared.tree()).await?;
    let lack = tree.lack(&there);
    let paths = lack.writes.keys().chain(&lack.deletes);
    Ok(ReplicaStatus {
        service: origin.service.name.clone(),
        pod: String::new(),
        in_step: lack.is_empty(),
        files: tree.files.len(),
        source_hash: tree.digest(),
        replica_hash: tree.digest_of(&there),
        differing: lack.len(),
        paths: paths.take(NAMED).cloned().collect(),
        needs_build: false,
        problem: None,
    })
}

impl ReplicaStatus {
    /// What of the source has not even been brought into the files that are compared.
    fn and(mut self, behind: &[String]) -> Self {
        self.in_step &= behind.is_empty();
        self.differing += behind.len();
        let room = NAMED.saturating_sub(self.paths.len());
        self.paths.extend(behind.iter().take(room).cloned());
        self
    }
}

/// Compares what every pod of a service runs with its source, by the digest of all that its image is made of: for a service
/// without sync rules, where each change is an image.
///
/// # Errors
/// The source cannot be read, or the pods cannot be listed.
pub async fn image_status(
    platform: &Platform,
    cluster: &Cluster,
    origin: &Origin,
) -> Result<Vec<ReplicaStatus>, Failure> {
    let name = &origin.service.name;
    let mut services = platform.stack().services.iter();
    let Some(sized) = services.find(|sized| sized.service.name == *name) else {
        return Ok(Vec::new());
    };
    let Some(source) = builds::prepare(platform, sized).await? else {
        return Ok(Vec::new());
    };
    let serving = source.record.serving.as_ref();
    let pods = builds::pods(platform, cluster, name).await?;
    let stale = stale(platform, origin).await?;
    let status = |pod: &serde_json::Value| {
        let runs = serving.filter(|made| builds::runs(pod, name, &made.config));
        let in_step = runs.is_some() && stale.is_empty();
        let status = ReplicaStatus {
            service: name.clone(),
            pod: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            in_step: runs.is_some(),
            files: 0,
            source_hash: source.inputs.clone(),
            differing: 0,
            paths: Vec::new(),
            needs_build: !in_step,
            problem: None,
            // What the watch does not see makes no difference.
            replica_hash: match runs {
                Some(_) if in_step => source.inputs.clone(),
                Some(made) => made.inputs.clone(),
                None => String::new(),
            },
        };
        status.and(&stale)
    };
    Ok(pods.iter().map(status).collect())
}

/// What a forced reload did.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// The service.
    pub service: String,
    /// How.
    pub way: Way,
    /// Files that replicas lacked, the most of one.
    pub files: usize,
    /// Replicas that answer with it.
    pub replicas: usize,
    /// Milliseconds by stage.
    pub stages: Stages,
    /// Their sum.
    pub total: f64,
}

/// Brings every replica in step and restarts its process, one after the other, whether anything differs or not.
///
/// # Errors
/// A replica cannot be reached, or does not answer afterwards.
pub async fn sync_now(
    cluster: &Cluster,
    namespace: &str,
    origin: &Arc<Origin>,
    state: &std::path::Path,
    reporter: &Reporter,
) -> Result<Reloaded, Failure> {
    let service = &origin.service;
    let mut stages = Stages::default();
    let begun = Instant::now();
    if host::make(origin, reporter, || {}).await? {
        stages.build = millis(begun.elapsed());
    }
    let pods = replicas(cluster, namespace, &service.name).await?;
    let mut files = 0;
    for pod in &pods {
        let begun = Instant::now();
        let mut link = Link::open(cluster, namespace, &pod.name, &origin.token).await?;
        let attached = link.attach(origin).await?;
        files = files.max(attached.brought);
        stages.ship += millis(begun.elapsed());
        let begun = Instant::now();
        let then = service.then(false);
        // Bringing files has restarted it already.
        if attached.brought == 0 && then != Then::Nothing {
            link.remote.act(then).await.map_err(LinkError::from)?;
        }
        stages.restart += millis(begun.elapsed());
        let begun = Instant::now();
        let patience = service.patience.max(Duration::from_secs(30));
        link.remote
            .probe(&service.probe, patience)
            .await
            .map_err(LinkError::from)?;
        stages.serve += millis(begun.elapsed());
    }
    Ok(recorded(
        state,
        &service.name,
        Way::Sync,
        files,
        pods.len(),
        stages,
    )?)
}

/// Notes a forced reload in the ledger.
fn recorded(
    state: &std::path::Path,
    service: &str,
    way: Way,
    files: usize,
    replicas: usize,
    stages: Stages,
) -> Result<Reloaded, ReloadError> {
    let entry = Entry::new(service, way, files, replicas, stages);
    Ledger::new(state)
        .add(&entry)
        .map_err(ReloadError::io("write to", state))?;
    Ok(Reloaded {
        service: service.to_owned(),
        way,
        files,
        replicas,
        stages,
        total: stages.total(),
    })
}

/// What a forced build came to.
#[derive(Debug)]
pub enum Built {
    /// Every pod runs it.
    Served(Reloaded),
    /// It is built and runs another command than the pods' template says: they have to be planned anew, and then it is
    /// [`replanned`].
    Replan(Stages),
}

/// Notes a forced build that the pods run since they were planned anew, which took `restart`.
///
/// # Errors
/// The pods cannot be listed, or the state folder cannot be written.
pub async fn replanned(
    platform: &Platform,
    cluster: &Cluster,
    service: &str,
    mut stages: Stages,
    restart: Duration,
) -> Result<Reloaded, Failure> {
    stages.restart += millis(restart);
    let pods = builds::pods(platform, cluster, service).await?;
    let state = &platform.options.state;
    Ok(recorded(state, service, Way::Build, 0, pods.len(), stages)?)
}

/// Builds the service's image and has every pod run it.
///
/// # Errors
/// The build fails, or the new image does not run: then the old one is back in its place.
pub async fn build_now(
    platform: &Platform,
    cluster: &Cluster,
    origin: &Arc<Origin>,
    reporter: &Reporter,
) -> Result<Built, Failure> {
    let service = &origin.service;
    match host::make(origin, reporter, || {}).await {
        // The image is built elsewhere; what was built here earlier is older.
        Err(LinkError::Source(ReloadError::NoBuilder { .. })) => origin.has_results(false),
        other => drop(other?),
    }
    let stack = platform.stack();
    let Some(sized) = stack
        .services
        .iter()
        .find(|sized| sized.service.name == service.name)
    else {
        return Err(ReloadError::NotDeveloped {
            service: service.name.clone(),
        }
        .into());
    };
    let view = View::open(cluster, &Scope::Namespaces(vec![stack.namespaces.apps.clone()]));
    view.synced(PATIENCE).await;
    let delivery = Delivery::open(platform, cluster, &view, service.patience.max(PATIENCE)).await?;
    let images = Images::new(&delivery, sized);
    let replicas = Replicas::new(
        cluster.clone(),
        stack.namespaces.apps.clone(),
        Arc::clone(origin),
        reporter.clone(),
    );
    // The source comes with the image, and nothing is to be laid over the one before.
    origin.hold(true);
    let feed = PodFeed::open(
        cluster,
        &stack.namespaces.apps,
        std::slice::from_ref(&service.name),
    );
    let mut pods = feed.receiver();
    // What they run now is compared with what the new image runs, and their agents forget what they were given.
    if let Ok(Ok(known)) = timeout(PATIENCE, pods.wait_for(Option::is_some)).await {
        replicas.update(known.as_deref().unwrap_or_default());
    }
    let step = reporter.step(
        format!("reload/{}", service.name),
        format!("Build {}", service.name),
        None,
    );
    let mut stages = Stages::default();
    let newer = AtomicBool::new(false);
    let delivered = {
        let mut delivering =
            std::pin::pin!(images.deliver(Way::Build, origin, &replicas, &newer, &mut stages, &step));
        loop {
            tokio::select! {
                delivered = &mut delivering => break delivered,
                Ok(()) = pods.changed() => replicas.update(pods.borrow_and_update().as_deref().unwrap_or_default()),
            }
        }
    };
    replicas.close();
    let delivered = match delivered {
        Ok(delivered) => delivered,
        Err(error) => {
            step.finish(crate::report::Outcome::Failed, error.to_string());
            return Err(error);
        }
    };
    let done = match delivered {
        Delivered::Served(count) => {
            step.done(format!("{count} pods"));
            let state = &platform.options.state;
            Built::Served(recorded(state, &service.name, Way::Build, 0, count, stages)?)
        }
        Delivered::Replan => {
            step.done("it runs another command: its pods are planned anew");
            Built::Replan(stages)
        }
        // A build is the last way; whatever it cannot do is an error.
        Delivered::NotThisWay(why) => {
            step.finish(crate::report::Outcome::Failed, why.clone());
            return Err(Plain::new(Family::Build, why).into());
        }
    };
    // What a session noted as not served yet is in the image.
    origin.behind(&BTreeSet::new())?;
    Ok(done)
}
