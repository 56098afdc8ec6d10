//! A live view of the workloads of a cluster: one watch per kind that all waits share, instead of one per wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::Api;
use kube::runtime::reflector::{Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::apply::Applied;
use super::client::Cluster;
use super::error::plain;
use super::object::ObjectRef;
use super::ready::{Endpoints, Readiness, readiness};

/// Which part of a cluster is looked at.
#[derive(Debug, Clone)]
pub enum Scope {
    /// All of it: right for vadev's own clusters.
    Cluster,
    /// Some namespaces: right for clusters shared with others, where more may be neither allowed nor bearable.
    Namespaces(Vec<String>),
}

/// The stores of one kind, one per namespace in scope.
type Stores<K> = Vec<Store<K>>;

/// The live view. Its watches end when it is dropped.
pub struct View {
    pub(super) cluster: Cluster,
    deployments: Stores<Deployment>,
    stateful_sets: Stores<StatefulSet>,
    daemon_sets: Stores<DaemonSet>,
    replica_sets: Stores<ReplicaSet>,
    jobs: Stores<Job>,
    pods: Stores<Pod>,
    services: Stores<Service>,
    slices: Stores<EndpointSlice>,
    events: Stores<Event>,
    pulse: watch::Receiver<u64>,
    trouble: Arc<Mutex<Option<String>>>,
    /// Generations that changes have led to, which the watches may not have brought yet.
    expected: Mutex<BTreeMap<ObjectRef, i64>>,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// What the watches of a view have in common.
struct Opener<'a> {
    cluster: &'a Cluster,
    scope: &'a Scope,
    pulse: Arc<watch::Sender<u64>>,
    trouble: Arc<Mutex<Option<String>>>,
    tasks: JoinSet<()>,
}

impl Opener<'_> {
    fn open<K>(&mut self) -> Stores<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let client = self.cluster.client();
        let apis: Vec<Api<K>> = match self.scope {
            Scope::Cluster => vec![Api::all(client)],
            Scope::Namespaces(names) => names.iter().map(|n| Api::namespaced(client.clone(), n)).collect(),
        };
        apis.into_iter().map(|api| self.follow(api)).collect()
    }

    fn follow<K>(&mut self, api: Api<K>) -> Store<K>
    where
        K: kube::Resource<DynamicType = ()>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let (reader, writer) = store();
        let (pulse, trouble) = (Arc::clone(&self.pulse), Arc::clone(&self.trouble));
        self.tasks.spawn(async move {
            // Served from the API server's cache: what is waited for is the newest state, not a quorum's.
            let config = watcher::Config::default().any_semantic();
            let mut events = watcher(api, config).reflect(writer).boxed();
            let mut failures = 0u32;
            while let Some(event) = events.next().await {
                let problem = match event {
                    Ok(_) => {
                        failures = 0;
                        None
                    }
                    Err(error) => {
                        failures += 1;
                        Some(format!(
                            "{} can't be watched: {}",
                            K::plural(&()),
                            watch_problem(&error)
                        ))
                    }
                };
                let failed = problem.is_some();
                *trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = problem;
                pulse.send_modify(|n| *n += 1);
                if failed {
                    sleep(super::retry::pause(failures)).await;
                }
            }
        });
        reader
    }
}

/// Whether the stores hold their first lists. Only ever looked at: of several that wait for a store at once, kube wakes one.
fn listed<K>(stores: &Stores<K>) -> bool
where
    K: kube::runtime::reflector::Lookup<DynamicType = ()> + Clone + 'static,
{
    let is_listed = |store: &Store<K>| matches!(store.wait_until_ready().now_or_never(), Some(Ok(())));
    stores.iter().all(is_listed)
}

/// Asks at each pulse whether something holds; whether it did within the time.
async fn comes_true(mut pulse: watch::Receiver<u64>, within: Duration, holds: impl Fn() -> bool) -> bool {
    let end = Instant::now() + within;
    loop {
        pulse.mark_unchanged();
        if holds() {
            return true;
        }
        if !matches!(timeout_at(end, pulse.changed()).await, Ok(Ok(()))) {
            return holds();
        }
    }
}

fn watch_problem(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(e)
        | watcher::Error::WatchStartFailed(e)
        | watcher::Error::WatchFailed(e) => plain(e),
        other => other.to_string(),
    }
}

impl View {
    /// Opens the watches. Returns at once; the stores fill within moments.
    pub fn open(cluster: &Cluster, scope: &Scope) -> Self {
        let (sender, pulse) = watch::channel(0);
        let trouble = Arc::default();
        let mut opener = Opener {
            cluster,
            scope,
            pulse: Arc::new(sender),
            trouble: Arc::clone(&trouble),
            tasks: JoinSet::new(),
        };
        Self {
            cluster: cluster.clone(),
            deployments: opener.open(),
            stateful_sets: opener.open(),
            daemon_sets: opener.open(),
            replica_sets: opener.open(),
            jobs: opener.open(),
            pods: opener.open(),
            services: opener.open(),
            slices: opener.open(),
            events: opener.open(),
            pulse,
            trouble,
            expected: Mutex::default(),
            _tasks: opener.tasks,
        }
    }

    /// Notes that a change led to this generation: a watch that is behind it would call the old state ready.
    pub fn expect(&self, target: &ObjectRef, generation: i64) {
        self.expected
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(target.clone(), generation);
    }

    /// As [`Self::expect`], for everything that was applied.
    pub fn expect_applied(&self, applied: &[Applied]) {
        for one in applied {
            if let Some(generation) = one.now["metadata"]["generation"].as_i64() {
                self.expect(&one.object, generation);
            }
        }
    }

    fn is_behind(&self, target: &ObjectRef) -> bool {
        let expected = self
            .expected
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let seen = self.generation(target);
        expected
            .get(target)
            .is_some_and(|wanted| seen.is_some_and(|seen| seen < *wanted))
    }

    /// Waits until every store holds its first list; `false` if that takes longer than `within`.
    pub async fn synced(&self, within: Duration) -> bool {
        let everything = || {
            listed(&self.deployments)
                && listed(&self.stateful_sets)
                && listed(&self.daemon_sets)
                && listed(&self.replica_sets)
                && listed(&self.jobs)
                && listed(&self.pods)
                && listed(&self.services)
                && listed(&self.slices)
                && listed(&self.events)
        };
        comes_true(self.pulse(), within, everything).await
    }

    /// A receiver that changes whenever anything in the view does.
    pub fn pulse(&self) -> watch::Receiver<u64> {
        self.pulse.clone()
    }

    /// Why the view may be out of date, if its last watch event was an error.
    pub fn trouble(&self) -> Option<String> {
        self.trouble
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// How far a workload, pod or service is. Kinds that become nothing (a `ConfigMap`) are ready by being there.
    pub fn readiness(&self, target: &ObjectRef) -> Readiness {
        let absent = || Readiness::Waiting("not there yet".to_owned());
        if self.is_behind(target) {
            return Readiness::Waiting("the change is not seen yet".to_owned());
        }
        match target.kind.as_str() {
            "Deployment" => find(&self.deployments, target).map_or_else(absent, |o| readiness(&*o)),
            "StatefulSet" => find(&self.stateful_sets, target).map_or_else(absent, |o| readiness(&*o)),
            "DaemonSet" => find(&self.daemon_sets, target).map_or_else(absent, |o| readiness(&*o)),
            "Job" => find(&self.jobs, target).map_or_else(absent, |o| readiness(&*o)),
            "Pod" => find(&self.pods, target).map_or_else(absent, |o| readiness(&*o)),
            "Service" => find(&self.services, target).map_or_else(absent, |service| {
                readiness(&Endpoints {
                    service: &service,
                    slices: &self.slices_of(target),
                })
            }),
            _ => Readiness::Ready("nothing to wait for".to_owned()),
        }
    }

    /// The newest generation of a Deployment, `StatefulSet` or `DaemonSet` that the view has seen.
    fn generation(&self, target: &ObjectRef) -> Option<i64> {
        match target.kind.as_str() {
            "Deployment" => find(&self.deployments, target).and_then(|o| o.metadata.generation),
            "StatefulSet" => find(&self.stateful_sets, target).and_then(|o| o.metadata.generation),
            "DaemonSet" => find(&self.daemon_sets, target).and_then(|o| o.metadata.generation),
            _ => None,
        }
    }

    fn slices_of(&self, service: &ObjectRef) -> Vec<Arc<EndpointSlice>> {
        let mut slices = everything(&self.slices);
        slices.retain(|slice| {
            let labels = slice.metadata.labels.as_ref();
            slice.metadata.namespace == service.namespace
                && labels.and_then(|l| l.get("kubernetes.io/service-name")) == Some(&service.name)
        });
        slices
    }

    /// The pods of a workload, for a Deployment those of its newest revision where they are known. Pods that are
    /// being deleted are left out.
    pub fn pods_of(&self, target: &ObjectRef) -> Vec<Arc<Pod>> {
        let mut owners = vec![target.name.clone()];
        let mut owner_kind = target.kind.as_str();
        if target.kind == "Deployment" {
            owners = self.newest_replica_sets(target);
            owner_kind = "ReplicaSet";
        }
        let mut pods = everything(&self.pods);
        pods.retain(|pod| {
            let itself = target.kind == "Pod" && pod.metadata.name.as_ref() == Some(&target.name);
            let owned = pod.metadata.owner_references.iter().flatten();
            let owned = owned
                .into_iter()
                .any(|o| o.kind == owner_kind && owners.contains(&o.name));
            pod.metadata.namespace == target.namespace
                && pod.metadata.deletion_timestamp.is_none()
                && (itself || owned)
        });
        pods
    }

    fn newest_replica_sets(&self, deployment: &ObjectRef) -> Vec<String> {
        let mut sets = everything(&self.replica_sets);
        sets.retain(|set| {
            let mut owners = set.metadata.owner_references.iter().flatten();
            set.metadata.namespace == deployment.namespace && owners.any(|o| o.name == deployment.name)
        });
        let revision = |set: &ReplicaSet| -> u64 {
            let annotations = set.metadata.annotations.as_ref();
            let text = annotations.and_then(|a| a.get("deployment.kubernetes.io/revision"));
            text.and_then(|t| t.parse().ok()).unwrap_or(0)
        };
        let newest = sets.iter().map(|set| revision(set)).max();
        sets.iter()
            .filter(|set| Some(revision(set)) == newest)
            .filter_map(|set| set.metadata.name.clone())
            .collect()
    }

    /// Every pod in view.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        everything(&self.pods)
    }

    /// Events about a workload, its `ReplicaSet`s and the given pods.
    pub fn events_about(&self, target: &ObjectRef, pods: &[Arc<Pod>]) -> Vec<Arc<Event>> {
        let mut names = vec![(target.kind.clone(), target.name.clone())];
        if target.kind == "Deployment" {
            names.extend(
                self.newest_replica_sets(target)
                    .into_iter()
                    .map(|n| ("ReplicaSet".to_owned(), n)),
            );
        }
        let mut events = everything(&self.events);
        events.retain(|event| {
            let about = &event.involved_object;
            let by_name = names
                .iter()
                .any(|(kind, name)| about.kind.as_ref() == Some(kind) && about.name.as_ref() == Some(name));
            let of_pod = about.uid.is_some() && pods.iter().any(|p| p.metadata.uid == about.uid);
            event.metadata.namespace == target.namespace && (by_name || of_pod)
        });
        events
    }
}

fn everything<K>(stores: &Stores<K>) -> Vec<Arc<K>>
where
    K: kube::runtime::reflector::Lookup<DynamicType = ()> + Clone + 'static,
{
    stores.iter().flat_map(Store::state).collect()
}

fn find<K>(stores: &Stores<K>, target: &ObjectRef) -> Option<Arc<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    everything(stores).into_iter().find(|object| {
        let meta = object.meta();
        meta.name.as_ref() == Some(&target.name) && meta.namespace == target.namespace
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_for_the_first_list_is_woken() {
        let (reader, mut writer) = store::<Pod>();
        let stores = vec![reader];
        let (sender, pulse) = watch::channel(0);
        let wait = || comes_true(pulse.clone(), Duration::from_mins(1), || listed(&stores));
        let filled = async {
            tokio::task::yield_now().await;
            writer.apply_watcher_event(&watcher::Event::Init);
            writer.apply_watcher_event(&watcher::Event::InitDone);
            sender.send_modify(|n| *n += 1);
        };
        let begun = Instant::now();
        let (one, other, ()) = tokio::join!(wait(), wait(), filled);
        assert!(one && other);
        // Who is only woken by the deadline finds it true as well, a minute late.
        assert!(begun.elapsed() < Duration::from_secs(50));
        let never = comes_true(pulse.clone(), Duration::ZERO, || false);
        assert!(!never.await);
    }
}
