//! One service's loop: events become changes, changes become reloads, one at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::apply::{Applied, apply};
use super::batch::{Batch, Touch};
use super::decide::{Decision, Way, decide};
use super::host;
use super::images::Images;
use super::ledger::{Ledger, Stages, millis};
use super::link::{Origin, blocking};
use super::machine::{Ended, Machine, Work};
use super::outcome::{Order, Outcome, finish, until};
use super::replicas::Replicas;
use crate::failure::Diagnose;
use crate::report::{Event, ReloadPhase, Reporter};

/// A service at work.
pub struct Worker<'a> {
    /// Its source and what the replicas were given.
    pub origin: Arc<Origin>,
    /// Its replicas.
    pub replicas: Arc<Replicas>,
    /// The way of images.
    pub images: Images<'a>,
    /// Where saves are recorded.
    pub ledger: Ledger,
    /// Where events go.
    pub reporter: Reporter,
    /// Whether each path's rule is told.
    pub explain: bool,
    /// The moment that times are counted from.
    pub clock: Instant,
    /// A change came while a reload was running.
    pub newer: AtomicBool,
    /// What the build on this machine made: its events are no news.
    pub made: Mutex<BTreeSet<String>>,
}

impl Worker<'_> {
    /// Works until nobody gives orders any more. `Ok(true)`: the pods have to be planned anew.
    pub async fn run(&self, mut orders: mpsc::UnboundedReceiver<Order>) -> bool {
        let mut batch = Batch::default();
        let mut machine = Machine::default();
        let mut running = None;
        loop {
            if let Some(work) = machine.start() {
                self.newer.store(false, Ordering::SeqCst);
                running = Some(Box::pin(self.reload(work)));
            }
            let due = batch.due().map(|due| self.clock + due);
            tokio::select! {
                order = orders.recv() => {
                    let Some(order) = order else { return false };
                    let now = self.clock.elapsed();
                    self.take(&mut batch, order, now);
                    // A burst is taken in at once: a timer for each of ten thousand events would cost more than they do.
                    while let Ok(order) = orders.try_recv() {
                        self.take(&mut batch, order, now);
                    }
                }
                () = until(due) => {
                    let (begun, touched) = (batch.begun(), batch.touched());
                    let now = self.clock.elapsed();
                    if let Some(paths) = batch.take(now) {
                        self.newer.store(true, Ordering::SeqCst);
                        machine.changed(Work {
                            paths: paths.into_iter().collect(),
                            least: None,
                            begun,
                            touched,
                            detected: now,
                        });
                    }
                }
                ended = finish(&mut running) => {
                    running = None;
                    match ended {
                        Outcome::Ended(ended) => machine.ended(ended),
                        Outcome::Again(work) => {
                            machine.ended(Ended::Nothing);
                            machine.changed(work);
                        }
                        Outcome::Replan => return true,
                    }
                }
            }
        }
    }

    fn take(&self, batch: &mut Batch, order: Order, now: Duration) {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut touch = |path: &str, touch| {
            if !made.contains(path) {
                batch.touch(path, touch, now);
            }
        };
        match order {
            Order::Touched(path, how) => touch(&path, how),
            Order::Swept(paths) => paths.iter().for_each(|path| touch(path, Touch::Whole)),
        }
    }

    async fn reload(&self, work: Work) -> Outcome {
        let decided = Instant::now();
        let decision = decide(&self.origin.service.recipe, work.paths.iter().map(String::as_str));
        if self.explain {
            self.explain(&decision, work.least);
        }
        let Some(way) = decision
            .way
            .map(|way| way.max(work.least.unwrap_or(way)))
            .or(work.least)
        else {
            return Outcome::Ended(Ended::Nothing);
        };
        let mut stages = Stages {
            detect: millis(work.detected.saturating_sub(work.touched)),
            ..Stages::default()
        };
        let because = decision
            .because
            .as_ref()
            .map(|(path, rule)| format!("{path}: {rule}"));
        let mut event = self.event(
            ReloadPhase::Detected,
            &work,
            way,
            because.clone().unwrap_or_default(),
        );
        event.details = because.clone().into_iter().collect();
        self.reporter.emit(Event::Reload(event));
        match way {
            Way::Sync => self.sync(work, &decision, decided, &mut stages).await,
            Way::Swap | Way::Build => {
                // What the service has nothing to do with has no place in its image either.
                self.images.note(&decision.concerned());
                self.image(work, way, because, decided, &mut stages).await
            }
        }
    }

    async fn sync(&self, work: Work, decision: &Decision, decided: Instant, stages: &mut Stages) -> Outcome {
        let service = &self.origin.service;
        let rules = &service.recipe.rules;
        let synced = |path: &&String| rules.target(path).is_some();
        let mut paths: BTreeSet<String> = work.paths.iter().filter(synced).cloned().collect();
        let sources = decision
            .verdicts
            .iter()
            .filter(|(_, verdict)| verdict.way == Some(Way::Sync));
        if let Some(build) = service.build.as_ref().filter(|_| sources.count() > paths.len()) {
            stages.decide = millis(decided.elapsed());
            let begun = Instant::now();
            if let Err(error) = host::build(&service.name, build, &service.source, &self.reporter).await {
                self.failed(&work, Way::Sync, &error);
                return Outcome::Ended(Ended::Failed);
            }
            stages.build = millis(begun.elapsed());
            self.origin.is_built(true);
            paths.extend(self.results());
        }
        let found = Instant::now();
        let lacking = if paths.len() > 8 {
            let (origin, paths) = (Arc::clone(&self.origin), paths.clone());
            blocking(move || origin.differing(paths.iter().map(String::as_str))).await
        } else {
            self.origin
                .differing(paths.iter().map(String::as_str))
                .map_err(Into::into)
        };
        let (lack, fresh) = match lacking {
            Ok(lacking) => lacking,
            Err(error) => {
                self.failed(&work, Way::Sync, &error);
                return Outcome::Ended(Ended::Failed);
            }
        };
        if lack.is_empty() {
            return Outcome::Ended(Ended::Nothing);
        }
        if service.build.is_some() {
            let made = lack
                .writes
                .values()
                .filter(|path| !work.paths.contains(*path))
                .cloned();
            self.made
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(made);
            stages.decide += millis(found.elapsed());
        } else {
            stages.decide = millis(decided.elapsed());
        }
        let then = service.then(fresh);
        let applied = apply(
            &self.origin,
            &self.replicas,
            lack.clone(),
            &then,
            &self.newer,
            stages,
        )
        .await;
        self.images.note(&paths);
        // What not every replica has taken goes to all of them again, even if it is changed back.
        let noted = match &applied {
            Applied::Served(_) | Applied::Nobody => self.origin.gave(&lack),
            _ => {
                self.origin.doubt(&lack);
                Ok(())
            }
        };
        if let Err(error) = noted {
            self.reporter.warn(error.to_string(), error.hint());
        }
        self.told(applied, work, lack.len(), *stages)
    }

    /// Tells what a sync came to, and what follows from it.
    fn told(&self, applied: Applied, work: Work, files: usize, stages: Stages) -> Outcome {
        match applied {
            Applied::Served(replicas) => {
                self.served(&work, Way::Sync, files, replicas, stages);
                Outcome::Ended(Ended::Served)
            }
            Applied::Nobody => {
                let message = "no replica is connected: each gets the change when it is";
                self.reporter.emit(Event::Reload(self.event(
                    ReloadPhase::Lost,
                    &work,
                    Way::Sync,
                    message.to_owned(),
                )));
                Outcome::Ended(Ended::Nothing)
            }
            Applied::Superseded => Outcome::Again(work),
            Applied::Refused(error) => {
                let message = format!("can't be synced: {error}; an image is made instead");
                let mut event = self.event(ReloadPhase::Explained, &work, Way::Sync, message);
                event.details.extend(error.hint());
                self.reporter.emit(Event::Reload(event));
                Outcome::Ended(Ended::NotThisWay(Way::Sync))
            }
            Applied::NotServed(pod, error) => {
                let mut event = self.event(
                    ReloadPhase::Failed,
                    &work,
                    Way::Sync,
                    format!("not served by {pod}: {error}"),
                );
                let others = self.replicas.all().len().saturating_sub(1);
                if others > 0 {
                    event
                        .details
                        .push(format!("{others} more replicas go on with the version before"));
                }
                self.reporter.emit(Event::Reload(event));
                Outcome::Ended(Ended::Failed)
            }
            // It was there a moment ago: its next event is on its way, or has come.
            Applied::Source(_) if self.newer.load(Ordering::SeqCst) => Outcome::Again(work),
            Applied::Source(error) => {
                self.failed(&work, Way::Sync, &error);
                Outcome::Ended(Ended::Failed)
            }
        }
    }

    /// Everything that the rules copy, for builds on this machine: what it made is only known by looking.
    fn results(&self) -> Vec<String> {
        match self.origin.tree() {
            Ok(tree) => tree.files.into_values().map(|(path, _)| path).collect(),
            // Told when the change is made ready, which reads the same files.
            Err(_) => Vec::new(),
        }
    }

    async fn image(
        &self,
        work: Work,
        way: Way,
        because: Option<String>,
        decided: Instant,
        stages: &mut Stages,
    ) -> Outcome {
        stages.decide = millis(decided.elapsed());
        let service = &self.origin.service.name;
        let title = match way {
            Way::Build => format!("Build {service}"),
            Way::Sync | Way::Swap => format!("Swap {service}"),
        };
        let step = self.reporter.step(format!("reload/{service}"), title, because);
        match self
            .images
            .deliver(way, &self.origin, &self.replicas, stages, &step)
            .await
        {
            Ok(super::images::Delivered::Served { replicas, replan }) => {
                step.done(format!("{replicas} pods"));
                self.served(&work, way, work.paths.len(), replicas, *stages);
                if replan {
                    Outcome::Replan
                } else {
                    Outcome::Ended(Ended::Served)
                }
            }
            Ok(super::images::Delivered::NotThisWay(why)) => {
                step.finish(
                    crate::report::Outcome::Skipped,
                    format!("{why}: going up to a build"),
                );
                Outcome::Ended(Ended::NotThisWay(way))
            }
            Err(error) => {
                step.finish(crate::report::Outcome::Failed, error.to_string());
                self.failed(&work, way, error.as_ref());
                Outcome::Ended(Ended::Failed)
            }
        }
    }
}
