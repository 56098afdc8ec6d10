//! A change on its way into the replicas: in place, restarted, and answered by the service.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::ledger::{Stages, millis};
use super::link::{LinkError, blocking};
use super::origin::Origin;
use super::patience::telling;
use super::replicas::{Replica, Replicas};
use super::tree::Lack;
use crate::agent::protocol::{Cause, Child, Then};
use crate::agent::remote::Error as AgentError;

/// One question to a service; in between a newer change may take over.
const SLICE: Duration = Duration::from_millis(400);

/// What came of it.
#[derive(Debug)]
pub enum Applied {
    /// So many replicas answer with the change, but for these target paths: some were sent a newer save of them.
    Served(usize, BTreeSet<String>),
    /// No replica is connected; each gets it when it is.
    Nobody,
    /// Those that were connected are not any more; each gets it when it is again. What they have of it is not known.
    Lost,
    /// A newer change came before the service answered.
    Superseded,
    /// A replica's files cannot be changed in place.
    Refused(LinkError),
    /// The service does not answer, in this pod.
    NotServed(String, LinkError),
    /// A file went or could not be read.
    Source(LinkError),
}

/// Gives `lack` to every connected replica. Where the process has to restart, one replica goes first: when it does not
/// come up again, the others go on with what they have.
pub async fn apply(
    origin: &Arc<Origin>,
    replicas: &Replicas,
    lack: Lack,
    then: &Then,
    newer: &AtomicBool,
    stages: &mut Stages,
) -> Applied {
    let lack = Arc::new(lack);
    let due: Vec<Arc<Replica>> = replicas
        .all()
        .into_iter()
        .filter(|replica| replica.is_due())
        .collect();
    let first = if matches!(then, Then::Restart { .. }) {
        1
    } else {
        due.len()
    };
    let (mut served, mut unlike) = (0, BTreeSet::new());
    for group in [&due[..first.min(due.len())], &due[first.min(due.len())..]] {
        let one = |replica: &Arc<Replica>| {
            let (replica, lack) = (Arc::clone(replica), Arc::clone(&lack));
            async move {
                let given = give(origin, &replica, &lack, then, newer);
                let given = telling(given, &replica.waits, |why| replicas.waiting(&replica.pod, why)).await;
                (given, replica)
            }
        };
        let mut slowest = Stages::default();
        for (outcome, replica) in join_all(group.iter().map(one)).await {
            match outcome {
                Ok(Some((taken, others))) => {
                    served += 1;
                    unlike.extend(others);
                    slowest.ship = slowest.ship.max(taken.ship);
                    slowest.restart = slowest.restart.max(taken.restart);
                    slowest.serve = slowest.serve.max(taken.serve);
                }
                Ok(None) if newer.load(Ordering::SeqCst) => return Applied::Superseded,
                Err(
                    error @ LinkError::Agent(AgentError::Failed {
                        cause: Cause::Process,
                        ..
                    }),
                ) => {
                    return Applied::NotServed(replica.pod.clone(), error);
                }
                // Whatever its agent can't do, an image can.
                Err(error @ LinkError::Agent(AgentError::Failed { .. })) => return Applied::Refused(error),
                Err(error @ (LinkError::Source(_) | LinkError::Agent(AgentError::Source { .. }))) => {
                    return Applied::Source(error);
                }
                // It lost its connection meanwhile: it gets everything with the next one.
                Ok(None) | Err(_) => {}
            }
        }
        stages.ship += slowest.ship;
        stages.restart += slowest.restart;
        stages.serve += slowest.serve;
    }
    match served {
        0 if due.is_empty() => Applied::Nobody,
        0 => Applied::Lost,
        served => Applied::Served(served, unlike),
    }
}

/// One replica: how long it took, and what it was sent a newer save of. `None`: it is not connected any more, or somebody
/// else's turn has come.
async fn give(
    origin: &Arc<Origin>,
    replica: &Replica,
    lack: &Lack,
    then: &Then,
    newer: &AtomicBool,
) -> Result<Option<(Stages, BTreeSet<String>)>, LinkError> {
    let begun = Instant::now();
    let mut stages = Stages::default();
    let unlike = {
        let mut slot = replica.link.lock().await;
        let Some(link) = slot.as_mut() else {
            return Ok(None);
        };
        let then = then.clone();
        let change = if lack.len() > 8 {
            let (shared, lack) = (Arc::clone(origin), lack.clone());
            blocking(move || shared.change(&lack, then)).await?
        } else {
            // A few small files: a thread would cost more than reading them.
            origin.change(lack, then)?
        };
        let (applied, sent) = match link.remote.give(change).await {
            Ok(applied) => applied,
            Err(error) => {
                return match error {
                    AgentError::Failed { .. } | AgentError::Source { .. } => Err(error.into()),
                    // The connection is of no use any more; the one who keeps it sees that, too.
                    _ => {
                        *slot = None;
                        Ok(None)
                    }
                };
            }
        };
        #[allow(clippy::cast_precision_loss)] // A restart takes less than 2^52 microseconds.
        let restart = applied.restart_micros as f64 / 1000.0;
        stages.restart = restart;
        stages.ship = (millis(begun.elapsed()) - restart).max(0.0);
        origin.unlike(lack, &sent)
    };
    let asked = Instant::now();
    loop {
        let mut slot = replica.link.lock().await;
        let Some(link) = slot.as_mut() else {
            return Ok(None);
        };
        let error = match link.remote.probe(&origin.service.probe, SLICE).await {
            Ok(_) => {
                stages.serve = millis(asked.elapsed());
                return Ok(Some((stages, unlike)));
            }
            Err(
                error @ AgentError::Failed {
                    cause: Cause::Process,
                    ..
                },
            ) => error,
            Err(_) => {
                *slot = None;
                return Ok(None);
            }
        };
        replica.waits.note(Some(error.to_string()));
        let down = matches!(link.remote.ping().await, Ok(Child::Down { .. }));
        drop(slot);
        if newer.load(Ordering::SeqCst) {
            return Ok(None);
        }
        if down || asked.elapsed() > origin.service.patience {
            return Err(error.into());
        }
    }
}
