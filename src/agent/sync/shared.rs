//! What sessions and the supervisor share: the state of the service's process and who wants to hear of it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::agent::protocol::Child;

/// The process's state, with listeners.
pub struct Shared {
    inner: Mutex<(Child, Vec<Sender<Child>>)>,
}

impl Shared {
    /// Nothing started yet.
    pub fn new() -> Self {
        Self {
            inner: Mutex::new((Child::Waiting, Vec::new())),
        }
    }

    /// The state now.
    pub fn child(&self) -> Child {
        lock(&self.inner).0.clone()
    }

    /// Sets the state and tells everyone. Listeners that are gone are forgotten.
    pub fn publish(&self, child: Child) {
        let mut inner = lock(&self.inner);
        inner.1.retain(|listener| listener.send(child.clone()).is_ok());
        inner.0 = child;
    }

    /// Every state from now on.
    pub fn listen(&self) -> Receiver<Child> {
        let (sender, receiver) = channel();
        lock(&self.inner).1.push(sender);
        receiver
    }
}

/// A thread that panicked while it held a lock left nothing half done here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
