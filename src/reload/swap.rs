//! Running another image in live pods: the container alone is started anew, one replica after the other, and where the new
//! image does not run the old one comes back.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::pod_state::{Next, PodState, Progress, next, progress};
use crate::failure::{Diagnose, Family};
use crate::k8s::{self, Cluster, K8sError, LogOptions, ObjectRef, View};
use crate::report::Step;

/// How many log lines a failure shows.
const LINES: i64 = 20;
/// How long containerd may take to tell the kubelet of an image that was just imported.
const UNSEEN: Duration = Duration::from_secs(10);
/// How long the way back is watched.
const BACK: Duration = Duration::from_secs(30);

/// Which image goes into which pods.
#[derive(Debug, Clone, Copy)]
pub struct Swap<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Its live view.
    pub view: &'a View,
    /// The service's namespace.
    pub namespace: &'a str,
    /// The service: name of its Deployment and of the container.
    pub service: &'a str,
    /// The exact reference, which every node that runs the service has.
    pub image: &'a str,
    /// Digest of the image's configuration, by which the kubelet reports what runs.
    pub config: &'a str,
    /// The exact reference to go back to where pods run the moving tag.
    pub back: Option<&'a str>,
    /// Longest wait for one pod.
    pub within: Duration,
}

/// What was done to a pod.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PodSwap {
    /// The pod.
    pub pod: String,
    /// From the change of the pod to its taking requests again.
    pub seconds: f64,
}

/// Why the new image does not serve.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// It ended, or was never ready.
    #[error("the new version of {service} does not run in pod {pod}: {reason}{}", if *restored { "; the old version serves" } else { "" })]
    Failed {
        /// The service.
        service: String,
        /// The pod.
        pod: String,
        /// Why.
        reason: String,
        /// The last lines of its log.
        log: Vec<String>,
        /// Whether the old version serves again (or still, in the other replicas).
        restored: bool,
    },
    /// The API server refused something.
    #[error(transparent)]
    K8s(#[from] K8sError),
}

impl Diagnose for SwapError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { service, .. } => Some(format!(
                "mend the source and save; vadev logs {service} shows what it prints"
            )),
            Self::K8s(error) => error.hint(),
        }
    }
    fn family(&self) -> Family {
        match self {
            Self::Failed { .. } => Family::Build,
            Self::K8s(error) => error.family(),
        }
    }
    fn details(&self) -> Vec<String> {
        match self {
            Self::Failed { log, .. } => log.clone(),
            Self::K8s(error) => error.details(),
        }
    }
}

impl Swap<'_> {
    /// Gives every pod the image. `before` is called with a pod's name ahead of its change (a sync session has the agent
    /// forget its files there). Pods that run the image already are left alone.
    pub async fn run<F, W>(&self, before: F, step: &Step) -> Result<Vec<PodSwap>, SwapError>
    where
        F: Fn(String) -> W,
        W: Future<Output = ()>,
    {
        let mut done = Vec::new();
        let mut pulse = self.view.pulse();
        let end = Instant::now() + self.within;
        loop {
            pulse.mark_unchanged();
            let pods = self.pods();
            match next(&pods, self.image, self.config) {
                Next::Done => return Ok(done),
                Next::Patch(pod) => {
                    let (pod, begun) = (pod.clone(), Instant::now());
                    before(pod.name.clone()).await;
                    step.progress(format!("pod {}: starting {}", pod.name, self.image));
                    if !k8s::set_image(self.cluster, self.namespace, &pod.name, self.service, self.image)
                        .await?
                    {
                        // Its successor shows in the view within moments.
                        let _moved = timeout_at(end, pulse.changed()).await;
                        continue;
                    }
                    if let Some(reason) = self.settle(&pod, step).await {
                        return Err(self.failed(&pod, reason).await);
                    }
                    done.push(PodSwap {
                        pod: pod.name,
                        seconds: begun.elapsed().as_secs_f64(),
                    });
                }
                Next::Wait => {
                    if timeout_at(end, pulse.changed()).await.is_err() {
                        let target = self.target();
                        let ready =
                            self.view
                                .wait_ready(&target, k8s::WaitOptions::within(Duration::ZERO), None);
                        ready.await?;
                    }
                }
            }
        }
    }

    fn target(&self) -> ObjectRef {
        ObjectRef::new("apps/v1", "Deployment", self.namespace, self.service)
    }

    fn pods(&self) -> Vec<PodState> {
        let pods = self.view.pods_of(&self.target());
        pods.iter()
            .filter_map(|pod| PodState::of(pod, self.service))
            .collect()
    }

    fn pod(&self, name: &str) -> Option<PodState> {
        self.pods().into_iter().find(|pod| pod.name == name)
    }

    /// Waits for one pod; `Some` says why the new image does not run there.
    async fn settle(&self, before: &PodState, step: &Step) -> Option<String> {
        let mut pulse = self.view.pulse();
        let begun = Instant::now();
        let end = begun + self.within;
        let mut told = String::new();
        loop {
            pulse.mark_unchanged();
            let now = self.pod(&before.name);
            let (waiting, end) = match progress(before, now.as_ref(), self.config) {
                Progress::Serving | Progress::Gone => return None,
                Progress::Failed(reason) => return Some(reason),
                Progress::ImageUnseen(reason) => (reason, begun + UNSEEN),
                Progress::Waiting(what) => (what, end),
            };
            if Instant::now() >= end {
                return Some(format!("{waiting} after {} s", begun.elapsed().as_secs()));
            }
            if waiting != told {
                step.progress(format!("pod {}: {waiting}", before.name));
                told = waiting;
            }
            if let Ok(Err(_)) = timeout_at(end, pulse.changed()).await {
                sleep_until(end).await;
            }
        }
    }

    /// Reads the log, and brings the old image back.
    async fn failed(&self, before: &PodState, reason: String) -> SwapError {
        let log = self.log(&before.name).await;
        let old = self.back.filter(|_| !before.image.contains(":dev-"));
        let old = old.unwrap_or(&before.image);
        let restored = old != self.image && self.restore(before, old).await;
        SwapError::Failed {
            service: self.service.to_owned(),
            pod: before.name.clone(),
            reason,
            log,
            restored: restored || self.pods().iter().any(|pod| pod.ready && !pod.runs(self.config)),
        }
    }

    async fn restore(&self, before: &PodState, old: &str) -> bool {
        let set = k8s::set_image(self.cluster, self.namespace, &before.name, self.service, old);
        if !set.await.unwrap_or(false) {
            return false;
        }
        let mut pulse = self.view.pulse();
        let end = Instant::now() + BACK;
        while Instant::now() < end {
            pulse.mark_unchanged();
            match self.pod(&before.name) {
                None => return false,
                Some(now) if now.ready && !now.runs(self.config) => return true,
                Some(_) => {}
            }
            let _moved = timeout_at(end, pulse.changed()).await;
        }
        false
    }

    /// A log that can't be read leaves the error without lines; the error itself is what matters.
    async fn log(&self, pod: &str) -> Vec<String> {
        for previous in [false, true] {
            let options = LogOptions {
                container: Some(self.service.to_owned()),
                tail: Some(LINES),
                previous,
                ..LogOptions::default()
            };
            let lines = k8s::tail(self.cluster, self.namespace, pod, &options).await;
            if let Ok(lines) = lines
                && !lines.is_empty()
            {
                return lines;
            }
        }
        Vec::new()
    }
}
