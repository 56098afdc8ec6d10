//! One service's loop: events become changes, changes become reloads, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc;

use super::apply::{Applied, apply};
use super::batch::Batch;
use super::decide::{Decision, Verdict, Way, decide};
use super::images::{Delivered, Images};
use super::ledger::{Ledger, Stages, millis};
use super::link::{LinkError, blocking};
use super::machine::{Ended, Machine, Work};
use super::origin::Origin;
use super::outcome::{Order, Outcome, finish, until};
use super::replicas::Replicas;
use super::{ReloadError, host};
use crate::agent::protocol::Node;
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
    /// What the running sync gives, by path below the source: events of exactly that are no news.
    pub giving: Mutex<BTreeMap<String, Node>>,
}

impl Worker<'_> {
    /// Works until nobody gives orders any more. `Ok(true)`: the pods have to be planned anew.
    pub async fn run(&self, mut orders: mpsc::UnboundedReceiver<Order>) -> bool {
        let mut batch = Batch::default();
        let mut machine = Machine::default();
        let mut running = None;
        self.told_behind(&machine);
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
                    order.take(&mut batch, &mut machine, now);
                    // A burst is taken in at once: a timer for each of ten thousand events would cost more than they do.
                    while let Ok(order) = orders.try_recv() {
                        order.take(&mut batch, &mut machine, now);
                    }
                    if machine.owes() {
                        self.told_behind(&machine);
                    }
                }
                () = until(due) => {
                    let (begun, touched) = (batch.begun(), batch.touched());
                    let now = self.clock.elapsed();
                    if let Some(paths) = batch.take(now) {
                        if self.is_news(&paths) {
                            self.newer.store(true, Ordering::SeqCst);
                        }
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
                    self.told_behind(&machine);
                }
            }
        }
    }

    fn giving(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Node>> {
        self.giving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a running sync is to make way for these paths. A build on this machine writes what is being given.
    fn is_news(&self, paths: &[String]) -> bool {
        let giving = self.giving();
        giving.is_empty()
            || !self
                .origin
                .holds(paths.iter().map(|path| (path, giving.get(path))))
    }

    /// Notes what is not served, for `reload status`.
    fn told_behind(&self, machine: &Machine) {
        if let Err(error) = self.origin.behind(&machine.unserved()) {
            self.reporter.warn(error.to_string(), error.hint());
        }
    }

    /// What of a change the image that runs has as it is. Syncing compares by itself.
    async fn unchanged(&self, work: &Work, decision: &Decision) -> BTreeSet<String> {
        if work.least.is_some() || self.origin.is_held() {
            return BTreeSet::new();
        }
        let by_image = |verdict: &Verdict| verdict.way > Some(Way::Sync);
        let verdicts = decision.verdicts.iter().filter(|(_, verdict)| by_image(verdict));
        let paths: BTreeSet<String> = verdicts.map(|(path, _)| path.clone()).collect();
        if paths.is_empty() {
            return paths;
        }
        self.images.has(paths, self.clock + work.begun).await
    }

    async fn reload(&self, mut work: Work) -> Outcome {
        let decided = Instant::now();
        let recipe = &self.origin.service.recipe;
        let mut decision = decide(recipe, work.paths.iter().map(String::as_str));
        let same = self.unchanged(&work, &decision).await;
        if !same.is_empty() {
            work.paths.retain(|path| !same.contains(path));
            decision = decide(recipe, work.paths.iter().map(String::as_str));
        }
        if self.explain {
            self.explain_same(&same);
        }
        if self.explain {
            self.explain(&decision, work.least);
        }
        let Some(mut way) = decision
            .way
            .map(|way| way.max(work.least.unwrap_or(way)))
            .or(work.least)
        else {
            return Outcome::Ended(Ended::Nothing);
        };
        // After an image that failed the replicas are as the one before made them: only another image is sure to mend that.
        let held = self.origin.hold(false);
        if held {
            way = way.max(Way::Swap);
        }
        // With the time that it waited for its turn.
        let mut stages = Stages {
            detect: millis(self.clock.elapsed().saturating_sub(work.touched)),
            ..Stages::default()
        };
        let because = decision
            .because
            .as_ref()
            .map(|(path, rule)| format!("{path}: {rule}"));
        match way {
            Way::Sync => self.sync(work, &decision, because, decided, &mut stages).await,
            Way::Swap | Way::Build => {
                // What the service has nothing to do with has no place in its image either.
                self.images.note(&decision.concerned());
                let outcome = self.image(work, way, because, decided, &mut stages).await;
                let mended = matches!(outcome, Outcome::Ended(Ended::Served) | Outcome::Replan);
                if held && !mended {
                    self.origin.hold(true);
                }
                outcome
            }
        }
    }

    fn detected(&self, work: &Work, way: Way, because: Option<&String>) {
        let message = because.cloned().unwrap_or_default();
        let mut event = self.event(ReloadPhase::Detected, work, way, message);
        event.details = because.cloned().into_iter().collect();
        self.reporter.emit(Event::Reload(event));
    }

    async fn sync(
        &self,
        work: Work,
        decision: &Decision,
        because: Option<String>,
        decided: Instant,
        stages: &mut Stages,
    ) -> Outcome {
        let service = &self.origin.service;
        let rules = &service.recipe.rules;
        let synced = |path: &&String| rules.target(path).is_some();
        let mut paths: BTreeSet<String> = work.paths.iter().filter(synced).cloned().collect();
        let sources = decision
            .verdicts
            .iter()
            .filter(|(_, verdict)| verdict.way == Some(Way::Sync));
        let mut built = false;
        stages.decide = millis(decided.elapsed());
        if service.build.is_some() && sources.count() > paths.len() {
            let begun = Instant::now();
            let begins = || self.detected(&work, Way::Sync, because.as_ref());
            match host::make(&self.origin, &self.reporter, begins).await {
                Ok(done) => built = done,
                Err(LinkError::Source(error @ ReloadError::NoBuilder { .. })) => {
                    return self.told(Applied::Refused(error.into()), work, 0, *stages);
                }
                Err(error) => {
                    self.failed(&work, Way::Sync, &error);
                    return Outcome::Ended(Ended::Failed);
                }
            }
            stages.build = millis(begun.elapsed());
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
        let lack = match lacking {
            Ok(lacking) => lacking,
            Err(error) => {
                self.failed(&work, Way::Sync, &error);
                return Outcome::Ended(Ended::Failed);
            }
        };
        // Also where a replica has just been brought in step with them: the image has not.
        self.images.note(&paths);
        if lack.is_empty() {
            return Outcome::Ended(Ended::Nothing);
        }
        if built {
            // Told when the build began.
            let given = lack.writes.iter();
            let given =
                given.filter_map(|(target, path)| Some((path.clone(), lack.nodes.get(target)?.clone())));
            *self.giving() = given.collect();
            stages.decide += millis(found.elapsed());
        } else {
            stages.decide += millis(found.elapsed());
            self.detected(&work, Way::Sync, because.as_ref());
        }
        let then = service.then();
        let applied = apply(
            &self.origin,
            &self.replicas,
            lack.clone(),
            &then,
            &self.newer,
            stages,
        )
        .await;
        self.giving().clear();
        // What not every replica has taken goes to all of them again, even if it is changed back.
        let noted = match &applied {
            Applied::Served(_, unlike) => self.origin.gave(&lack, unlike),
            Applied::Nobody => self.origin.gave(&lack, &BTreeSet::new()),
            _ => self.origin.doubt(&lack),
        };
        if let Err(error) = noted {
            self.reporter.warn(error.to_string(), error.hint());
        }
        self.told(applied, work, lack.len(), *stages)
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
        // What replicas are given from now on is compared with what the new image makes them of.
        self.origin.doubt_paths(&work.paths);
        self.detected(&work, way, because.as_ref());
        stages.decide = millis(decided.elapsed());
        // The replicas get what is built on this machine over the new image, too: it must be of the same source.
        let begun = Instant::now();
        match host::make(&self.origin, &self.reporter, || {}).await {
            Ok(true) => stages.build = millis(begun.elapsed()),
            Ok(false) => {}
            // What it left earlier is older than the image.
            Err(LinkError::Source(ReloadError::NoBuilder { .. })) => self.origin.has_results(false),
            Err(error) => {
                self.failed(&work, way, &error);
                return Outcome::Ended(Ended::Failed);
            }
        }
        let service = &self.origin.service.name;
        let title = match way {
            Way::Build => format!("Build {service}"),
            Way::Sync | Way::Swap => format!("Swap {service}"),
        };
        let step = self.reporter.step(format!("reload/{service}"), title, because);
        match self
            .images
            .deliver(way, &self.origin, &self.replicas, &self.newer, stages, &step)
            .await
        {
            Ok(Delivered::Served(replicas)) => {
                step.done(format!("{replicas} pods"));
                self.served(&work, way, work.paths.len(), replicas, *stages);
                // Which way a file goes is read off the Dockerfile: with another one it is to be read anew.
                if way == Way::Build && self.origin.service.is_outdated() {
                    return Outcome::Replan;
                }
                Outcome::Ended(Ended::Served)
            }
            Ok(Delivered::Replan) => {
                step.done("it runs another command: its pods are planned anew");
                Outcome::Replan
            }
            Ok(Delivered::NotThisWay(why)) => {
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
