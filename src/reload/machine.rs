//! One service's reloads: one at a time, nothing lost, the newest content wins.
//!
//! Only paths are kept, never contents: what is sent is read when it is sent. A path that changes while a reload runs is
//! simply due again.

use std::collections::BTreeSet;
use std::time::Duration;

use super::decide::Way;

/// What a reload is to bring into the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Changed paths below the source.
    pub paths: BTreeSet<String>,
    /// At least this way, because a lower one failed or a person asked for it.
    pub least: Option<Way>,
    /// When the oldest of its events came.
    pub begun: Duration,
    /// When its last event came.
    pub touched: Duration,
    /// When it was taken for a change.
    pub detected: Duration,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Served.
    Served,
    /// This way cannot do it: go up, by itself.
    NotThisWay(Way),
    /// The files, the build or the service are at fault: the next save is tried, with what is due now.
    Failed,
    /// Nothing to do for the service.
    Nothing,
}

/// The state of one service.
#[derive(Debug, Default)]
pub struct Machine {
    running: Option<Work>,
    /// Came while a reload was running, or is due again.
    waiting: Option<Work>,
    /// Failed: goes along with the next save.
    unserved: BTreeSet<String>,
    /// The way that what failed had gone up to.
    least: Option<Way>,
}

impl Machine {
    /// A change was detected.
    pub fn changed(&mut self, work: Work) {
        match &mut self.waiting {
            None => self.waiting = Some(work),
            Some(waiting) => {
                waiting.paths.extend(work.paths);
                waiting.least = waiting.least.max(work.least);
                waiting.touched = work.touched;
                waiting.detected = work.detected;
            }
        }
    }

    /// The next reload, if none runs and something is due.
    pub fn start(&mut self) -> Option<Work> {
        if self.running.is_some() {
            return None;
        }
        let mut work = self.waiting.take()?;
        work.paths.append(&mut self.unserved);
        work.least = work.least.max(self.least.take());
        self.running = Some(work.clone());
        Some(work)
    }

    /// The running reload ended.
    pub fn ended(&mut self, ended: Ended) {
        let Some(work) = self.running.take() else { return };
        match ended {
            Ended::Served | Ended::Nothing => {}
            Ended::Failed => self.failed(work),
            Ended::NotThisWay(way) => match way.above() {
                Some(above) => {
                    let newer = self.waiting.take();
                    self.changed(Work {
                        least: Some(above),
                        ..work
                    });
                    if let Some(newer) = newer {
                        self.changed(newer);
                    }
                }
                None => self.failed(work),
            },
        }
    }

    /// Notes what has failed: it goes along with the next save.
    pub fn failed(&mut self, work: Work) {
        self.unserved.extend(work.paths);
        self.least = self.least.max(work.least);
    }

    /// Whether a reload runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether everything detected is served.
    pub fn is_settled(&self) -> bool {
        self.running.is_none() && self.waiting.is_none() && self.unserved.is_empty() && self.least.is_none()
    }

    /// Whether a build of everything has failed.
    pub fn owes(&self) -> bool {
        self.least.is_some()
    }

    /// Paths that a failed reload left; `.` where it was of the source as a whole.
    pub fn unserved(&self) -> BTreeSet<String> {
        match self.least {
            Some(_) if self.unserved.is_empty() => BTreeSet::from([".".to_owned()]),
            _ => self.unserved.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(paths: &[&str], at: u64) -> Work {
        Work {
            paths: paths.iter().map(ToString::to_string).collect(),
            least: None,
            begun: Duration::from_millis(at),
            touched: Duration::from_millis(at),
            detected: Duration::from_millis(at + 20),
        }
    }

    fn paths(work: &Work) -> Vec<&str> {
        work.paths.iter().map(String::as_str).collect()
    }

    #[test]
    fn saves_during_a_reload_are_one_reload_after_it() {
        let mut machine = Machine::default();
        machine.changed(work(&["a"], 0));
        assert_eq!(paths(&machine.start().unwrap()), ["a"]);
        machine.changed(work(&["b"], 100));
        machine.changed(work(&["a", "c"], 200));
        assert_eq!(machine.start(), None);
        machine.ended(Ended::Served);
        let next = machine.start().unwrap();
        assert_eq!(
            (paths(&next), next.begun),
            (vec!["a", "b", "c"], Duration::from_millis(100))
        );
        machine.ended(Ended::Served);
        assert!(machine.is_settled());
    }

    #[test]
    fn what_failed_goes_along_with_the_next_save() {
        let mut machine = Machine::default();
        machine.changed(work(&["bad"], 0));
        machine.start();
        machine.ended(Ended::Failed);
        assert_eq!(
            (machine.start(), machine.unserved()),
            (None, ["bad".to_owned()].into())
        );
        machine.changed(work(&["good"], 50));
        assert_eq!(paths(&machine.start().unwrap()), ["bad", "good"]);
    }

    #[test]
    fn a_build_of_everything_that_failed_is_due_with_the_next_save() {
        let mut machine = Machine::default();
        machine.changed(Work {
            least: Some(Way::Build),
            ..work(&[], 0)
        });
        machine.start();
        machine.ended(Ended::Failed);
        assert_eq!(machine.unserved(), [".".to_owned()].into());
        assert!(!machine.is_settled());
        machine.changed(work(&["good"], 50));
        assert_eq!(machine.start().unwrap().least, Some(Way::Build));
        machine.ended(Ended::Served);
        assert!(machine.is_settled() && machine.unserved().is_empty());
    }

    #[test]
    fn a_way_that_cannot_goes_up_by_itself() {
        let mut machine = Machine::default();
        machine.changed(work(&["a"], 0));
        machine.start();
        machine.changed(work(&["b"], 10));
        machine.ended(Ended::NotThisWay(Way::Sync));
        let next = machine.start().unwrap();
        assert_eq!((paths(&next), next.least), (vec!["a", "b"], Some(Way::Swap)));
        machine.ended(Ended::NotThisWay(Way::Swap));
        assert_eq!(machine.start().unwrap().least, Some(Way::Build));
        machine.ended(Ended::NotThisWay(Way::Build));
        assert!(machine.start().is_none() && !machine.is_settled());
    }
}
