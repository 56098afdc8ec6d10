//! What the state of pods and their events give away about why something does not become ready. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Event, Pod};

use super::diagnose::Cause;

/// The likeliest reason, and how long to bear with it before giving up on the wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// The reason's kind.
    pub cause: Cause,
    /// The pod's name, if one is to blame.
    pub pod: Option<String>,
    /// The container in it.
    pub container: Option<String>,
    /// What the cluster says, in one line.
    pub message: String,
    /// It may still pass: images arrive, dependencies start. If it is still the likeliest reason after this time the
    /// wait ends.
    pub patience: Duration,
}

impl Suspicion {
    /// Whether both are about the same trouble of the same container, so that time counts on.
    pub fn continues(&self, earlier: &Self) -> bool {
        self.cause == earlier.cause && self.pod == earlier.pod && self.container == earlier.container
    }
}

/// The name of Istio's proxy container.
pub(super) const SIDECAR: &str = "istio-proxy";

/// How often each container had been started anew when a wait first saw it. Only what comes on top says anything about the
/// wait: each stop of a node is a restart too.
#[derive(Debug, Default)]
pub struct Restarts(BTreeMap<(String, String), i32>);

impl Restarts {
    /// Notes the containers that were not seen before.
    pub fn note(&mut self, pods: &[Arc<Pod>]) {
        for pod in pods {
            for container in containers(pod) {
                self.0
                    .entry(key(pod, container))
                    .or_insert(container.restart_count);
            }
        }
    }

    /// How often the container was started anew since then.
    fn since(&self, pod: &Pod, container: &ContainerStatus) -> i32 {
        let before = self.0.get(&key(pod, container)).copied().unwrap_or_default();
        container.restart_count.saturating_sub(before)
    }
}

fn key(pod: &Pod, container: &ContainerStatus) -> (String, String) {
    (
        pod.metadata.uid.clone().unwrap_or_default(),
        container.name.clone(),
    )
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let first = status.init_container_statuses.iter().flatten();
        first.chain(status.container_statuses.iter().flatten())
    })
}

/// As [`suspect_since`], counting every restart that ever was.
pub fn suspect(pods: &[Arc<Pod>], events: &[Arc<Event>]) -> Option<Suspicion> {
    suspect_since(pods, events, &Restarts::default())
}

/// The likeliest reason, the most certain first; `None` while everything is merely on its way. `before`: the restarts that
/// are no part of the story.
pub(super) fn suspect_since(
    pods: &[Arc<Pod>],
    events: &[Arc<Event>],
    before: &Restarts,
) -> Option<Suspicion> {
    let of_pods = pods.iter().flat_map(|pod| {
        let own = events
            .iter()
            .filter(|e| e.involved_object.uid.is_some() && e.involved_object.uid == pod.metadata.uid);
        about_pod(pod, &own.map(Arc::as_ref).collect::<Vec<_>>(), before)
    });
    let refused = pods.is_empty().then(|| refused(events)).flatten();
    of_pods.chain(refused).min_by_key(|s| (s.patience, s.cause))
}

/// No pod at all: its owner says why it could not make one.
fn refused(events: &[Arc<Event>]) -> Option<Suspicion> {
    let newest = events
        .iter()
        .rev()
        .find(|e| e.reason.as_deref() == Some("FailedCreate"))?;
    let message = first_line(newest.message.as_deref().unwrap_or_default());
    Some(Suspicion {
        cause: Cause::Refused,
        pod: None,
        container: None,
        message,
        patience: Duration::from_secs(15),
    })
}

fn about_pod(pod: &Pod, events: &[&Event], before: &Restarts) -> Vec<Suspicion> {
    let name = pod.metadata.name.clone();
    let suspicion = |cause, container: Option<&str>, message: &str, patience| Suspicion {
        cause,
        pod: name.clone(),
        container: container.map(str::to_owned),
        message: first_line(message),
        patience: Duration::from_secs(patience),
    };
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    if status.reason.as_deref() == Some("Evicted") {
        return vec![suspicion(
            Cause::Evicted,
            None,
            status.message.as_deref().unwrap_or_default(),
            10,
        )];
    }
    let mut found = Vec::new();
    for condition in status.conditions.iter().flatten() {
        if condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable") {
            let message = condition.message.as_deref().unwrap_or_default();
            // Volumes come after their claims, and the provisioner may itself be starting.
            let patience = if message.contains("PersistentVolumeClaim") {
                120
            } else {
                45
            };
            found.push(suspicion(Cause::Unschedulable, None, message, patience));
        }
    }
    for container in containers(pod) {
        let restarts = before.since(pod, container);
        if let Some((cause, message, mut patience)) = about_container(container, events, restarts) {
            if cause == Cause::ProbeFailing && container.started != Some(true) {
                patience = patience.max(time_to_start(pod, &container.name));
            }
            found.push(suspicion(cause, Some(&container.name), &message, patience));
        }
    }
    let starting = status
        .container_statuses
        .iter()
        .flatten()
        .all(|c| c.state.as_ref().is_none_or(|s| s.running.is_none()));
    if starting {
        for event in events.iter().rev() {
            let message = event.message.as_deref().unwrap_or_default();
            match event.reason.as_deref() {
                Some("FailedMount" | "FailedAttachVolume") => {
                    // The kubelet tries again with growing pauses of up to two minutes.
                    found.push(suspicion(Cause::MountFailed, None, message, 120));
                }
                Some("FailedCreatePodSandBox") => {
                    found.push(suspicion(Cause::SandboxFailed, None, message, 60));
                }
                _ => {}
            }
        }
    }
    found
}

/// Seconds that a container's startup probe gives it; zero without one.
fn time_to_start(pod: &Pod, container: &str) -> u64 {
    let spec = pod.spec.iter();
    let mut all = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let probe = all
        .find(|one| one.name == container)
        .and_then(|one| one.startup_probe.as_ref());
    let seconds = probe.map(|probe| {
        // The API server's defaults.
        let (failures, period) = (
            probe.failure_threshold.unwrap_or(3),
            probe.period_seconds.unwrap_or(10),
        );
        failures
            .saturating_mul(period)
            .saturating_add(probe.initial_delay_seconds.unwrap_or(0))
    });
    seconds.map_or(0, |seconds| u64::try_from(seconds).unwrap_or_default())
}

/// Cause, message and seconds of patience for one container, which was started anew so many times.
fn about_container(
    container: &ContainerStatus,
    events: &[&Event],
    restarts: i32,
) -> Option<(Cause, String, u64)> {
    let state = container.state.as_ref();
    let last_end = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    // Whom the kubelet ends because a probe failed, ends with whatever code it likes.
    let killed = killed_by_probe(container, events, last_end);
    if let Some(waiting) = state.and_then(|s| s.waiting.as_ref()) {
        let message = waiting.message.clone().unwrap_or_default();
        return match waiting.reason.as_deref().unwrap_or_default() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "ImageInspectError"
            | "RegistryUnavailable" => {
                let message = if message.is_empty() {
                    format!("image {}", container.image)
                } else {
                    message
                };
                Some((Cause::ImageMissing, message, 15))
            }
            "CreateContainerConfigError" => Some((Cause::ConfigMissing, message, 15)),
            "CreateContainerError" | "RunContainerError" | "PreStartHookError" | "PostStartHookError" => {
                Some((Cause::ContainerStart, message, 10))
            }
            "CrashLoopBackOff" => killed.map_or_else(
                || Some(crash(container, last_end, restarts)),
                |why| Some(hopeless_probe(container, &why, restarts)),
            ),
            _ => None,
        };
    }
    if let Some(why) = killed.filter(|_| restarts >= 3 || state.is_some_and(|s| s.terminated.is_some())) {
        return (!container.ready).then(|| hopeless_probe(container, &why, restarts));
    }
    if let Some(end) = state
        .and_then(|s| s.terminated.as_ref())
        .filter(|t| t.exit_code != 0)
    {
        return Some(crash(container, Some(end), restarts));
    }
    let running = state.is_some_and(|s| s.running.is_some());
    if !running || container.ready {
        return None;
    }
    if last_end.is_some_and(|end| end.exit_code != 0 && !with_its_node(end)) && restarts >= 3 {
        return Some(crash(container, last_end, restarts));
    }
    let probe = events.iter().rev().find(|e| {
        // How it failed until it had started says nothing about how it is now.
        let past = container.started == Some(true)
            && e.message
                .as_deref()
                .is_some_and(|m| m.starts_with("Startup probe"));
        is_about(e, container, "Unhealthy") && !past
    });
    if container.name == SIDECAR {
        let message = probe
            .and_then(|e| e.message.clone())
            .unwrap_or_else(|| "the sidecar is not ready".to_owned());
        return Some((Cause::SidecarNotReady, message, 30));
    }
    // Slow starters fail their probes for a while; only a long series means something.
    let probe = probe.filter(|e| e.count.unwrap_or(1) >= 3)?;
    Some((Cause::ProbeFailing, probe.message.clone().unwrap_or_default(), 90))
}

/// Whether an event of this reason is about the container.
fn is_about(event: &Event, container: &ContainerStatus, reason: &str) -> bool {
    let about = event.involved_object.field_path.as_deref().unwrap_or_default();
    event.reason.as_deref() == Some(reason) && about.ends_with(&format!("{{{}}}", container.name))
}

/// Why the kubelet ended the container's last run, if it did because of a probe: what the probe said.
fn killed_by_probe(
    container: &ContainerStatus,
    events: &[&Event],
    last_end: Option<&ContainerStateTerminated>,
) -> Option<String> {
    let kill = events.iter().rev().find(|event| {
        let message = event.message.as_deref().unwrap_or_default();
        let of_probe = message.contains("failed startup probe") || message.contains("failed liveness probe");
        is_about(event, container, "Killing") && of_probe
    })?;
    // One from before its last run says nothing about how that ended.
    let begun = last_end.and_then(|end| end.started_at.as_ref());
    if let (Some(begun), Some(at)) = (begun, kill.last_timestamp.as_ref())
        && at.0 < begun.0
    {
        return None;
    }
    let startup = kill
        .message
        .as_deref()
        .is_some_and(|message| message.contains("startup probe"));
    let sort = if startup {
        "Startup probe"
    } else {
        "Liveness probe"
    };
    let said = events.iter().rev().find(|event| {
        let message = event.message.as_deref().unwrap_or_default();
        is_about(event, container, "Unhealthy") && message.starts_with(sort)
    });
    said.or(Some(kill)).and_then(|event| event.message.clone())
}

/// A container that is ended again and again because its probe fails. It has as much time as one that was not ended yet.
fn hopeless_probe(container: &ContainerStatus, why: &str, restarts: i32) -> (Cause, String, u64) {
    let message = format!("{}, restarted {} times", first_line(why), container.restart_count);
    (Cause::ProbeFailing, message, if restarts >= 3 { 0 } else { 90 })
}

/// Whether a container ended because its node did: the runtime finds it gone, and knows nothing of how.
fn with_its_node(end: &ContainerStateTerminated) -> bool {
    end.exit_code == 255 && end.reason.as_deref() == Some("Unknown")
}

/// A container that ended badly. The kubelet waits 10, 20, 40 s between restarts: the third restart is a minute of
/// trying, after which a missing dependency is no likely reason any more.
fn crash(
    container: &ContainerStatus,
    end: Option<&ContainerStateTerminated>,
    restarts: i32,
) -> (Cause, String, u64) {
    let times = if container.restart_count > 0 {
        format!(", restarted {} times", container.restart_count)
    } else {
        String::new()
    };
    let Some(end) = end else {
        return (Cause::Crashing, format!("it keeps ending{times}"), 45);
    };
    if end.reason.as_deref() == Some("OOMKilled") {
        return (
            Cause::OutOfMemory,
            format!("killed for want of memory{times}"),
            if restarts >= 2 { 0 } else { 15 },
        );
    }
    let said = end
        .message
        .as_deref()
        .map(|m| format!(": {}", first_line(m)))
        .unwrap_or_default();
    let message = format!(
        "exit code {}{}{times}{said}",
        end.exit_code,
        meaning(end.exit_code)
    );
    (Cause::Crashing, message, if restarts >= 3 { 0 } else { 45 })
}

/// What exit codes by convention mean.
fn meaning(code: i32) -> &'static str {
    match code {
        126 => " (the command can't be executed)",
        127 => " (command not found)",
        128 => " (the container could not be started)",
        132 => " (SIGILL: built for another CPU)",
        134 => " (SIGABRT)",
        137 => " (SIGKILL)",
        139 => " (SIGSEGV)",
        143 => " (SIGTERM)",
        _ => "",
    }
}

fn first_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
        .to_owned()
}
