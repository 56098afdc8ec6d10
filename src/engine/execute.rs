//! Runs a plan's steps: each as soon as those it needs have ended well, all that can side by side.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Several};
use crate::plan::{Plan, PlanStep};

/// How one step ended.
#[derive(Debug)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// Its cause.
    pub cause: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Runs every step through `run`. When one fails no further step is begun, and `failed` is set, for those that only wait to
/// end as well. Those that change something are brought to their end, because half of an image import or of a cluster's
/// creation helps nobody. The first failure is returned, with the others below it.
pub async fn carry_out<'a, F, Run>(
    plan: &'a Plan,
    failed: &CancellationToken,
    run: F,
) -> Result<Vec<Ended>, Failure>
where
    F: Fn(&'a PlanStep) -> Run,
    Run: Future<Output = Result<f64, Failure>>,
{
    let mut waiting: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        waiting.insert(index, step.needs.iter().map(String::as_str).collect());
    }
    let mut running = FuturesUnordered::new();
    let mut ended = Vec::new();
    let mut failures: Vec<Failure> = Vec::new();
    loop {
        if failures.is_empty() {
            let ready: Vec<usize> = waiting
                .iter()
                .filter(|(_, needs)| needs.is_empty())
                .map(|(index, _)| *index)
                .collect();
            for index in ready {
                waiting.remove(&index);
                let step = &plan.steps[index];
                let work = run(step);
                running.push(async move { (step, work.await) });
            }
        }
        let Some((step, result)) = running.next().await else {
            break;
        };
        match result {
            Ok(seconds) => {
                for needs in waiting.values_mut() {
                    needs.remove(step.id.as_str());
                }
                let (id, cause) = (step.id.clone(), step.cause.clone());
                ended.push(Ended { id, cause, seconds });
            }
            Err(error) => {
                failed.cancel();
                failures.push(error);
            }
        }
    }
    Several::of(failures).map_or(Ok(ended), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::failure::{Family, Plain};
    use crate::plan::Action;

    fn step(id: &str, needs: &[&str]) -> PlanStep {
        PlanStep {
            id: id.into(),
            title: id.into(),
            cause: "test".into(),
            needs: needs.iter().map(ToString::to_string).collect(),
            action: Action::StartCluster,
        }
    }

    #[tokio::test]
    async fn steps_wait_for_their_needs_and_run_side_by_side() {
        let plan = Plan {
            steps: vec![
                step("a", &[]),
                step("b", &["a"]),
                step("c", &[]),
                step("d", &["b", "c"]),
            ],
        };
        let order = Mutex::new(Vec::new());
        let barrier = tokio::sync::Barrier::new(2);
        let run = |step: &PlanStep| {
            let (order, barrier, id) = (&order, &barrier, step.id.clone());
            async move {
                // `a` and `c` meet here, or the test never ends.
                if id == "a" || id == "c" {
                    barrier.wait().await;
                }
                order.lock().expect("order").push(id);
                Ok(0.0)
            }
        };
        carry_out(&plan, &CancellationToken::new(), run)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let order = order.into_inner().expect("order");
        let place = |id: &str| order.iter().position(|other| other == id).expect(id);
        assert!(place("a") < place("b") && place("b") < place("d") && place("c") < place("d"));
    }

    #[tokio::test]
    async fn nothing_is_begun_after_a_failure() {
        let plan = Plan {
            steps: vec![step("a", &[]), step("b", &["a"])],
        };
        let run = |step: &PlanStep| {
            let id = step.id.clone();
            async move {
                assert_eq!(id, "a");
                Err(Plain::new(Family::Cluster, "broken").into())
            }
        };
        let error = carry_out(&plan, &CancellationToken::new(), run)
            .await
            .expect_err("fails");
        assert_eq!(error.to_string(), "broken");
    }

    #[tokio::test]
    async fn a_failure_ends_what_only_waits_and_others_are_told_below_it() {
        let plan = Plan {
            steps: vec![step("waits", &[]), step("changes", &[]), step("fails", &[])],
        };
        let failed = CancellationToken::new();
        let changed = Mutex::new(false);
        let run = |step: &PlanStep| {
            let (id, failed, changed) = (step.id.clone(), &failed, &changed);
            async move {
                let failure = |what: &str| Err(Plain::new(Family::Timeout, what).into());
                match id.as_str() {
                    "fails" => failure("broken"),
                    // Without the sign it would wait for ever.
                    "waits" => {
                        failed.cancelled().await;
                        failure("broken as well")
                    }
                    _ => {
                        failed.cancelled().await;
                        *changed.lock().expect("flag") = true;
                        Ok(0.0)
                    }
                }
            }
        };
        let error = carry_out(&plan, &failed, run).await.expect_err("fails");
        assert!(changed.into_inner().expect("flag"), "what changes something ends");
        assert_eq!(error.to_string(), "broken");
        assert_eq!(error.details(), ["also: broken as well"]);
    }
}
