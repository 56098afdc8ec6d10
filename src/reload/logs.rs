//! Logs of the services that are watched, in the same screen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::k8s::{self, Cluster, LogOptions, PodView};
use crate::report::{Event, Reporter};

/// Between two tries to follow a container; doubled each time nothing came.
const PAUSE: Duration = Duration::from_millis(300);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The logs being followed, one a container's life.
pub struct Logs {
    cluster: Cluster,
    reporter: Reporter,
    on: bool,
    followed: BTreeMap<String, Followed>,
}

/// One container's life.
struct Followed {
    /// Whether it goes on.
    runs: Arc<AtomicBool>,
    task: JoinHandle<()>,
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
        self.followed.retain(|id, followed| {
            // A container that ended may have lines on their way: its task ends by itself.
            let runs = running.contains_key(id);
            followed.runs.store(runs, Ordering::SeqCst);
            runs || !followed.task.is_finished()
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
            let runs = Arc::new(AtomicBool::new(true));
            let task = tokio::spawn(follow(cluster, reporter, pod, source, Arc::clone(&runs)));
            self.followed.insert(id, Followed { runs, task });
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        for followed in self.followed.values() {
            followed.task.abort();
        }
    }
}

/// Follows a container for as long as it runs: a stream also ends because the API server or the machine was away for a
/// while, and an idle one by a time limit.
async fn follow(cluster: Cluster, reporter: Reporter, pod: PodView, source: String, runs: Arc<AtomicBool>) {
    let mut options = LogOptions {
        container: Some(pod.app.clone()),
        since_seconds: Some(1),
        timestamps: true,
        ..LogOptions::default()
    };
    let begun = Instant::now();
    let mut seen = SeenLines::default();
    let mut pause = PAUSE;
    while runs.load(Ordering::SeqCst) {
        // A container that has only just started may have no log yet.
        if let Ok(lines) = k8s::follow(&cluster, &pod.namespace, &pod.name, &options).await {
            let mut lines = std::pin::pin!(lines);
            while let Some(Ok(line)) = lines.next().await {
                pause = PAUSE;
                if let Some(line) = seen.take(&line) {
                    reporter.emit(Event::Log {
                        source: source.clone(),
                        line: line.to_owned(),
                    });
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        // On from the last line; where there was none, from when it began to be followed.
        options.since = seen.last;
        options.since_seconds = Some(
            i64::try_from(begun.elapsed().as_secs())
                .unwrap_or(i64::MAX)
                .saturating_add(1),
        );
    }
}

/// What of a log was shown: a stream that goes on begins at a whole second, with lines that were there before.
#[derive(Default)]
struct SeenLines {
    last: Option<Timestamp>,
}

impl SeenLines {
    /// A line without the time that stands before it; `None` where it was shown already.
    fn take<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        let parsed = line
            .split_once(' ')
            .and_then(|(time, rest)| Some((time.parse::<Timestamp>().ok()?, rest)));
        let Some((time, rest)) = parsed else {
            return Some(line);
        };
        self.last.is_none_or(|last| time > last).then(|| {
            self.last = Some(time);
            rest
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_goes_on_repeats_nothing() {
        let mut seen = SeenLines::default();
        let first = ["2026-01-01T00:00:01.1Z one", "2026-01-01T00:00:01.20000001Z  two"];
        assert_eq!(first.map(|line| seen.take(line)), [Some("one"), Some(" two")]);
        let again = [
            first[0],
            first[1],
            "2026-01-01T00:00:01.3Z three",
            "no time at all",
        ];
        assert_eq!(
            again.map(|line| seen.take(line)),
            [None, None, Some("three"), Some("no time at all")]
        );
    }
}
