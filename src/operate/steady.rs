//! Looking again and again: a cluster that does not answer for a moment is no reason to stop looking.

use crate::failure::{Failure, Family};
use crate::report::Reporter;

/// Whether the last look failed, so that it is said once, and once that it works again.
#[derive(Debug)]
pub struct Steady {
    reporter: Reporter,
    lost: bool,
}

impl Steady {
    /// Tells of it there.
    pub fn new(reporter: Reporter) -> Self {
        Self {
            reporter,
            lost: false,
        }
    }

    /// What a look found; `None` where it failed in a way that may pass, and is to be tried again.
    pub fn look<T>(&mut self, found: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match found {
            Ok(found) => {
                if std::mem::take(&mut self.lost) {
                    self.reporter.note("back");
                }
                Ok(Some(found))
            }
            Err(error) if may_pass(error.family()) => {
                if !std::mem::replace(&mut self.lost, true) {
                    self.reporter
                        .warn(format!("{error}; trying again until it is back"), error.hint());
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether it is the cluster that failed, and not what was asked of it.
fn may_pass(family: Family) -> bool {
    matches!(family, Family::Cluster | Family::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Plain;
    use crate::report::{Event, Sink};
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Sink for Heard {
        fn emit(&self, event: Event) {
            if let Event::Warning { message, .. } | Event::Note { message } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }

    #[test]
    fn a_lost_cluster_is_told_once_and_so_is_its_return() {
        let heard = Arc::new(Heard::default());
        let mut steady = Steady::new(Reporter::new(Arc::clone(&heard) as Arc<dyn Sink>));
        let lost = |family| -> Result<u8, Failure> { Err(Plain::new(family, "no answer").into()) };
        assert_eq!(steady.look(Ok(1)).unwrap(), Some(1));
        assert_eq!(steady.look(lost(Family::Cluster)).unwrap(), None);
        assert_eq!(steady.look(lost(Family::Timeout)).unwrap(), None);
        assert_eq!(steady.look(Ok(2)).unwrap(), Some(2));
        assert!(steady.look(lost(Family::Usage)).is_err());
        let heard = heard.0.lock().unwrap();
        assert_eq!(*heard, ["no answer; trying again until it is back", "back"]);
    }
}
