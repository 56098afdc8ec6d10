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
        let listed = site.readable(namespace, listed.map(|list| list.items));
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

/// Whether an event is about a workload or what it made: Kubernetes names those after it. By name and not by owner, because
/// most of what one looks for has happened to pods that are gone.
pub fn concerns(event: &EventLine, name: &str) -> bool {
    let (kind, object) = event.object.split_once('/').unwrap_or_default();
    if kind == "PersistentVolumeClaim" {
        // `<volume>-<workload>-<number>`.
        return object
            .rsplit_once('-')
            .is_some_and(|(claim, number)| is_number(number) && claim.ends_with(&format!("-{name}")));
    }
    let Some(rest) = object.strip_prefix(name) else {
        return false;
    };
    // `redis-exporter` begins with `redis` too, but what follows is a word, and no number, hash or suffix of vadev's.
    let vadevs = ["config", "secret", "hpa", "scratch"];
    let made = |word: &str| vadevs.contains(&word) || is_number(word) || is_hash(word);
    rest.is_empty()
        || rest
            .strip_prefix('-')
            .is_some_and(|rest| rest.split('-').all(made))
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit())
}

/// Whether Kubernetes made this part of a name up. It leaves the vowels out, so that no word comes about.
fn is_hash(word: &str) -> bool {
    word.len() >= 5 && word.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c))
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
        assert!(concerns(&about("Pod", "redis-scratch-x2x9p"), "redis"));
        assert!(concerns(&about("HorizontalPodAutoscaler", "redis-hpa"), "redis"));
        assert!(!concerns(&about("Pod", "rag-engine-1"), "agent-engine"));
        for (kind, object) in [
            ("Pod", "postgres-exporter-6c9f7d9c4-x2x9p"),
            ("Deployment", "postgres-exporter"),
            ("Pod", "postgres-migration-x2x9p"),
            ("PersistentVolumeClaim", "data-postgres-exporter-0"),
        ] {
            assert!(!concerns(&about(kind, object), "postgres"), "{object}");
        }
        assert!(!concerns(
            &about("Pod", "agent-engine-two-6c9f7d9c4"),
            "agent-engine"
        ));
        assert_eq!(about("Pod", "p").message, "x");
    }
}
