//! The pods of some services, followed: for who keeps a connection into each.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, ListParams};
use kube::runtime::reflector::store;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::Cluster;
use super::error::K8sError;
use super::ready::readiness;
use super::retry::{pause, retrying, transient};

/// What can be said of a pod at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Tells it from an earlier pod of the same name.
    pub uid: String,
    /// Its label `app`.
    pub app: String,
    /// Whether it takes requests.
    pub ready: bool,
    /// Names of its init containers.
    pub init_containers: Vec<String>,
    /// Its own containers, without sidecars that were injected as init containers.
    pub containers: Vec<ContainerView>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// The image that the pod's specification names.
    pub image: String,
    /// The ID of the container that runs now; changes with each restart.
    pub running: Option<String>,
    /// How often it was started again.
    pub restarts: i32,
    /// What it runs instead of its image's entry point.
    pub command: Vec<String>,
}

impl PodView {
    fn of(pod: &Pod) -> Option<Self> {
        // A pod on its way out is nobody's replica any more.
        if pod.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let spec = pod.spec.as_ref()?;
        let statuses = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_deref());
        let status = |name: &str| {
            statuses
                .unwrap_or_default()
                .iter()
                .find(|status| status.name == name)
        };
        let running = |status: &ContainerStatus| {
            status.state.as_ref()?.running.as_ref()?;
            status.container_id.clone()
        };
        let container = |container: &k8s_openapi::api::core::v1::Container| ContainerView {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            running: status(&container.name).and_then(running),
            restarts: status(&container.name).map_or(0, |status| status.restart_count),
            command: container.command.clone().unwrap_or_default(),
        };
        let inits = spec.init_containers.iter().flatten();
        Some(Self {
            name: pod.metadata.name.clone()?,
            namespace: pod.metadata.namespace.clone()?,
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            app: pod.metadata.labels.as_ref()?.get("app")?.clone(),
            ready: readiness(pod).is_ready(),
            init_containers: inits.map(|container| container.name.clone()).collect(),
            containers: spec.containers.iter().map(container).collect(),
        })
    }
}

fn selector(apps: &[String]) -> String {
    format!("app in ({})", apps.join(","))
}

/// The pods of the services `apps` now.
pub async fn pods(cluster: &Cluster, namespace: &str, apps: &[String]) -> Result<Vec<PodView>, K8sError> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let params = ListParams::default().labels(&selector(apps));
    let within = Duration::from_secs(20);
    let listed = retrying("list", "pods", within, transient, || api.list(&params)).await?;
    Ok(listed.items.iter().filter_map(PodView::of).collect())
}

/// The pods of services, kept up to date. Ends when it is dropped.
#[derive(Debug)]
pub struct PodFeed {
    receiver: watch::Receiver<Option<Vec<PodView>>>,
    task: JoinHandle<()>,
}

impl Drop for PodFeed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PodFeed {
    /// Begins to follow the pods of the services `apps`. A connection that is lost is made again, for as long as it takes.
    pub fn open(cluster: &Cluster, namespace: &str, apps: &[String]) -> Self {
        let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
        let config = watcher::Config::default().labels(&selector(apps)).any_semantic();
        let (sender, receiver) = watch::channel(None);
        let task = tokio::spawn(async move {
            let (reader, writer) = store();
            let mut events = watcher(api, config).reflect(writer).boxed();
            let mut failures = 0;
            while let Some(event) = events.next().await {
                if event.is_err() {
                    failures += 1;
                    sleep(pause(failures)).await;
                    continue;
                }
                failures = 0;
                let mut pods: Vec<PodView> =
                    reader.state().iter().filter_map(|pod| PodView::of(pod)).collect();
                pods.sort_by(|a, b| a.name.cmp(&b.name));
                sender.send_if_modified(|before| {
                    let changed = before.as_ref() != Some(&pods);
                    *before = Some(pods);
                    changed
                });
            }
        });
        Self { receiver, task }
    }

    /// A receiver of the newest list; `None` until the first one came.
    pub fn receiver(&self) -> watch::Receiver<Option<Vec<PodView>>> {
        self.receiver.clone()
    }
}
