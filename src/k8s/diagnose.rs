//! Why something does not become ready, in words: from pods, events and log lines to one record that the terminal and
//! `-o json` show alike. Pure; `evidence.rs` fetches what it needs.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, Pod};

use super::object::ObjectRef;
use super::suspect::{Suspicion, suspect};

/// The kinds of root causes, the more telling first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The image is neither on the node nor to be had.
    ImageMissing,
    /// The kernel killed it at its memory limit.
    OutOfMemory,
    /// It starts and ends, again and again.
    Crashing,
    /// It names a `ConfigMap`, Secret or key that is not there.
    ConfigMissing,
    /// The runtime can't start it: command, user, mounts.
    ContainerStart,
    /// A volume can't be mounted.
    MountFailed,
    /// No node has room, or fits its rules.
    Unschedulable,
    /// The API server refused its pods: quota, webhook, policy.
    Refused,
    /// The node was short of something and threw it out.
    Evicted,
    /// The pod's sandbox or network can't be made.
    SandboxFailed,
    /// The sidecar's Envoy refused a listener from istiod.
    ListenerRejected,
    /// The sidecar gets no configuration.
    SidecarNotReady,
    /// It runs, and its probe says no.
    ProbeFailing,
    /// A job gave up.
    JobFailed,
    /// Nothing is wrong that can be seen; it takes longer.
    Slow,
}

/// What is known about something that is not ready.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// What is waited for.
    pub target: ObjectRef,
    /// What its readiness says.
    pub state: String,
    /// Its pods.
    pub pods: Vec<Arc<Pod>>,
    /// Events about it and them, oldest first.
    pub events: Vec<Arc<Event>>,
    /// The last log lines of the container under suspicion.
    pub log: Vec<String>,
}

/// A root cause with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Diagnosis {
    /// Its kind.
    pub cause: Cause,
    /// Pod and container to blame, or the workload.
    pub subject: String,
    /// What is wrong, one sentence.
    pub explanation: String,
    /// The last log lines, oldest first.
    pub log: Vec<String>,
    /// The next command.
    pub next: String,
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.explanation)
    }
}

impl Diagnosis {
    /// What belongs below the message: whom it is about, and the log.
    pub fn lines(&self) -> Vec<String> {
        let log = self.log.iter().map(|line| format!("  │ {line}"));
        std::iter::once(self.subject.clone()).chain(log).collect()
    }
}

/// How Envoy says that it takes no listener of those that it was sent: `gRPC config for …v3.Listener rejected: …`. The sidecar's
/// agent counts `0 rejected` in its own lines, which say nothing.
const REJECTED: &str = ".Listener rejected:";

/// The lines of a sidecar's log that a diagnosis shows: the last ones, and before them the last rejection, which is long past
/// by then.
pub fn telling(lines: Vec<String>, most: usize) -> Vec<String> {
    let last = lines.len().saturating_sub(most);
    let rejected = lines.iter().rposition(|line| line.contains(REJECTED));
    let earlier = rejected.filter(|at| *at < last).map(|at| lines[at].clone());
    let newest = lines.into_iter().skip(last + usize::from(earlier.is_some()));
    earlier.into_iter().chain(newest).collect()
}

/// Finds the root cause.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let Some(suspicion) = suspect(&evidence.pods, &evidence.events) else {
        return unexplained(evidence);
    };
    let mut cause = suspicion.cause;
    let mut message = suspicion.message.clone();
    if cause == Cause::SidecarNotReady
        && let Some((_, why)) = evidence
            .log
            .iter()
            .rev()
            .find_map(|line| line.split_once(REJECTED))
    {
        cause = Cause::ListenerRejected;
        why.trim().clone_into(&mut message);
    }
    let service = service(evidence, &suspicion);
    Diagnosis {
        cause,
        subject: subject(evidence, &suspicion),
        explanation: explain(cause, &message),
        log: evidence.log.clone(),
        next: next(cause, &service, &evidence.target, &message),
    }
}

fn unexplained(evidence: &Evidence) -> Diagnosis {
    let service = evidence.target.name.clone();
    let (cause, explanation) = if evidence.target.kind == "Job" && !evidence.state.starts_with("running") {
        (Cause::JobFailed, format!("the job gave up: {}", evidence.state))
    } else {
        (
            Cause::Slow,
            format!(
                "nothing is wrong that can be seen, but it is not there yet: {}",
                evidence.state
            ),
        )
    };
    Diagnosis {
        cause,
        subject: evidence.target.to_string(),
        explanation,
        log: evidence.log.clone(),
        next: format!("vadev logs {service} shows what it is doing; --timeout waits longer"),
    }
}

fn subject(evidence: &Evidence, suspicion: &Suspicion) -> String {
    let namespace = evidence.target.namespace.as_deref().unwrap_or_default();
    match (&suspicion.pod, &suspicion.container) {
        (Some(pod), Some(container)) => format!("Pod {namespace}/{pod}, container {container}"),
        (Some(pod), None) => format!("Pod {namespace}/{pod}"),
        _ => evidence.target.to_string(),
    }
}

/// The name under which vadev's verbs know it.
fn service(evidence: &Evidence, suspicion: &Suspicion) -> String {
    let pod = evidence
        .pods
        .iter()
        .find(|pod| pod.metadata.name == suspicion.pod);
    let app = pod
        .and_then(|pod| pod.metadata.labels.as_ref())
        .and_then(|labels| labels.get("app"));
    app.unwrap_or(&evidence.target.name).clone()
}

fn explain(cause: Cause, message: &str) -> String {
    let what = match cause {
        Cause::ImageMissing => "its image is neither on the node nor to be had",
        Cause::OutOfMemory => "it needs more memory than its limit",
        Cause::Crashing => "its process ends again and again",
        Cause::ConfigMissing => "it refers to configuration that is not there",
        Cause::ContainerStart => "its container can't be started",
        Cause::MountFailed => "a volume can't be mounted",
        Cause::Unschedulable => "no node can take it",
        Cause::Refused => "its pods are refused",
        Cause::Evicted => "the node threw it out",
        Cause::SandboxFailed => "the node can't set up its network",
        Cause::ListenerRejected => "its sidecar rejected a listener that istiod sent",
        Cause::SidecarNotReady => "its sidecar has no configuration from istiod yet",
        Cause::ProbeFailing => "it runs, but its probe fails",
        Cause::JobFailed => "the job gave up",
        Cause::Slow => "it takes longer",
    };
    if message.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {message}")
    }
}

fn next(cause: Cause, service: &str, target: &ObjectRef, message: &str) -> String {
    let namespace = target.namespace.as_deref().unwrap_or("default");
    match cause {
        Cause::ImageMissing => {
            "vadev up brings missing images to the nodes; vadev supply list shows which there are".to_owned()
        }
        Cause::OutOfMemory => {
            format!("raise the memory limit of {service} in vadev.yaml, then vadev up {service}")
        }
        Cause::Unschedulable if message.contains("Insufficient") => {
            "choose a smaller profile (vadev up -p minimal), or give Docker more CPU and memory".to_owned()
        }
        Cause::Refused if message.contains("quota") => {
            format!(
                "vadev describe {service} shows which quota of {namespace} is used up; vadev up -p minimal needs less"
            )
        }
        Cause::ConfigMissing => format!("vadev up {service} applies its configuration again"),
        Cause::ListenerRejected if message.contains("registered implementation for 'istio.") => {
            "the proxies of this Istio are no build of Istio's own: `mesh: { istioFilters: false }` in the environment file, \
             then promote again"
                .to_owned()
        }
        Cause::ListenerRejected | Cause::SidecarNotReady => {
            format!("vadev proxy-status; vadev logs {service} --sidecar")
        }
        Cause::Crashing | Cause::ProbeFailing | Cause::JobFailed | Cause::Slow => {
            format!("vadev logs {service}")
        }
        Cause::Evicted => "vadev doctor checks disk and memory".to_owned(),
        _ if is_described(target) => format!("vadev describe {service}"),
        _ => elsewhere(target),
    }
}

/// The next command for what no verb describes. In the cluster's own namespace it is mostly the machine that is at fault.
pub fn elsewhere(target: &ObjectRef) -> String {
    match target.namespace.as_deref() {
        None | Some("kube-system") => {
            "vadev doctor looks the machine over; vadev top nodes shows what is used".to_owned()
        }
        Some(_) => "vadev events --warnings".to_owned(),
    }
}

/// Whether vadev's verbs know it: they look at workloads, and not into the cluster's own namespace.
fn is_described(target: &ObjectRef) -> bool {
    matches!(target.kind.as_str(), "Deployment" | "StatefulSet")
        && target.namespace.as_deref() != Some("kube-system")
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
