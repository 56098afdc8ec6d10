//! What every session works with.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hyper::header::HeaderMap;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::files;
use super::options::Options;
use super::shared::{Shared, lock};
use super::store::Store;
use super::supervisor::{Acted, Order};
use crate::agent::protocol::{self, Cause, Child, Then, Welcome, tree_digest};
use crate::agent::{client, digest};

/// Between two tries of a probe: short beside the time a service takes to start.
const PROBE_PAUSE: Duration = Duration::from_millis(4);
/// One try of a probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

/// Shared by all sessions.
pub struct Context {
    /// What the agent was told.
    pub options: Options,
    /// Files and log.
    pub store: Mutex<Store>,
    /// The process's state.
    pub shared: Arc<Shared>,
    /// Runs probes.
    pub runtime: Handle,
    orders: mpsc::UnboundedSender<Order>,
    sessions: AtomicUsize,
    program: OnceLock<String>,
}

impl Context {
    /// A context that sends its orders to `orders`.
    pub fn new(
        options: Options,
        store: Store,
        shared: Arc<Shared>,
        orders: mpsc::UnboundedSender<Order>,
    ) -> Self {
        let (sessions, program) = (AtomicUsize::new(0), OnceLock::new());
        let runtime = Handle::current();
        Self {
            options,
            store: Mutex::new(store),
            shared,
            runtime,
            orders,
            sessions,
            program,
        }
    }

    /// Whether `token` is the session's. An empty or missing file lets nobody in.
    pub fn admits(&self, token: &str) -> bool {
        let Ok(expected) = std::fs::read_to_string(&self.options.token_file) else {
            return false;
        };
        let expected = expected.trim();
        // Comparing digests takes the same time whatever the difference.
        !expected.is_empty() && digest::hex(expected.as_bytes()) == digest::hex(token.as_bytes())
    }

    /// What a new session is told first.
    pub fn welcome(&self) -> Welcome {
        let entries = lock(&self.store).entries();
        let program = self.program.get_or_init(|| {
            // Not readable is not the CLI's program: it will offer its own.
            files::hash(std::path::Path::new("/proc/self/exe")).unwrap_or_default()
        });
        Welcome {
            protocol: protocol::VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            program: program.clone(),
            roots: self
                .options
                .roots
                .iter()
                .map(|root| root.to_string_lossy().into_owned())
                .collect(),
            changed: entries.len(),
            log: tree_digest(&entries),
            child: self.shared.child(),
        }
    }

    /// Counts sessions; the supervisor waits for one that is there.
    pub fn session_began(&self) {
        let count = self.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        self.order(Order::Sessions(count));
    }

    /// The opposite.
    pub fn session_ended(&self) {
        let count = self.sessions.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        self.order(Order::Sessions(count));
    }

    /// The path, if it is plain and below a root.
    pub fn allowed(&self, path: &str) -> Result<PathBuf, (String, Cause)> {
        let plain = files::plain(path)
            .ok_or_else(|| (format!("{path:?} is not an absolute, plain path"), Cause::BadPath))?;
        if self.options.roots.iter().any(|root| plain.starts_with(root)) {
            return Ok(plain);
        }
        Err((
            format!("{path} is below none of the agent's roots"),
            Cause::BadPath,
        ))
    }

    /// Sends an order. The supervisor is gone only when the agent ends.
    pub fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Has the supervisor act, and waits until it has.
    pub fn act(&self, then: Then) -> Result<Acted, String> {
        self.answered(|answer| Order::Act(then, answer))
    }

    /// Ends the wait for the first session.
    pub fn start(&self) -> Result<Acted, String> {
        self.answered(Order::Start)
    }

    fn answered(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<Acted, String>>) -> Order,
    ) -> Result<Acted, String> {
        let (sender, receiver) = oneshot::channel();
        self.order(order(sender));
        receiver
            .blocking_recv()
            .map_err(|_| "the agent is ending".to_owned())?
    }

    /// Asks `url` until it answers as the kubelet's probes want it to; gives up at the deadline or when the process goes down.
    pub fn probe(&self, url: &str, deadline_millis: u64) -> Result<(u64, u32), String> {
        let start = Instant::now();
        let deadline = Duration::from_millis(deadline_millis);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let asked = self.runtime.block_on(async {
                tokio::time::timeout(PROBE_PATIENCE, client::get(url, HeaderMap::new())).await
            });
            let why = match asked {
                Ok(Ok((status, _))) if is_well(status) => {
                    return Ok((
                        u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
                        attempts,
                    ));
                }
                Ok(Ok((status, _))) => format!("it answers {status}"),
                Ok(Err(why)) => why,
                Err(_) => format!("no answer within {} s", PROBE_PATIENCE.as_secs()),
            };
            if let Child::Down { why, .. } = self.shared.child() {
                return Err(format!("the service is down: {why}"));
            }
            if start.elapsed() > deadline {
                return Err(format!("{url}: not ready after {deadline_millis} ms: {why}"));
            }
            std::thread::sleep(PROBE_PAUSE);
        }
    }
}

/// What the kubelet takes for a good answer: a redirect, to a page to log in for instance, is one.
fn is_well(status: hyper::StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_takes_what_the_kubelet_takes() {
        let well = |code| is_well(hyper::StatusCode::from_u16(code).unwrap());
        assert!(well(200) && well(204) && well(302) && well(399));
        assert!(!well(101) && !well(404) && !well(503));
    }
}
