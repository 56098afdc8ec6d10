//! The async runtime, started only for verbs that need it, and what Ctrl+C does.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::consent;
use crate::failure::{Failure, Family, Plain};

/// How long tasks that cannot be cancelled (a blocking write) may go on after the end.
const LINGER: Duration = Duration::from_secs(2);

/// Runs a verb's work to its end or to the first Ctrl+C, which drops the work and with it the programs it runs. The second
/// Ctrl+C ends the process at once.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    until_interrupted(work)?.ok_or_else(interrupted)
}

/// As [`block_on`], for work whose usual end is Ctrl+C: that is `None` and no failure.
pub fn until_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<Option<T>, Failure> {
    // One TLS implementation for every client in the process; a second call would find it installed, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| unstartable(&error))?;
    let result = runtime.block_on(async {
        let mut interrupts = watch(&runtime).map_err(|error| unstartable(&error))?;
        tokio::select! {
            result = work => result.map(Some),
            _ = interrupts.recv() => Ok(None),
        }
    });
    runtime.shutdown_timeout(LINGER);
    result
}

/// Reports the first SIGINT, SIGTERM or SIGHUP and exits on the second.
fn watch(runtime: &Runtime) -> io::Result<mpsc::Receiver<()>> {
    let (tell, told) = mpsc::channel(1);
    let mut signals = Signals::listen()?;
    runtime.spawn(async move {
        signals.next().await;
        if consent::is_asking() {
            std::process::exit(i32::from(Family::Interrupted.exit_code()));
        }
        // Nobody listens any more when the work has ended at this moment.
        let _ = tell.send(()).await;
        signals.next().await;
        std::process::exit(i32::from(Family::Interrupted.exit_code()));
    });
    Ok(told)
}

#[cfg(unix)]
struct Signals([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}

fn interrupted() -> Failure {
    Plain::new(
        Family::Interrupted,
        "stopped on request; what runs in the cluster is left as it is",
    )
    .with_hint("run the same command again to go on, or `vadev down` to remove it")
    .into()
}

fn unstartable(error: &io::Error) -> Failure {
    Plain::new(
        Family::Environment,
        format!("cannot start threads or handle signals: {error}"),
    )
    .with_hint("look at the limits of this shell with `ulimit -a`")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_result_of_the_work() {
        assert_eq!(block_on(async { Ok(7) }).unwrap(), 7);
        let failed: Result<(), Failure> = block_on(async { Err(Plain::new(Family::Build, "x").into()) });
        assert_eq!(failed.unwrap_err().family(), Family::Build);
    }
}
