//! What a worker tells of its reloads.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::apply::Applied;
use super::decide::{Decision, Way};
use super::ledger::{Entry, Stages};
use super::machine::{Ended, Work};
use super::outcome::Outcome;
use super::worker::Worker;
use crate::failure::Diagnose;
use crate::report::{Event, Reload, ReloadPhase};

/// How many paths an event names.
const NAMED: usize = 20;

impl Worker<'_> {
    /// Records a save that is served, and tells of it.
    pub(super) fn served(&self, work: &Work, way: Way, files: usize, replicas: usize, stages: Stages) {
        let entry = Entry::new(&self.origin.service.name, way, files, replicas, stages);
        self.record(&entry);
        let first = work.paths.first().map(String::as_str).unwrap_or_default();
        let what = match work.paths.len() {
            0 => "everything".to_owned(),
            1 => first.to_owned(),
            more => format!("{first} and {} more", more - 1),
        };
        let to = if replicas == 1 {
            String::new()
        } else {
            format!(", {replicas} replicas")
        };
        let message = format!(
            "{way}  {what}  {:.0} ms  ({}{to})",
            entry.reloaded.total,
            stages.told()
        );
        let mut event = self.event(ReloadPhase::Served, work, way, message);
        event.milliseconds = serde_json::to_value(stages).unwrap_or_default();
        self.reporter.emit(Event::Reload(event));
    }

    /// Tells what a sync came to, and what follows from it.
    pub(super) fn told(&self, applied: Applied, work: Work, files: usize, stages: Stages) -> Outcome {
        match applied {
            Applied::Served(replicas, _) => {
                self.served(&work, Way::Sync, files, replicas, stages);
                Outcome::Ended(Ended::Served)
            }
            Applied::Nobody | Applied::Lost => {
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
                self.not_served(&work, Way::Sync);
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

    fn record(&self, entry: &Entry) {
        if let Err(error) = self.ledger.add(entry) {
            self.reporter
                .warn(format!("the latency ledger can't be written: {error}"), None);
        }
    }

    /// Records a save that could not be served.
    fn not_served(&self, work: &Work, way: Way) {
        self.record(&Entry::failed(&self.origin.service.name, way, work.paths.len()));
    }

    /// Records that a change is not served, and tells why.
    pub(super) fn failed(&self, work: &Work, way: Way, error: &dyn Diagnose) {
        self.not_served(work, way);
        let mut event = self.event(ReloadPhase::Failed, work, way, error.to_string());
        event.details = error.details();
        event.details.extend(error.hint());
        self.reporter.emit(Event::Reload(event));
    }

    /// Tells the rule of each path.
    pub(super) fn explain(&self, decision: &Decision, least: Option<Way>) {
        for (path, verdict) in decision.verdicts.iter().take(NAMED) {
            let way = verdict.way.map_or("nothing", Way::word);
            let message = format!("{path}: {way}, because {}", verdict.rule);
            self.tell(ReloadPhase::Explained, message);
        }
        if decision.verdicts.len() > NAMED {
            self.tell(
                ReloadPhase::Explained,
                format!("and {} more paths", decision.verdicts.len() - NAMED),
            );
        }
        if let Some(least) = least {
            self.tell(
                ReloadPhase::Explained,
                format!("at least {least}, because a lower way could not do it"),
            );
        }
    }

    /// Tells what was touched and is the same.
    pub(super) fn explain_same(&self, paths: &BTreeSet<String>) {
        for path in paths.iter().take(NAMED) {
            let message = format!("{path}: nothing, because the image that runs has it as it is");
            self.tell(ReloadPhase::Explained, message);
        }
    }

    /// Tells one line.
    pub(super) fn tell(&self, phase: ReloadPhase, message: String) {
        self.reporter.emit(Event::Reload(Reload::new(
            &self.origin.service.name,
            phase,
            message,
        )));
    }

    /// An event about a change.
    pub(super) fn event(&self, phase: ReloadPhase, work: &Work, way: Way, message: String) -> Reload {
        let mut event = Reload::new(&self.origin.service.name, phase, message);
        event.way = Some(way.word());
        event.files = work.paths.len();
        event.paths = work.paths.iter().take(NAMED).cloned().collect();
        event
    }
}
