//! Logs of the services that are watched, in the same screen.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::k8s::{self, Cluster, LogOptions, PodView};
use crate::report::{Event, Reporter};

/// Between two tries to follow a container that has ended.
const PAUSE: Duration = Duration::from_millis(300);
/// So many tries in a row may fail.
const TRIES: usize = 5;

/// The logs being followed, one a container's life.
pub struct Logs {
    cluster: Cluster,
    reporter: Reporter,
    on: bool,
    followed: BTreeMap<String, JoinHandle<()>>,
}

impl Logs {
    /// Follows nothing yet; and nothing ever where it is off.
    pub fn new(cluster: Cluster, reporter: Reporter, on: bool) -> Self {
        Self {
            cluster,
            reporter,
            on,
            followed: BTreeMap::new(),
        }
    }

    /// Takes the newest list of pods.
    pub fn update(&mut self, pods: &[PodView]) {
        if !self.on {
            return;
        }
        let several = |app: &str| pods.iter().filter(|pod| pod.app == app).count() > 1;
        let mut running = BTreeMap::new();
        for pod in pods {
            for container in pod
                .containers
                .iter()
                .filter(|container| container.name == pod.app)
            {
                if let Some(id) = &container.running {
                    running.insert(id.clone(), pod);
                }
            }
        }
        self.followed.retain(|id, task| {
            // A container that ended may have lines on their way: its task ends by itself.
            running.contains_key(id) || !task.is_finished()
        });
        for (id, pod) in running {
            if self.followed.contains_key(&id) {
                continue;
            }
            let source = match pod.name.rsplit('-').next() {
                Some(end) if several(&pod.app) => format!("{} {end}", pod.app),
                _ => pod.app.clone(),
            };
            let (cluster, reporter, pod) = (self.cluster.clone(), self.reporter.clone(), pod.clone());
            self.followed
                .insert(id, tokio::spawn(follow(cluster, reporter, pod, source)));
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        for task in self.followed.values() {
            task.abort();
        }
    }
}

async fn follow(cluster: Cluster, reporter: Reporter, pod: PodView, source: String) {
    let mut options = LogOptions {
        container: Some(pod.app.clone()),
        since_seconds: Some(1),
        ..LogOptions::default()
    };
    // A container that has only just started may have no log yet; one that ends leaves nothing to follow.
    let mut tries = TRIES;
    let mut last = Instant::now();
    while tries > 0 {
        if let Ok(lines) = k8s::follow(&cluster, &pod.namespace, &pod.name, &options).await {
            let mut lines = std::pin::pin!(lines);
            loop {
                match lines.next().await {
                    None => return,
                    // The way to it broke: on from the last line.
                    Some(Err(_)) => break,
                    Some(Ok(line)) => {
                        (last, tries) = (Instant::now(), TRIES);
                        reporter.emit(Event::Log {
                            source: source.clone(),
                            line,
                        });
                    }
                }
            }
        }
        tries -= 1;
        sleep(PAUSE).await;
        let seconds = i64::try_from(last.elapsed().as_secs()).unwrap_or(i64::MAX);
        options.since_seconds = Some(seconds.saturating_add(1));
    }
}
