//! Waiting for a change to arrive, and taking it back where it can't and somebody asked for that beforehand.

use std::time::Duration;

use super::revisions;
use super::rollout::{Patience, Rollout, mark_restart, refuse_paused, settle};
use super::site::{Site, Workload};
use crate::failure::Failure;

/// Waits for a change of the pod template. Where it can't finish, the pods go back to exactly what ran `before`, if that was asked
/// for; the failure is told all the same.
pub async fn arrive(
    site: &Site,
    before: &Workload,
    now: &Workload,
    cause: &str,
    patience: Patience,
) -> Result<Rollout, Failure> {
    let settled = settle(site, now, cause, patience.within).await;
    if settled.is_err() && patience.auto_undo && is_other(before, now) {
        told(site, now, async {
            go_back(site, now, kept(site, before).await?, patience.within).await
        })
        .await;
    }
    settled
}

/// As [`arrive`], for a change that somebody made earlier: what ran before is the revision `to`, else the one before this.
pub async fn arrive_or(
    site: &Site,
    now: &Workload,
    to: Option<i64>,
    cause: &str,
    patience: Patience,
) -> Result<Rollout, Failure> {
    let settled = settle(site, now, cause, patience.within).await;
    if settled.is_err() && patience.auto_undo {
        told(site, now, go_back(site, now, to, patience.within)).await;
    }
    settled
}

/// Whether two states of a workload differ in what its pods are made of.
fn is_other(before: &Workload, now: &Workload) -> bool {
    before.value["spec"]["template"] != now.value["spec"]["template"]
}

/// Goes back to a revision, and waits.
async fn go_back(site: &Site, now: &Workload, to: Option<i64>, within: Duration) -> Result<(), Failure> {
    let (back, revision) = revisions::undo(site, now, to).await?;
    let cause = format!("back to revision {}, as --auto-undo asks", revision.revision);
    settle(site, &back, &cause, within).await?;
    Ok(())
}

/// That going back does not work out either is told, and hides nothing of why it was needed.
async fn told(site: &Site, now: &Workload, back: impl Future<Output = Result<(), Failure>>) {
    if let Err(error) = back.await {
        let problem = format!("{} could not be taken back: {error}", now.name());
        site.reporter.warn(problem, error.hint());
    }
}

/// The number that a workload's state had when it was read, as long as the cluster keeps it.
pub async fn kept(site: &Site, before: &Workload) -> Result<Option<i64>, Failure> {
    let Some(number) = number(before) else {
        return Ok(None);
    };
    let kept = revisions::history(site, before).await?;
    Ok(kept.iter().any(|one| one.revision == number).then_some(number))
}

fn number(workload: &Workload) -> Option<i64> {
    let annotations = &workload.value["metadata"]["annotations"];
    annotations["deployment.kubernetes.io/revision"]
        .as_str()?
        .parse()
        .ok()
}

/// Replaces every pod of these workloads, as their strategies say. Nothing is begun where one of them would take no change.
pub async fn restart(site: &Site, names: &[String], patience: Patience) -> Result<Vec<Rollout>, Failure> {
    let workloads = site.chosen(names).await?;
    for workload in &workloads {
        refuse_paused(workload)?;
    }
    site.cluster.recheck().await?;
    let mut changed = Vec::with_capacity(workloads.len());
    for workload in &workloads {
        changed.push(mark_restart(site, workload).await?);
    }
    let pairs = workloads.iter().zip(&changed);
    let waits = pairs.map(|(before, now)| arrive(site, before, now, "restart", patience));
    if patience.auto_undo {
        // One that fails must not keep the others from going back.
        let ends = futures::future::join_all(waits).await;
        return ends.into_iter().collect();
    }
    futures::future::try_join_all(waits).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::ObjectRef;
    use serde_json::json;

    #[test]
    fn only_a_change_of_the_pods_can_be_taken_back() {
        let workload = |replicas: u32, image: &str, revision: &str| Workload {
            id: ObjectRef::new("apps/v1", "Deployment", "n", "a"),
            value: json!({
                "metadata": {"annotations": {"deployment.kubernetes.io/revision": revision}},
                "spec": {"replicas": replicas, "template": {"image": image}},
            }),
        };
        let before = workload(1, "x:1", "7");
        assert!(is_other(&before, &workload(1, "x:2", "8")));
        assert!(!is_other(&before, &workload(2, "x:1", "7")));
        assert_eq!((number(&before), number(&workload(1, "x", "?"))), (Some(7), None));
    }
}
