//! Kubernetes' events about the platform, newest first.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use serde::Serialize;

use super::error::OperateError;
use super::site::Site;
use crate::failure::Failure;
use crate::report::text;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventLine {
    /// When it happened last.
    #[schemars(with = "String")]
    pub time: Timestamp,
    /// `Normal` or `Warning`.
    pub kind: String,
    /// For instance `Unhealthy`.
    pub reason: String,
    /// `Pod/agent-engine-…`.
    pub object: String,
    /// Namespace.
    pub namespace: String,
    /// What happened.
    pub message: String,
    /// How often.
    pub count: i32,
}

impl EventLine {
    /// How long ago, seen from `now`.
    pub fn age(&self, now: Timestamp) -> String {
        text::age(now.as_second() - self.time.as_second())
    }

    /// Whether it warns.
    pub fn is_warning(&self) -> bool {
        self.kind == "Warning"
    }
}

/// The moment of an event: newer API versions fill other fields than older ones.
fn moment(event: &Event) -> Timestamp {
    let series = event.series.as_ref().and_then(|s| s.last_observed_time.as_ref());
    let micro = series.or(event.event_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().or(event.first_timestamp.as_ref());
    last.map(|time| time.0)
        .or(micro)
        .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn line(event: &Event) -> EventLine {
    let about = &event.involved_object;
    EventLine {
        time: moment(event),
        kind: event.type_.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        object: format!(
            "{}/{}",
            about.kind.as_deref().unwrap_or("?"),
            about.name.as_deref().unwrap_or("?")
        ),
        namespace: event.metadata.namespace.clone().unwrap_or_default(),
        message: event.message.clone().unwrap_or_default().trim().to_owned(),
        count: event
            .series
            .as_ref()
            .and_then(|series| series.count)
            .or(event.count)
            .unwrap_or(1),
    }
}

/// The events of these workloads, of the whole platform without names; newest first.
pub async fn events(site: &Site, names: &[String], warnings: bool) -> Result<Vec<EventLine>, Failure> {
    let chosen = if names.is_empty() {
        Vec::new()
    } else {
        site.chosen(names).await?
    };
    let mut namespaces: Vec<&str> = if chosen.is_empty() {
        site.all_namespaces().to_vec()
    } else {
        chosen.iter().map(super::site::Workload::namespace).collect()
    };
    namespaces.sort_unstable();
    namespaces.dedup();
    let params = ListParams::default().match_any();
    let params = &params;
    let lists = namespaces.into_iter().map(|namespace| async move {
        let listed = site.api::<Event>(namespace).list(params).await;
        listed.map_err(|error| OperateError::request("list the events of", namespace, error))
    });
    let mut found: Vec<EventLine> = try_join_all(lists)
        .await?
        .iter()
        .flatten()
        .map(line)
        .filter(|event| !warnings || event.is_warning())
        .filter(|event| chosen.is_empty() || chosen.iter().any(|one| concerns(event, one.name())))
        .collect();
    found.sort_by_key(|event| std::cmp::Reverse(event.time));
    Ok(found)
}

/// Whether an event is about a workload or what it made: Kubernetes names those after it.
pub fn concerns(event: &EventLine, name: &str) -> bool {
    let object = event.object.split_once('/').map_or("", |(_, object)| object);
    let Some(rest) = object.strip_prefix(name) else {
        // A claim is called `<volume>-<workload>-<number>`.
        return event.object.starts_with("PersistentVolumeClaim/") && object.contains(&format!("-{name}-"));
    };
    // `redis-cache` begins with `redis` too, but what follows is a word and no hash, number or suffix of vadev's.
    let words: Vec<&str> = rest.split('-').filter(|word| !word.is_empty()).collect();
    rest.is_empty()
        || rest.starts_with('-')
            && words.iter().all(|word| {
                ["config", "secret", "hpa"].contains(word)
                    || word.chars().any(|c| c.is_ascii_digit())
                    || word.len() == 5
                    || word.len() >= 8
            })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn about(kind: &str, name: &str) -> EventLine {
        let event: Event = serde_json::from_value(json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "involvedObject": {"kind": kind, "name": name}, "message": " x \n",
        }))
        .unwrap();
        line(&event)
    }

    #[test]
    fn what_a_workload_made_concerns_it() {
        assert!(concerns(
            &about("Pod", "agent-engine-6c9f7d9c4-x2x9p"),
            "agent-engine"
        ));
        assert!(concerns(&about("ReplicaSet", "redis-0"), "redis"));
        assert!(concerns(&about("PersistentVolumeClaim", "data-redis-0"), "redis"));
        assert!(!concerns(&about("Pod", "rag-engine-1"), "agent-engine"));
        assert!(!concerns(
            &about("Pod", "agent-engine-two-6c9f7d9c4"),
            "agent-engine"
        ));
        assert_eq!(about("Pod", "p").message, "x");
    }
}
