//! Deleting objects, and waiting until they are gone.

use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{Api, DeleteParams};
use kube::core::DynamicObject;
use tokio::time::{Instant, sleep};

use super::client::Cluster;
use super::error::K8sError;
use super::kinds::KindInfo;
use super::object::ObjectRef;
use super::retry::{pause, retrying, transient};

/// What happens to what an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes last, after its pods.
    Foreground,
    /// The object goes at once, its pods after it.
    Background,
    /// What it owns stays.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, Copy)]
pub struct DeleteOptions {
    /// What happens to what the objects own.
    pub propagation: Propagation,
    /// Wait until they are gone, at most so long; `None` waits for nothing.
    pub wait: Option<Duration>,
    /// Seconds that containers get to stop; `None` leaves it to the pods.
    pub grace_seconds: Option<u32>,
}

impl Default for DeleteOptions {
    fn default() -> Self {
        Self {
            propagation: Propagation::Foreground,
            wait: Some(Duration::from_mins(2)),
            grace_seconds: None,
        }
    }
}

/// Deletes the objects, in reverse order of [`super::BUILT_IN`]: traffic rules before workloads, workloads before
/// configuration, namespaces last; within a kind side by side. Returns those that were there. What is gone already is
/// no error.
pub async fn delete_all(
    cluster: &Cluster,
    objects: &[ObjectRef],
    options: DeleteOptions,
) -> Result<Vec<ObjectRef>, K8sError> {
    let rank = |o: &ObjectRef| KindInfo::rank(&o.api_version, &o.kind);
    let mut sorted: Vec<&ObjectRef> = objects.iter().collect();
    sorted.sort_by_key(|o| std::cmp::Reverse(rank(o)));
    let (mut gone, mut failures) = (Vec::new(), Vec::new());
    for wave in sorted.chunk_by(|a, b| rank(a) == rank(b)) {
        let results = stream::iter(wave.iter().copied())
            .map(|object| async move { (object, delete_one(cluster, object, options).await) })
            .buffer_unordered(16)
            .collect::<Vec<_>>()
            .await;
        for (object, result) in results {
            match result {
                Ok(true) => gone.push(object.clone()),
                Ok(false) => {}
                Err(error) => failures.push(error),
            }
        }
    }
    match failures.len() {
        0 => Ok(gone),
        1 => Err(failures.remove(0)),
        _ => Err(K8sError::Several {
            done: "deleted",
            total: objects.len(),
            failures,
        }),
    }
}

/// Deletes one object; whether it was there.
pub(super) async fn delete_one(
    cluster: &Cluster,
    object: &ObjectRef,
    options: DeleteOptions,
) -> Result<bool, K8sError> {
    let api = match cluster.api(object).await {
        // Without its kind there can be no such object.
        Err(K8sError::UnknownKind { .. }) => return Ok(false),
        other => other?,
    };
    let mut params = match options.propagation {
        Propagation::Foreground => DeleteParams::foreground(),
        Propagation::Background => DeleteParams::background(),
        Propagation::Orphan => DeleteParams::orphan(),
    };
    params.grace_period_seconds = options.grace_seconds;
    let subject = object.to_string();
    let asked = retrying("delete", &subject, Duration::from_secs(30), transient, || async {
        match api.delete(&object.name, &params).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            other => other.map(|_| true),
        }
    });
    let was_there = asked.await?;
    if let Some(limit) = options.wait.filter(|_| was_there) {
        wait_gone(&api, object, limit).await?;
    }
    Ok(was_there)
}

/// Polls, because for a single short-lived wait a watch costs more than the few reads that it saves.
pub(super) async fn wait_gone(
    api: &Api<DynamicObject>,
    object: &ObjectRef,
    limit: Duration,
) -> Result<(), K8sError> {
    let end = Instant::now() + limit;
    let subject = object.to_string();
    let mut attempt = 0;
    loop {
        let read = retrying("read", &subject, limit, transient, || {
            api.get_metadata_opt(&object.name)
        });
        let Some(found) = read.await? else { return Ok(()) };
        if Instant::now() > end {
            let finalizers = found.metadata.finalizers.unwrap_or_default();
            return Err(K8sError::StillThere {
                subject: object.kubectl(),
                seconds: limit.as_secs(),
                finalizers,
            });
        }
        sleep(pause(attempt)).await;
        attempt += 1;
    }
}
