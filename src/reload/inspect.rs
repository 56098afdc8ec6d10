//! Looking at the replicas of services from outside of a session: is each in step with the source.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use super::ReloadError;
use super::link::{Link, LinkError, blocking};
use super::origin::Origin;
use super::session::Developed;
use super::stale::stale;
use crate::engine::Platform;
use crate::engine::builds;
use crate::failure::Failure;
use crate::k8s::{Cluster, PodView, pods};
use crate::render::develop::INSTALLER;

/// The longest wait for the first look at the cluster, and the shortest for a pod.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
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
pub(super) async fn replicas(
    cluster: &Cluster,
    namespace: &str,
    service: &str,
) -> Result<Vec<PodView>, Failure> {
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
