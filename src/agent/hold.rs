//! Waits, and does nothing else: for a container that is there so that something can be run in it for a while.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Ends after `time`, or with SIGTERM or SIGINT at once: as PID 1 the process has no default action for signals.
pub async fn hold(time: Duration) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
