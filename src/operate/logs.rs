//! Logs of many pods as one stream, in the order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::site::{Site, Workload};
use super::steady::Steady;
use crate::failure::{Failure, Family, Plain};
use crate::k8s;
use crate::report::Reporter;

mod source;

use source::{Source, sources, told_of_silence};

/// The sidecar's container.
pub const SIDECAR: &str = "istio-proxy";

/// How long a live line waits for older ones of other pods: what the kubelets' streams lag behind each other.
const REORDER: Duration = Duration::from_millis(250);

/// How often new pods are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// After how long without an answer the cluster is said to be gone: whoever watches must not take that for silence.
const LOST: Duration = Duration::from_secs(5);

/// After how many of these looks new workloads are looked for too, where everything is followed.
const CHOOSE_AGAIN: u64 = 5;

/// Which lines.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Of these workloads; of all without any.
    pub names: Vec<String>,
    /// Go on with what is written from now on, in pods that come as well.
    pub follow: bool,
    /// Only of the last so long.
    pub since: Option<Duration>,
    /// Only so many of each container's last.
    pub tail: Option<i64>,
    /// The sidecar's instead of the service's own.
    pub sidecar: bool,
    /// Those of this container alone.
    pub container: Option<String>,
    /// Of the containers' lives before their last restart.
    pub previous: bool,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When it was written, RFC 3339 with nanoseconds.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// The workload.
    pub service: String,
    /// Namespace.
    pub namespace: String,
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// The line.
    pub message: String,
}

/// What a follower gives back when it ends: what it read, and the time of its last line.
type Followed = (Source, Option<Timestamp>);

type Lines = Pin<Box<dyn Stream<Item = Result<String, k8s::K8sError>> + Send>>;

/// Hands every line to `take`, oldest first. Containers that have no such log (never started, never restarted) are
/// passed over; that nothing at all could be read is an error.
pub async fn logs(
    site: &Site,
    query: &LogQuery,
    mut take: impl FnMut(LogLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let workloads = site.chosen(&query.names).await?;
    let sources = sources(site, &workloads, query).await?;
    told_of_silence(site, query, &workloads, &sources)?;
    let mut newest = BTreeMap::new();
    merge(site, query, &sources, |line| {
        newest.insert((line.pod.clone(), line.container.clone()), line.time);
        take(line)
    })
    .await?;
    if query.follow {
        go_on(site, query, workloads, newest, take).await?;
    }
    Ok(())
}

/// What is there now: every container's log is in order, so the next line is always the oldest of their heads. Holds one
/// line a container, however long the logs are.
async fn merge(
    site: &Site,
    query: &LogQuery,
    sources: &BTreeSet<Source>,
    take: impl FnMut(LogLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut opening: FuturesUnordered<_> = sources
        .iter()
        .map(|source| async move {
            let options = source.options(query);
            let opened = k8s::read(&site.cluster, &source.namespace, &source.pod, &options).await;
            (source, opened)
        })
        .collect();
    let mut heads: Vec<Head<'_>> = Vec::new();
    let mut refusal = None;
    let mut any = false;
    while let Some((source, opened)) = opening.next().await {
        match opened {
            Ok(lines) => {
                any = true;
                let mut lines: Lines = Box::pin(lines);
                if let Some(line) = next(&site.reporter, source, &mut lines).await {
                    heads.push((source, lines, line));
                }
            }
            Err(error) => refusal = Some(error),
        }
    }
    if let (Some(error), false, false) = (refusal, any, query.follow) {
        return Err(error.into());
    }
    in_order(&site.reporter, heads, take).await
}

/// A container's log with its oldest line that was not taken yet.
type Head<'a> = (&'a Source, Lines, LogLine);

/// Takes every line of these logs, the oldest first.
async fn in_order(
    reporter: &Reporter,
    mut heads: Vec<Head<'_>>,
    mut take: impl FnMut(LogLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    loop {
        let oldest = heads
            .iter()
            .enumerate()
            .min_by(|(_, a), (_, b)| (a.2.time, a.0).cmp(&(b.2.time, b.0)));
        let Some(at) = oldest.map(|(at, _)| at) else {
            return Ok(());
        };
        let (source, lines, _) = &mut heads[at];
        let line = match next(reporter, source, lines).await {
            Some(line) => std::mem::replace(&mut heads[at].2, line),
            None => heads.swap_remove(at).2,
        };
        take(line)?;
    }
}

/// The next line of a container; none at its end. A pod that is killed meanwhile breaks its log off, and nobody else's.
async fn next(reporter: &Reporter, source: &Source, lines: &mut Lines) -> Option<LogLine> {
    match lines.next().await? {
        Ok(raw) => Some(source.line(&raw)),
        Err(error) => {
            reporter.warn(
                format!("the log of {} breaks off here: {error}", source.pod),
                None,
            );
            None
        }
    }
}

/// Follows what is there and what comes. Ends only with an error or when it is dropped.
async fn go_on(
    site: &Site,
    query: &LogQuery,
    mut workloads: Vec<Workload>,
    mut newest: BTreeMap<(String, String), Timestamp>,
    mut take: impl FnMut(LogLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (sender, mut lines) = mpsc::channel::<LogLine>(1024);
    let mut followers = JoinSet::<Followed>::new();
    // What a follower reads now. A pod of a StatefulSet comes back under its name: its source is free for another follower only
    // when the one before has ended.
    let mut followed = BTreeSet::new();
    // A line that is held back, with the moment at which it is let go.
    let mut held: BTreeMap<(Timestamp, u64), (Instant, LogLine)> = BTreeMap::new();
    let mut count = 0_u64;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looks = 0_u64;
    let mut steady = Steady::new(site.reporter.clone());
    loop {
        let due = held.values().map(|(due, _)| *due).min();
        tokio::select! {
            biased;
            () = async { match due { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => {
                let now = Instant::now();
                let last = held.iter().filter(|(_, (due, _))| *due <= now).map(|(key, _)| *key).max();
                // What is older than a line that is let go goes with it, in order.
                while let Some(entry) = held.first_entry() {
                    if Some(*entry.key()) > last {
                        break;
                    }
                    take(entry.remove().1)?;
                }
            }
            Some(line) = lines.recv() => {
                count += 1;
                held.insert((line.time, count), (Instant::now() + REORDER, line));
            }
            Some(ended) = followers.join_next() => {
                let (source, after) = ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                site.reporter.note(format!("{} is gone", source.pod));
                newest.extend(after.map(|after| (source.key(), after)));
                followed.remove(&source);
            }
            _ = look.tick() => {
                // What fails is tried again; what is followed already goes on meanwhile.
                let choose = query.names.is_empty() && looks > 0 && looks.is_multiple_of(CHOOSE_AGAIN);
                let now = timeout(LOST, async {
                    if choose {
                        workloads = site.chosen(&query.names).await?;
                    }
                    sources(site, &workloads, query).await
                });
                let now = now.await.unwrap_or_else(|_| Err(silent_cluster().into()));
                let Some(now) = steady.look(now)? else { continue };
                for source in &now {
                    if !followed.insert(source.clone()) {
                        continue;
                    }
                    let mut query = query.clone();
                    if looks > 0 {
                        site.reporter.note(format!("{} has a new pod: {}", source.service, source.pod));
                        // All that it says is from after the beginning.
                        (query.tail, query.since) = (None, None);
                    }
                    let after = newest.get(&source.key()).copied();
                    followers.spawn(follow(site.clone(), source.clone(), query, after, sender.clone()));
                }
                looks += 1;
            }
        }
    }
}

fn silent_cluster() -> Plain {
    Plain::new(
        Family::Cluster,
        format!("the cluster has not answered for {} s", LOST.as_secs()),
    )
    .with_hint("vadev status shows whether it is up")
}

/// One container through all its lives, until its pod is gone or nobody listens.
async fn follow(
    site: Site,
    source: Source,
    query: LogQuery,
    mut after: Option<Timestamp>,
    sender: mpsc::Sender<LogLine>,
) -> Followed {
    loop {
        let mut options = source.options(&query);
        options.previous = false;
        if after.is_some() {
            options.tail = None;
            options.since = after;
        }
        if let Ok(lines) = k8s::follow(&site.cluster, &source.namespace, &source.pod, &options).await {
            let mut lines = Box::pin(lines);
            while let Some(Ok(raw)) = lines.next().await {
                let line = source.line(&raw);
                // The API knows whole seconds: what was shown already comes again.
                if after.is_some_and(|after| line.time <= after) {
                    continue;
                }
                after = Some(line.time);
                if sender.send(line).await.is_err() {
                    return (source, after);
                }
            }
        }
        sleep(Duration::from_millis(500)).await;
        let there = site.api::<Pod>(&source.namespace).get_opt(&source.pod).await;
        if matches!(there, Ok(None)) {
            return (source, after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    #[tokio::test]
    async fn a_log_that_breaks_off_keeps_the_others_from_nothing() {
        let source = |pod: &str| Source {
            namespace: "n".into(),
            service: "s".into(),
            pod: pod.into(),
            container: "c".into(),
        };
        let at = |second: u32, text: &str| Ok(format!("2026-11-23T17:49:{second:02}Z {text}"));
        let killed = || {
            Err(k8s::K8sError::Forward {
                target: "a".into(),
                problem: "killed".into(),
            })
        };
        let (a, b) = (source("a"), source("b"));
        let logs: [(&Source, Lines); 2] = [
            (&a, Box::pin(stream::iter([at(1, "a1"), at(3, "a3"), killed()]))),
            (&b, Box::pin(stream::iter([at(2, "b2"), at(4, "b4")]))),
        ];
        let reporter = Reporter::silent();
        let mut heads = Vec::new();
        for (source, mut lines) in logs {
            let line = next(&reporter, source, &mut lines).await.unwrap();
            heads.push((source, lines, line));
        }
        let mut taken = Vec::new();
        let done = in_order(&reporter, heads, |line| {
            taken.push(line.message);
            Ok(())
        });
        done.await.unwrap();
        assert_eq!(taken, ["a1", "b2", "a3", "b4"]);
    }
}
