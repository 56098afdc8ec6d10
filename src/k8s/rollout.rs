//! Waiting until something is ready, until it never will be, or until a deadline.

use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{Api, DynamicObject};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::report::Step;

use super::client::Cluster;
use super::error::K8sError;
use super::object::ObjectRef;
use super::ready::Readiness;
use super::retry::{pause, retrying, transient};
use super::suspect::{Restarts, Suspicion, suspect_since};
use super::view::View;

/// How to wait.
#[derive(Debug, Clone, Copy)]
pub struct WaitOptions {
    /// At most so long.
    pub within: Duration,
    /// End early when the cluster shows why it can't succeed. Off for waits that are allowed to see failing pods.
    pub fail_early: bool,
    /// Added to the patience with image errors: while images are still on their way to the nodes.
    pub images_pending: Duration,
}

impl WaitOptions {
    /// A wait with a deadline that ends early on a certain failure.
    pub fn within(within: Duration) -> Self {
        Self {
            within,
            fail_early: true,
            images_pending: Duration::ZERO,
        }
    }
}

impl View {
    /// Waits for a workload, pod, job or service, telling on `step` whenever what is missing changes. Returns the
    /// readiness's detail (`2/2 pods ready`). Ends with [`K8sError::NotReady`] and a diagnosis at the deadline, or
    /// early when the same trouble has lasted longer than is reasonable.
    pub async fn wait_ready(
        &self,
        target: &ObjectRef,
        options: WaitOptions,
        step: Option<&Step>,
    ) -> Result<String, K8sError> {
        let begun = Instant::now();
        let end = begun + options.within;
        let mut pulse = self.pulse();
        let mut trouble: Option<(Suspicion, Instant)> = None;
        let mut before = Restarts::default();
        let mut told = String::new();
        loop {
            pulse.mark_unchanged();
            let detail = match self.readiness(target) {
                Readiness::Ready(detail) => return Ok(detail),
                Readiness::Failed(_) => {
                    return Err(self.not_ready(target, "and will not be".to_owned()).await);
                }
                Readiness::Waiting(detail) => detail,
            };
            let pods = self.pods_of(target);
            before.note(&pods);
            let found = suspect_since(&pods, &self.events_about(target, &pods), &before);
            trouble = found.map(|now| match trouble.take() {
                Some((earlier, since)) if now.continues(&earlier) => (now, since),
                _ => (now, Instant::now()),
            });
            let line = trouble
                .as_ref()
                .map_or_else(|| detail.clone(), |(s, _)| format!("{detail}: {}", s.message));
            if let Some(step) = step
                && line != told
            {
                step.progress(line.clone());
                told = line;
            }
            let give_up = trouble
                .as_ref()
                .filter(|_| options.fail_early)
                .map(|(suspicion, since)| {
                    let images = suspicion.cause == super::diagnose::Cause::ImageMissing;
                    *since
                        + suspicion.patience
                        + if images {
                            options.images_pending
                        } else {
                            Duration::ZERO
                        }
                });
            let now = Instant::now();
            if give_up.is_some_and(|at| now >= at) {
                return Err(self.not_ready(target, "and will not be".to_owned()).await);
            }
            if now >= end {
                return Err(self
                    .not_ready(target, format!("after {} s", options.within.as_secs()))
                    .await);
            }
            let wake = give_up.map_or(end, |at| at.min(end));
            // A closed channel means the view is going away; then only the deadline is left to wait for.
            if let Ok(Err(_)) = timeout_at(wake, pulse.changed()).await {
                sleep_until(wake).await;
            }
        }
    }

    async fn not_ready(&self, target: &ObjectRef, when: String) -> K8sError {
        let diagnosis = Box::new(self.diagnose(target).await);
        K8sError::NotReady {
            target: Box::new(target.clone()),
            when,
            diagnosis,
        }
    }

    /// Waits for several at once and fails with the first that fails. Returns each with its detail.
    pub async fn wait_all(
        &self,
        targets: &[ObjectRef],
        options: WaitOptions,
        step: Option<&Step>,
    ) -> Result<Vec<(ObjectRef, String)>, K8sError> {
        let mut waits = stream::iter(targets)
            .map(|target| async move { (target, self.wait_ready(target, options, step).await) })
            .buffer_unordered(targets.len().max(1));
        let mut ready = Vec::with_capacity(targets.len());
        while let Some((target, result)) = waits.next().await {
            ready.push((target.clone(), result?));
        }
        Ok(ready)
    }
}

/// Waits until `check` holds for an object of any kind, by polling: for definitions (Established) and for single
/// conditions of kinds that no view watches. `what` ends the sentence "… is not …".
pub async fn wait_for(
    cluster: &Cluster,
    target: &ObjectRef,
    within: Duration,
    check: impl Fn(&DynamicObject) -> bool,
) -> Result<DynamicObject, K8sError> {
    let api: Api<DynamicObject> = cluster.api(target).await?;
    let end = Instant::now() + within;
    let subject = target.to_string();
    let mut attempt = 0;
    loop {
        let found = retrying("read", &subject, within, transient, || api.get_opt(&target.name)).await?;
        let there = found.is_some();
        if let Some(object) = found.filter(|object| check(object)) {
            return Ok(object);
        }
        if Instant::now() >= end {
            let state = if there {
                "its condition does not hold"
            } else {
                "it does not exist"
            };
            let diagnosis = Box::new(super::diagnose::Diagnosis {
                cause: super::diagnose::Cause::Slow,
                subject: subject.clone(),
                explanation: state.to_owned(),
                log: Vec::new(),
                next: super::diagnose::elsewhere(target),
            });
            return Err(K8sError::NotReady {
                target: Box::new(target.clone()),
                when: format!("after {} s", within.as_secs()),
                diagnosis,
            });
        }
        tokio::time::sleep(pause(attempt)).await;
        attempt += 1;
    }
}
