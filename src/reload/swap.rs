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
/// Who attends a swap is asked this often.
const LOOK: Duration = Duration::from_millis(200);

/// Why a pod is not waited for any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Early {
    /// Its service went down, behind an agent that keeps the container running.
    Down(String),
    /// A newer save is due, and this version has had its time.
    Newer,
}

/// Whoever knows more of the pods than the API server tells.
pub trait Attend: Sync {
    /// Whether a pod whose new container runs, and which was told to at `since`, is worth waiting for.
    fn early(&self, pod: &str, since: Instant) -> Option<Early>;
    /// The old image comes back, from this moment on.
    fn goes_back(&self);
}

/// Which image goes into which pods.
#[derive(Clone, Copy)]
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
    /// Asked beside the API server, where a session is at work.
    pub attended: Option<&'a dyn Attend>,
}

/// How a pod's wait ended.
enum End {
    /// It serves, or is another one's now.
    Done,
    /// The new image does not run there.
    Failed(String),
    /// Left as it is, for a newer image.
    Left,
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
    /// A newer save came before the service answered.
    #[error("{service} was not ready in pod {pod} when a newer save came")]
    Newer {
        /// The service.
        service: String,
        /// The pod.
        pod: String,
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
            Self::Newer { .. } => None,
            Self::K8s(error) => error.hint(),
        }
    }
    fn family(&self) -> Family {
        match self {
            Self::Failed { .. } | Self::Newer { .. } => Family::Build,
            Self::K8s(error) => error.family(),
        }
    }
    fn details(&self) -> Vec<String> {
        match self {
            Self::Failed { log, .. } => log.clone(),
            Self::Newer { .. } => Vec::new(),
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
                    match self.settle(&pod, step).await {
                        End::Done => {}
                        End::Failed(reason) => return Err(self.failed(&pod, reason).await),
                        End::Left => {
                            return Err(SwapError::Newer {
                                service: self.service.to_owned(),
                                pod: pod.name,
                            });
                        }
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
                        // It is ready, and goes on with something else: asking again and again would not help.
                        return Err(SwapError::Failed {
                            service: self.service.to_owned(),
                            pod: pods
                                .iter()
                                .find(|pod| !pod.runs(self.config))
                                .map_or_else(String::new, |pod| pod.name.clone()),
                            reason: format!("it runs another image after {} s", self.within.as_secs()),
                            log: Vec::new(),
                            restored: false,
                        });
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

    /// Waits for one pod.
    async fn settle(&self, before: &PodState, step: &Step) -> End {
        let mut pulse = self.view.pulse();
        let begun = Instant::now();
        let end = begun + self.within;
        let mut told = String::new();
        loop {
            pulse.mark_unchanged();
            let now = self.pod(&before.name);
            let (waiting, end) = match progress(before, now.as_ref(), self.config) {
                Progress::Serving | Progress::Gone => return End::Done,
                Progress::Failed(reason) => return End::Failed(reason),
                Progress::ImageUnseen(reason) => (reason, begun + UNSEEN),
                Progress::Waiting(what) => (what, end),
            };
            if Instant::now() >= end {
                return End::Failed(format!("{waiting} after {} s", begun.elapsed().as_secs()));
            }
            let is_new = now.is_some_and(|now| now.container != before.container && now.runs(self.config));
            match self.attended.filter(|_| is_new) {
                None => {}
                Some(attended) => match attended.early(&before.name, begun) {
                    Some(Early::Down(why)) => return End::Failed(format!("the service ended: {why}")),
                    Some(Early::Newer) => return End::Left,
                    None => {}
                },
            }
            if waiting != told {
                step.progress(format!("pod {}: {waiting}", before.name));
                told = waiting;
            }
            let look = match self.attended {
                Some(_) => end.min(Instant::now() + LOOK),
                None => end,
            };
            if let Ok(Err(_)) = timeout_at(look, pulse.changed()).await {
                sleep_until(look).await;
            }
        }
    }

    /// Reads the log, and brings the old image back.
    async fn failed(&self, before: &PodState, reason: String) -> SwapError {
        let log = self.log(&before.name).await;
        if let Some(attended) = self.attended {
            attended.goes_back();
        }
        // What a pod was left with before it was ready has proved nothing.
        let proved = before.ready && before.image.contains(":dev-");
        let old = self.back.filter(|_| !proved);
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
