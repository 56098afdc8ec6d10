//! What a worker is told, what a reload comes to, and waiting for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::batch::{Batch, Touch};
use super::decide::Way;
use super::machine::{Ended, Machine, Work};

/// What a worker is told.
#[derive(Debug)]
pub enum Order {
    /// A file of its source was touched.
    Touched(String, Touch),
    /// Many were.
    Swept(Vec<String>),
    /// What runs is of an older source, and nobody knows what of it changed.
    Behind {
        /// Bringing it there has just failed: it waits for the next save.
        tried: bool,
    },
}

impl Order {
    /// Takes it in, at `now`.
    pub fn take(self, batch: &mut Batch, machine: &mut Machine, now: Duration) {
        match self {
            Self::Touched(path, how) => batch.touch(&path, how, now),
            Self::Swept(paths) => paths.iter().for_each(|path| batch.touch(path, Touch::Whole, now)),
            Self::Behind { tried } => {
                let work = Work {
                    paths: BTreeSet::new(),
                    least: Some(Way::Build),
                    begun: now,
                    touched: now,
                    detected: now,
                };
                if tried {
                    machine.failed(work);
                } else {
                    machine.changed(work);
                }
            }
        }
    }
}

/// What a reload comes to.
pub enum Outcome {
    /// It ended.
    Ended(Ended),
    /// To be tried again at once.
    Again(Work),
    /// The pods have to be planned anew.
    Replan,
}

/// The running reload's outcome; never, where none runs.
pub async fn finish<'r, F: Future<Output = Outcome> + 'r>(
    running: &mut Option<std::pin::Pin<Box<F>>>,
) -> Outcome {
    match running {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
}

/// Until then; for ever, where nothing is due.
pub async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending::<()>().await,
    }
}
