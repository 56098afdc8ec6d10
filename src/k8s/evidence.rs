//! Fetches what a diagnosis needs beyond the view: the last log lines of the container under suspicion.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};
use tokio::time::timeout;

use super::diagnose::{Cause, Diagnosis, Evidence, diagnose, telling};
use super::object::ObjectRef;
use super::suspect::{Suspicion, suspect};
use super::view::View;

/// How many log lines a diagnosis shows.
const LINES: usize = 15;

/// How many lines of a sidecar are looked through: what it refused it says once, that it is not ready every second.
const SIDECAR_LINES: usize = 500;

impl View {
    /// Why `target` is not ready, as far as can be told now.
    pub async fn diagnose(&self, target: &ObjectRef) -> Diagnosis {
        let pods = self.pods_of(target);
        let events = self.events_about(target, &pods);
        let mut state = self.readiness(target).detail().to_owned();
        if let Some(trouble) = self.trouble() {
            state = format!("{state} ({trouble})");
        }
        let suspicion = suspect(&pods, &events);
        let log = match (&suspicion, pods.first()) {
            (Some(suspicion), _) => self.log_of(target, suspicion).await,
            (None, Some(pod)) => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                self.log_lines(target, &name, None, false).await
            }
            (None, None) => Vec::new(),
        };
        diagnose(&Evidence {
            target: target.clone(),
            state,
            pods,
            events,
            log,
        })
    }

    async fn log_of(&self, target: &ObjectRef, suspicion: &Suspicion) -> Vec<String> {
        let (Some(pod), Some(container)) = (&suspicion.pod, &suspicion.container) else {
            return Vec::new();
        };
        if matches!(
            suspicion.cause,
            Cause::ImageMissing | Cause::ConfigMissing | Cause::ContainerStart
        ) {
            return Vec::new();
        }
        if suspicion.cause == Cause::SidecarNotReady {
            let all = self
                .last_lines(target, pod, Some(container), false, SIDECAR_LINES)
                .await;
            return telling(all, LINES);
        }
        let current = self.log_lines(target, pod, Some(container), false).await;
        if current.is_empty() && matches!(suspicion.cause, Cause::Crashing | Cause::OutOfMemory) {
            return self.log_lines(target, pod, Some(container), true).await;
        }
        current
    }

    async fn log_lines(
        &self,
        target: &ObjectRef,
        pod: &str,
        container: Option<&String>,
        previous: bool,
    ) -> Vec<String> {
        self.last_lines(target, pod, container, previous, LINES).await
    }

    /// A log that can't be read leaves the diagnosis without lines; the diagnosis itself is what matters.
    async fn last_lines(
        &self,
        target: &ObjectRef,
        pod: &str,
        container: Option<&String>,
        previous: bool,
        lines: usize,
    ) -> Vec<String> {
        let namespace = target.namespace.as_deref().unwrap_or("default");
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), namespace);
        let params = LogParams {
            container: container.cloned(),
            tail_lines: i64::try_from(lines).ok(),
            previous,
            ..LogParams::default()
        };
        match timeout(Duration::from_secs(5), pods.logs(pod, &params)).await {
            Ok(Ok(text)) => text.lines().map(str::to_owned).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}
