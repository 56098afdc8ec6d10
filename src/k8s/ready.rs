//! When an object counts as ready: pure predicates over its status. kube's own ignore `observedGeneration`, so that a
//! change just made looks finished already.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It serves; the detail says how many.
    Ready(String),
    /// Not yet; the detail says what is missing.
    Waiting(String),
    /// It can't become ready any more.
    Failed(String),
}

impl Readiness {
    /// Whether it is ready.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }
    /// The detail.
    pub fn detail(&self) -> &str {
        match self {
            Self::Ready(text) | Self::Waiting(text) | Self::Failed(text) => text,
        }
    }
}

/// What readiness can be told of.
pub trait Observed {
    /// How far it is.
    fn readiness(&self) -> Readiness;
}

/// How far an object is, by its kind's rules.
pub fn readiness(object: &impl Observed) -> Readiness {
    object.readiness()
}

fn waiting(text: impl Into<String>) -> Readiness {
    Readiness::Waiting(text.into())
}

fn unseen(generation: Option<i64>, observed: Option<i64>) -> bool {
    observed.unwrap_or(0) < generation.unwrap_or(1)
}

impl Observed for Deployment {
    fn readiness(&self) -> Readiness {
        let wanted = self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
        let Some(status) = &self.status else {
            return waiting("not seen by its controller yet");
        };
        if unseen(self.metadata.generation, status.observed_generation) {
            return waiting("not seen by its controller yet");
        }
        let updated = status.updated_replicas.unwrap_or(0);
        let available = status.available_replicas.unwrap_or(0);
        let all = status.replicas.unwrap_or(0);
        if updated < wanted {
            return waiting(format!("{updated}/{wanted} pods made from the new template"));
        }
        if all > updated {
            return waiting(format!("{} old pods still to stop", all - updated));
        }
        if available < wanted {
            return waiting(format!("{available}/{wanted} pods ready"));
        }
        Readiness::Ready(format!("{available}/{wanted} pods ready"))
    }
}

impl Observed for StatefulSet {
    fn readiness(&self) -> Readiness {
        let wanted = self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
        let Some(status) = &self.status else {
            return waiting("not seen by its controller yet");
        };
        if unseen(self.metadata.generation, status.observed_generation) {
            return waiting("not seen by its controller yet");
        }
        let strategy = self.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
        let on_delete = strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete");
        let ready = status.ready_replicas.unwrap_or(0);
        let updated = status.updated_replicas.unwrap_or(0);
        let moving = status.update_revision.is_some() && status.current_revision != status.update_revision;
        if !on_delete && moving && updated < wanted {
            return waiting(format!("{updated}/{wanted} pods made from the new template"));
        }
        if ready < wanted {
            return waiting(format!("{ready}/{wanted} pods ready"));
        }
        Readiness::Ready(format!("{ready}/{wanted} pods ready"))
    }
}

impl Observed for DaemonSet {
    fn readiness(&self) -> Readiness {
        let Some(status) = &self.status else {
            return waiting("not seen by its controller yet");
        };
        if unseen(self.metadata.generation, status.observed_generation) {
            return waiting("not seen by its controller yet");
        }
        let wanted = status.desired_number_scheduled;
        let updated = status.updated_number_scheduled.unwrap_or(0);
        let available = status.number_available.unwrap_or(0);
        if updated < wanted || available < wanted {
            return waiting(format!("{}/{wanted} pods ready", available.min(updated)));
        }
        Readiness::Ready(format!("{available}/{wanted} pods ready"))
    }
}

impl Observed for Job {
    fn readiness(&self) -> Readiness {
        let status = self.status.as_ref();
        for condition in status.and_then(|s| s.conditions.as_ref()).into_iter().flatten() {
            match (condition.type_.as_str(), condition.status.as_str()) {
                ("Complete", "True") => return Readiness::Ready("complete".to_owned()),
                ("Failed", "True") => {
                    let reason = condition.message.clone().or(condition.reason.clone());
                    return Readiness::Failed(reason.unwrap_or_else(|| "failed".to_owned()));
                }
                _ => {}
            }
        }
        let tries = status.and_then(|s| s.failed).unwrap_or(0);
        if tries > 0 {
            waiting(format!("running, {tries} tries failed"))
        } else {
            waiting("running")
        }
    }
}

impl Observed for Pod {
    fn readiness(&self) -> Readiness {
        let Some(status) = &self.status else {
            return waiting("not scheduled yet");
        };
        match status.phase.as_deref() {
            Some("Succeeded") => return Readiness::Ready("finished".to_owned()),
            Some("Failed") => {
                let reason = status.message.clone().or(status.reason.clone());
                return Readiness::Failed(reason.unwrap_or_else(|| "a container failed".to_owned()));
            }
            _ => {}
        }
        if self.metadata.deletion_timestamp.is_some() {
            return waiting("stopping");
        }
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        if ready {
            return Readiness::Ready("ready".to_owned());
        }
        let containers = status.container_statuses.as_deref().unwrap_or_default();
        let up = containers.iter().filter(|c| c.ready).count();
        waiting(format!("{up}/{} containers ready", containers.len()))
    }
}

/// A service together with its endpoint slices.
pub struct Endpoints<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its slices.
    pub slices: &'a [std::sync::Arc<EndpointSlice>],
}

impl Observed for Endpoints<'_> {
    fn readiness(&self) -> Readiness {
        let spec = self.service.spec.as_ref();
        let external = spec.and_then(|s| s.type_.as_deref()) == Some("ExternalName");
        let selects = spec
            .and_then(|s| s.selector.as_ref())
            .is_some_and(|s| !s.is_empty());
        if external || !selects {
            return Readiness::Ready("has no pods of its own".to_owned());
        }
        let endpoints = self.slices.iter().flat_map(|slice| slice.endpoints.iter());
        let ready = endpoints
            .filter(|e| e.conditions.as_ref().and_then(|c| c.ready) != Some(false))
            .count();
        if ready == 0 {
            waiting("no ready endpoint")
        } else {
            Readiness::Ready(format!("{ready} endpoints"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(generation: i64, observed: i64, replicas: [i64; 4]) -> Readiness {
        let [wanted, all, updated, available] = replicas;
        let object: Deployment = serde_json::from_value(json!({
            "metadata": {"generation": generation},
            "spec": {"replicas": wanted, "selector": {}, "template": {}},
            "status": {"observedGeneration": observed, "replicas": all, "updatedReplicas": updated,
                       "availableReplicas": available},
        }))
        .unwrap();
        readiness(&object)
    }

    #[test]
    fn a_deployment_is_ready_when_all_of_the_newest_generation_is() {
        assert!(deployment(2, 2, [2, 2, 2, 2]).is_ready());
        assert!(deployment(1, 1, [0, 0, 0, 0]).is_ready());
        assert_eq!(
            deployment(2, 1, [1, 1, 1, 1]).detail(),
            "not seen by its controller yet"
        );
        assert_eq!(
            deployment(2, 2, [1, 2, 1, 1]).detail(),
            "1 old pods still to stop"
        );
        assert_eq!(deployment(2, 2, [2, 2, 2, 1]).detail(), "1/2 pods ready");
    }

    #[test]
    fn a_stateful_set_waits_for_its_new_revision() {
        let object: StatefulSet = serde_json::from_value(json!({
            "metadata": {"generation": 3},
            "spec": {"replicas": 1, "selector": {}, "serviceName": "s", "template": {}},
            "status": {"observedGeneration": 3, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 0,
                       "currentRevision": "a", "updateRevision": "b"},
        }))
        .unwrap();
        assert_eq!(readiness(&object).detail(), "0/1 pods made from the new template");
    }

    #[test]
    fn a_failed_job_will_not_recover() {
        let object: Job = serde_json::from_value(json!({
            "metadata": {},
            "status": {"conditions": [{"type": "Failed", "status": "True", "message": "too many tries"}]},
        }))
        .unwrap();
        assert_eq!(readiness(&object), Readiness::Failed("too many tries".to_owned()));
    }

    #[test]
    fn a_service_needs_a_ready_endpoint() {
        let service: Service =
            serde_json::from_value(json!({"metadata": {}, "spec": {"selector": {"app": "a"}}})).unwrap();
        let slice = |ready: bool| -> std::sync::Arc<EndpointSlice> {
            let endpoint = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}});
            let slice = json!({"metadata": {}, "addressType": "IPv4", "endpoints": [endpoint]});
            std::sync::Arc::new(serde_json::from_value(slice).unwrap())
        };
        let with = |slices: &[std::sync::Arc<EndpointSlice>]| {
            readiness(&Endpoints {
                service: &service,
                slices,
            })
        };
        assert!(!with(&[]).is_ready());
        assert!(!with(&[slice(false)]).is_ready());
        assert!(with(&[slice(true)]).is_ready());
    }
}
