//! Telling somebody who waits for a save what it is that takes so long.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Nobody wonders before that.
const SILENT: Duration = Duration::from_secs(2);

/// What something waits for, as far as is known.
#[derive(Debug, Default)]
pub struct Reason(Mutex<Option<String>>);

impl Reason {
    /// Notes it.
    pub fn note(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Does some work; calls `tell`, once, where it takes long.
pub async fn telling<T>(
    work: impl Future<Output = T>,
    reason: &Reason,
    tell: impl FnOnce(Option<String>),
) -> T {
    reason.note(None);
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = tokio::time::sleep(SILENT) => tell(reason.get()),
    }
    work.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_wait_is_told_once_with_its_reason() {
        let told = Mutex::new(Vec::new());
        let tell = |why| told.lock().unwrap().push(why);
        let reason = Reason::default();
        reason.note(Some("of an earlier wait".to_owned()));
        assert_eq!(telling(async { 1 }, &reason, tell).await, 1);
        assert!(told.lock().unwrap().is_empty());
        let slow = async {
            reason.note(Some("it answers 503".to_owned()));
            tokio::time::sleep(SILENT + SILENT / 4).await;
            2
        };
        assert_eq!(telling(slow, &reason, tell).await, 2);
        assert_eq!(*told.lock().unwrap(), [Some("it answers 503".to_owned())]);
    }
}
