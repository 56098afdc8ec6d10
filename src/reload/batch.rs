//! When a change is over: file system events come one by one, and one save is several of them.
//!
//! A file that was closed after writing, renamed or removed is whole: a short while after the last such event the change is
//! taken. While events keep coming the while grows with their number, so that a branch switch of ten thousand files is one
//! change; a bound keeps somebody who writes without a pause from waiting for ever.

use std::collections::BTreeMap;
use std::time::Duration;

/// After the last event of a small change.
const SHORT: Duration = Duration::from_millis(20);
/// After the last event of a change of some files: an editor's "save all".
const MEDIUM: Duration = Duration::from_millis(30);
/// After the last event of hundreds of files.
const LONG: Duration = Duration::from_millis(120);
/// After the last event of thousands of files.
const LONGEST: Duration = Duration::from_millis(300);
/// A file that is being written gets this long from its last write to be closed.
const OPEN: Duration = Duration::from_millis(250);
/// A small change is taken after this even if events keep coming.
const BOUND: Duration = Duration::from_millis(250);
/// A large one after this.
const LARGE_BOUND: Duration = Duration::from_secs(5);

/// What happened to a path, as far as waiting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Created or written to; more will come.
    Begun,
    /// Closed, renamed, removed, or its mode changed: it is as it will be.
    Whole,
}

/// Paths on their way to becoming a change. Times are since any fixed moment.
#[derive(Debug, Default)]
pub struct Batch {
    paths: BTreeMap<String, (Touch, Duration)>,
    first: Duration,
    last: Duration,
}

impl Batch {
    /// Takes an event in.
    pub fn touch(&mut self, path: &str, touch: Touch, now: Duration) {
        if self.paths.is_empty() {
            self.first = now;
        }
        self.last = now;
        self.paths.insert(path.to_owned(), (touch, now));
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// When the first event came.
    pub fn begun(&self) -> Duration {
        self.first
    }

    /// When the last event came.
    pub fn touched(&self) -> Duration {
        self.last
    }

    /// When to take it, if nothing more comes.
    pub fn due(&self) -> Option<Duration> {
        if self.paths.is_empty() {
            return None;
        }
        let (quiet, bound) = match self.paths.len() {
            0..=3 => (SHORT, BOUND),
            4..=100 => (MEDIUM, BOUND * 2),
            101..=1500 => (LONG, LARGE_BOUND),
            _ => (LONGEST, LARGE_BOUND),
        };
        let open = self.paths.values().filter(|(touch, _)| *touch == Touch::Begun);
        let open = open.map(|(_, at)| *at + OPEN).max().unwrap_or_default();
        Some((self.last + quiet).max(open).min(self.first + bound.max(OPEN)))
    }

    /// Takes the paths if their time has come.
    pub fn take(&mut self, now: Duration) -> Option<Vec<String>> {
        if self.due()? > now {
            return None;
        }
        Some(std::mem::take(&mut self.paths).into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn a_save_is_taken_a_moment_after_it_was_closed() {
        let mut batch = Batch::default();
        assert_eq!(batch.due(), None);
        batch.touch("a", Touch::Begun, ms(100));
        assert_eq!(batch.due(), Some(ms(350)));
        batch.touch("a", Touch::Whole, ms(110));
        assert_eq!(batch.due(), Some(ms(130)));
        assert_eq!(batch.take(ms(129)), None);
        assert_eq!(batch.take(ms(130)), Some(vec!["a".to_owned()]));
        assert!(batch.is_empty());
    }

    #[test]
    fn many_files_are_one_change() {
        let mut batch = Batch::default();
        for number in 0..10_000u64 {
            let now = ms(number / 5);
            assert_eq!(batch.take(now), None, "torn at {number}");
            batch.touch(&number.to_string(), Touch::Whole, now);
        }
        assert_eq!(batch.take(ms(2300)).map(|paths| paths.len()), Some(10_000));
    }

    #[test]
    fn endless_writing_does_not_wait_for_ever() {
        let mut batch = Batch::default();
        let mut taken = 0;
        for now in 0..1000 {
            batch.touch("log", Touch::Begun, ms(now));
            taken += usize::from(batch.take(ms(now)).is_some());
        }
        assert!((3..=4).contains(&taken), "{taken}");
    }
}
