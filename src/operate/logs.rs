//! Logs of many pods as one stream, in the order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::site::{Site, Workload, pod_name};
use crate::failure::Failure;
use crate::k8s::{self, LogOptions};

/// The sidecar's container.
pub const SIDECAR: &str = "istio-proxy";

/// How long a live line waits for older ones of other pods: what the kubelets' streams lag behind each other.
const REORDER: Duration = Duration::from_millis(250);

/// How often new pods are looked for.
const LOOK: Duration = Duration::from_secs(1);

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

/// One container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    namespace: String,
    service: String,
    pod: String,
    container: String,
}

/// What a follower gives back when it ends: what it read, and the time of its last line.
type Followed = (Source, Option<Timestamp>);

type Lines = Pin<Box<dyn Stream<Item = Result<String, k8s::K8sError>> + Send>>;

impl Source {
    /// The line with its time taken off its front.
    fn line(&self, raw: &str) -> LogLine {
        let (time, message) = raw.split_once(' ').unwrap_or((raw, ""));
        let (time, message) = match time.parse() {
            Ok(time) => (time, message),
            // Not what the kubelet promises; the line is worth more than its place.
            Err(_) => (Timestamp::UNIX_EPOCH, raw),
        };
        LogLine {
            time,
            service: self.service.clone(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            container: self.container.clone(),
            message: message.to_owned(),
        }
    }

    /// By what its newest line is remembered.
    fn key(&self) -> (String, String) {
        (self.pod.clone(), self.container.clone())
    }

    fn options(&self, query: &LogQuery) -> LogOptions {
        LogOptions {
            container: Some(self.container.clone()),
            tail: query.tail,
            since_seconds: query
                .since
                .map(|since| i64::try_from(since.as_secs().max(1)).unwrap_or(i64::MAX)),
            previous: query.previous,
            timestamps: true,
            ..LogOptions::default()
        }
    }
}

/// Hands every line to `take`, oldest first. Containers that have no such log (never started, never restarted) are
/// passed over; that nothing at all could be read is an error.
pub async fn logs(
    site: &Site,
    query: &LogQuery,
    mut take: impl FnMut(LogLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let workloads = site.chosen(&query.names).await?;
    let sources = sources(site, &workloads, query.sidecar).await?;
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

async fn sources(site: &Site, workloads: &[Workload], sidecar: bool) -> Result<BTreeSet<Source>, Failure> {
    let mut pods: BTreeMap<String, Vec<(Pod, Value)>> = BTreeMap::new();
    for workload in workloads {
        if !pods.contains_key(workload.namespace()) {
            let listed = site.pods_by(workload.namespace(), "").await?;
            let listed = listed.into_iter().map(|pod| {
                let labels = json!(pod.metadata.labels);
                (pod, labels)
            });
            pods.insert(workload.namespace().to_owned(), listed.collect());
        }
    }
    let mut found = BTreeSet::new();
    for workload in workloads {
        let of = pods.get(workload.namespace()).into_iter().flatten();
        for (pod, _) in of.filter(|(_, labels)| takes(workload, labels)) {
            for container in containers(pod, sidecar) {
                found.insert(Source {
                    namespace: workload.namespace().to_owned(),
                    service: workload.name().to_owned(),
                    pod: pod_name(pod).to_owned(),
                    container,
                });
            }
        }
    }
    Ok(found)
}

/// Whether the workload's selector takes a pod with these labels; an empty one takes none.
fn takes(workload: &Workload, labels: &Value) -> bool {
    !workload.selector().is_empty() && k8s::selects(&workload.value["spec"]["selector"], labels)
}

fn containers(pod: &Pod, sidecar: bool) -> Vec<String> {
    let spec = pod.spec.as_ref();
    let own = spec.iter().flat_map(|spec| &spec.containers);
    let init = spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let names = own.chain(init).map(|container| container.name.clone());
    let mut names: Vec<String> = names.filter(|name| (name == SIDECAR) == sidecar).collect();
    if !sidecar {
        // Init containers that end say nothing that one looks for among a service's lines.
        let main = spec.iter().flat_map(|spec| &spec.containers).map(|c| &c.name);
        let main: BTreeSet<&String> = main.collect();
        names.retain(|name| main.contains(name));
    }
    names
}

/// What is there now: every container's log is in order, so the next line is always the oldest of their heads. Holds one
/// line a container, however long the logs are.
async fn merge(
    site: &Site,
    query: &LogQuery,
    sources: &BTreeSet<Source>,
    mut take: impl FnMut(LogLine) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut opening: FuturesUnordered<_> = sources
        .iter()
        .map(|source| async move {
            let options = source.options(query);
            let opened = k8s::read(&site.cluster, &source.namespace, &source.pod, &options).await;
            (source, opened)
        })
        .collect();
    let mut heads: Vec<(&Source, Lines, LogLine)> = Vec::new();
    let mut refusal = None;
    let mut any = false;
    while let Some((source, opened)) = opening.next().await {
        match opened {
            Ok(lines) => {
                any = true;
                let mut lines: Lines = Box::pin(lines);
                if let Some(raw) = lines.next().await {
                    heads.push((source, lines, source.line(&raw?)));
                }
            }
            Err(error) => refusal = Some(error),
        }
    }
    if let (Some(error), false, false) = (refusal, any, query.follow) {
        return Err(error.into());
    }
    loop {
        let oldest = heads
            .iter()
            .enumerate()
            .min_by(|(_, a), (_, b)| (a.2.time, a.0).cmp(&(b.2.time, b.0)));
        let Some(at) = oldest.map(|(at, _)| at) else {
            return Ok(());
        };
        let next = heads[at].1.next().await.transpose()?;
        let line = match next {
            Some(raw) => {
                let line = heads[at].0.line(&raw);
                std::mem::replace(&mut heads[at].2, line)
            }
            None => heads.swap_remove(at).2,
        };
        take(line)?;
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
                // What fails once is tried again; what is followed already goes on meanwhile.
                if query.names.is_empty() && looks > 0 && looks.is_multiple_of(CHOOSE_AGAIN)
                    && let Ok(now) = site.chosen(&query.names).await
                {
                    workloads = now;
                }
                let Ok(now) = sources(site, &workloads, query.sidecar).await else { continue };
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

    #[test]
    fn a_line_is_taken_apart() {
        let source = Source {
            namespace: "n".into(),
            service: "s".into(),
            pod: "p".into(),
            container: "c".into(),
        };
        let line = source.line("2026-11-23T17:49:08.100000000Z hello  you");
        assert_eq!(line.message, "hello  you");
        assert_eq!(line.time.to_string(), "2026-11-23T17:49:08.1Z");
        assert_eq!(source.line("no time here").message, "no time here");
    }

    #[test]
    fn the_sidecar_is_a_native_one_or_not() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [{"name": "agent-engine"}],
            "initContainers": [{"name": "istio-init"}, {"name": "istio-proxy"}],
        }}))
        .unwrap();
        assert_eq!(containers(&pod, false), ["agent-engine"]);
        assert_eq!(containers(&pod, true), ["istio-proxy"]);
    }

    #[test]
    fn pods_are_taken_by_expressions_too() {
        let workload = |selector: Value| Workload {
            id: k8s::ObjectRef::new("apps/v1", "Deployment", "n", "a"),
            value: json!({"spec": {"selector": selector}}),
        };
        let canary = json!({"matchExpressions": [{"key": "track", "operator": "In", "values": ["canary"]}]});
        assert!(takes(&workload(canary.clone()), &json!({"track": "canary"})));
        assert!(!takes(&workload(canary), &json!({"track": "stable"})));
        assert!(!takes(&workload(json!({})), &json!({"track": "stable"})));
    }
}
