//! Which containers of which pods are read, and why there is nothing to read.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{LogLine, LogQuery, SIDECAR};
use crate::failure::Failure;
use crate::k8s::{self, LogOptions};
use crate::operate::error::OperateError;
use crate::operate::site::{Site, Workload, pod_name};

/// One container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Namespace.
    pub namespace: String,
    /// The workload.
    pub service: String,
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
}

impl Source {
    /// The line with its time taken off its front.
    pub fn line(&self, raw: &str) -> LogLine {
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
    pub fn key(&self) -> (String, String) {
        (self.pod.clone(), self.container.clone())
    }

    /// What the kubelet is asked.
    pub fn options(&self, query: &LogQuery) -> LogOptions {
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

/// Says of which workloads there is nothing to read, and why. Where there is nothing at all it is a failure, unless it is waited
/// for what comes.
pub fn told_of_silence(
    site: &Site,
    query: &LogQuery,
    workloads: &[Workload],
    sources: &BTreeSet<Source>,
) -> Result<(), Failure> {
    let of = |one: &&Workload| {
        let mut theirs = sources.iter();
        theirs.any(|source| source.service == one.name() && source.namespace == one.namespace())
    };
    let silent: Vec<&Workload> = workloads.iter().filter(|one| !of(one)).collect();
    if sources.is_empty() && !query.follow {
        let name = silent.first().map_or("the platform", |one| one.name());
        let hint = format!("vadev describe {name} shows its pods and their containers");
        return Err(match silent.first() {
            Some(one) => OperateError::unfit(name, silence(query, one), hint).into(),
            None => OperateError::unfit(name, "nothing is deployed", "vadev up brings it").into(),
        });
    }
    // Unasked, a workload that is off is nobody's concern.
    for one in silent.iter().filter(|_| !query.names.is_empty()) {
        site.reporter
            .note(format!("{}: {}", one.name(), silence(query, one)));
    }
    Ok(())
}

/// Why there is nothing to read of a workload.
fn silence(query: &LogQuery, workload: &Workload) -> String {
    let container = query.container.as_deref().or(query.sidecar.then_some(SIDECAR));
    match container {
        _ if workload.replicas() == 0 => "it is scaled to 0 and has no pods".to_owned(),
        Some(container) => format!("none of its pods has a container {container}"),
        None => "it has no pods".to_owned(),
    }
}

/// Every container of these workloads' pods that is asked for.
pub async fn sources(
    site: &Site,
    workloads: &[Workload],
    query: &LogQuery,
) -> Result<BTreeSet<Source>, Failure> {
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
            for container in containers(pod, query) {
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

fn containers(pod: &Pod, query: &LogQuery) -> Vec<String> {
    let sidecar = query.sidecar;
    let spec = pod.spec.as_ref();
    let own = spec.iter().flat_map(|spec| &spec.containers);
    let init = spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let names = own.chain(init).map(|container| container.name.clone());
    if let Some(wanted) = &query.container {
        return names.filter(|name| name == wanted).collect();
    }
    let mut names: Vec<String> = names.filter(|name| (name == SIDECAR) == sidecar).collect();
    if !sidecar {
        // Init containers that end say nothing that one looks for among a service's lines.
        let main = spec.iter().flat_map(|spec| &spec.containers).map(|c| &c.name);
        let main: BTreeSet<&String> = main.collect();
        names.retain(|name| main.contains(name));
    }
    names
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
        let of = |sidecar, container: Option<&str>| {
            let container = container.map(str::to_owned);
            let query = LogQuery {
                sidecar,
                container,
                ..LogQuery::default()
            };
            containers(&pod, &query)
        };
        assert_eq!(of(false, None), ["agent-engine"]);
        assert_eq!(of(true, None), ["istio-proxy"]);
        assert_eq!(of(false, Some("istio-init")), ["istio-init"]);
        assert!(of(false, Some("nobody")).is_empty());
    }

    #[test]
    fn silence_has_a_reason() {
        let workload = |replicas: u32| Workload {
            id: k8s::ObjectRef::new("apps/v1", "StatefulSet", "n", "postgres"),
            value: json!({"spec": {"replicas": replicas}}),
        };
        let query = LogQuery {
            names: vec!["postgres".into()],
            sidecar: true,
            ..LogQuery::default()
        };
        assert!(silence(&query, &workload(1)).contains("istio-proxy"));
        assert!(silence(&query, &workload(0)).contains("scaled to 0"));
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
