//! The sync agent: PID 1 of a container whose service is being worked on. It starts the container's original command,
//! puts changed files in place, restarts the process on request, and brings the changes back after a restart of the
//! container.

mod context;
mod files;
mod install;
mod journal;
mod listener;
mod options;
mod process;
mod session;
mod shared;
mod store;
mod supervisor;
mod upgrade;

use std::sync::Arc;

use rustix::process::{Pid, Signal};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub use install::install;
pub use options::{Listen, Options};
pub use store::checked_deletes;

use super::log;

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder cannot be used.
    #[error("state: {0}")]
    State(#[from] store::Error),
    /// A signal handler or thread could not be had.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

/// Runs until SIGTERM or SIGINT; returns the service's exit code.
pub async fn run(options: Options) -> Result<u8, Error> {
    let adopted = std::env::var(process::ADOPT)
        .ok()
        .and_then(|pid| pid.parse().ok())
        .and_then(Pid::from_raw);
    if adopted.is_none()
        && let Err(e) = upgrade::take_over(&options.state)
    {
        log::line(
            "error",
            "cannot become the newer agent in the state folder",
            json!({"why": e.to_string()}),
        );
    }
    process::adopt_orphans();
    // Installed before the first process: PID 1 has no default action for signals.
    let signals = signals()?;
    let mut store = store::Store::open(&options.state)?;
    let mut wait = options.wait;
    if adopted.is_none() && !store.entries().is_empty() {
        let replayed = store.replay()?;
        log::line(
            "info",
            "changes replayed",
            json!({"paths": replayed.applied, "imageIsNewer": replayed.dropped}),
        );
        // This pod has had its session.
        wait = None;
    }
    let shared = Arc::new(shared::Shared::new());
    let (sender, orders) = mpsc::unbounded_channel();
    let service = (options.command.clone(), options.user);
    let supervisor = supervisor::Supervisor::new(service, shared.clone(), wait, adopted);
    let context = Arc::new(context::Context::new(options, store, shared, sender));
    std::thread::Builder::new()
        .name("listener".into())
        .spawn(move || listener::listen(&context))?;
    Ok(supervisor.run(orders, signals).await)
}

/// All signals that the agent acts on or passes on, in one queue. It starts with a SIGCHLD: a process may have ended
/// while an upgraded agent took over.
fn signals() -> std::io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    for (kind, name) in [
        (SignalKind::child(), Signal::CHILD),
        (SignalKind::terminate(), Signal::TERM),
        (SignalKind::interrupt(), Signal::INT),
        (SignalKind::hangup(), Signal::HUP),
        (SignalKind::quit(), Signal::QUIT),
        (SignalKind::user_defined1(), Signal::USR1),
        (SignalKind::user_defined2(), Signal::USR2),
        (SignalKind::window_change(), Signal::WINCH),
    ] {
        let mut stream = signal(kind)?;
        let sender = sender.clone();
        tokio::spawn(async move { while stream.recv().await.is_some() && sender.send(name).is_ok() {} });
    }
    // The receiver is alive here.
    let _ = sender.send(Signal::CHILD);
    Ok(receiver)
}
