//! Old images go when nobody is waiting: after a removal containerd collects its garbage, which holds up an import that runs
//! at the same time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::JoinHandle;

/// What of a moving tag's images is kept, by the tag.
type Due = Arc<Mutex<BTreeMap<String, Vec<String>>>>;
/// Removes all images of a moving tag but these.
type Prune = Arc<dyn Fn(String, Vec<String>) -> BoxFuture<'static, ()> + Send + Sync>;

/// Tidying that waits until there has been nothing to do for a while.
pub struct Tidy {
    pause: Duration,
    prune: Prune,
    due: Due,
    timer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Tidy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tidy")
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}

impl Tidy {
    /// Calls `prune` for what is due when nothing was for so long.
    pub fn new(
        pause: Duration,
        prune: impl Fn(String, Vec<String>) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            pause,
            prune: Arc::new(prune),
            due: Due::default(),
            timer: Mutex::default(),
        }
    }

    /// A new image of this tag is on its way: nobody has said yet that it is to be kept, so nothing of the tag goes until
    /// [`Self::is_due`], and nothing of the others for a while.
    pub fn is_busy(&self, moving: &str) {
        lock(&self.due).remove(moving);
        self.wait();
    }

    /// All images of this tag but `kept` may go.
    pub fn is_due(&self, moving: &str, kept: Vec<String>) {
        lock(&self.due).insert(moving.to_owned(), kept);
        self.wait();
    }

    /// Waits anew. What is being tidied is broken off, and tidied again.
    fn wait(&self) {
        let mut timer = lock(&self.timer);
        if let Some(before) = timer.take() {
            before.abort();
        }
        if lock(&self.due).is_empty() {
            return;
        }
        let (pause, prune, due) = (self.pause, Arc::clone(&self.prune), Arc::clone(&self.due));
        *timer = Some(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let all = lock(&due).clone();
            for (moving, kept) in all {
                prune(moving.clone(), kept.clone()).await;
                let mut due = lock(&due);
                if due.get(&moving) == Some(&kept) {
                    due.remove(&moving);
                }
            }
        }));
    }
}

/// What is left undone is found by the next session.
impl Drop for Tidy {
    fn drop(&mut self) {
        if let Some(timer) = lock(&self.timer).take() {
            timer.abort();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(150);

    #[tokio::test]
    async fn images_go_in_a_quiet_moment_and_never_under_one_that_is_on_its_way() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&done);
        let tidy = Tidy::new(PAUSE, move |moving, kept| {
            lock(&noted).push((moving, kept));
            Box::pin(async {})
        });
        tidy.is_due("a:dev", vec!["a:dev-1".to_owned()]);
        tidy.is_due("b:dev", vec!["b:dev-1".to_owned()]);
        tidy.is_busy("a:dev");
        assert!(lock(&done).is_empty(), "nothing goes at once");
        tokio::time::sleep(PAUSE * 3).await;
        assert_eq!(*lock(&done), [("b:dev".to_owned(), vec!["b:dev-1".to_owned()])]);
        tidy.is_due("a:dev", vec!["a:dev-2".to_owned()]);
        tokio::time::sleep(PAUSE * 3).await;
        assert_eq!(lock(&done).len(), 2, "and each goes once");
    }
}
