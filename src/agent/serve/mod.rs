//! The stand-in service: what runs for a service that has neither source in the workspace nor an image that can be had.
//! It looks like the service from outside (port, health, metrics, path prefixes, who it calls) and says everywhere that
//! it is a stand-in.

pub mod config;
mod server;

use std::net::SocketAddr;

pub use config::Config;

/// Why the stand-in cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A variable or the configuration file is wrong.
    #[error("configuration: {0}")]
    Config(#[from] config::Error),
    /// The port is taken, or not allowed.
    #[error("cannot listen on port {port}: {source}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// A signal handler could not be installed.
    #[error("cannot handle signals: {0}")]
    Signals(std::io::Error),
    /// `check` got no good answer.
    #[error("{url}: {what}")]
    Check {
        /// What was asked.
        url: String,
        /// What came instead.
        what: String,
    },
}

/// Where variables come from; the process's environment outside of tests.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Serves until SIGTERM or SIGINT.
pub async fn run(environment: Environment<'_>) -> Result<(), Error> {
    let config = Config::read(environment)?;
    let listener = server::listen(config.port).await?;
    // Installed before anything else answers: as PID 1 the process has no default action for signals.
    let stop = stop_signal()?;
    tokio::select! {
        () = server::accept(listener, config) => {}
        () = stop => {}
    }
    Ok(())
}

/// Asks the service in this container for its health; for exec probes of images without a shell.
pub async fn check(url: Option<String>, environment: Environment<'_>) -> Result<(), Error> {
    let port = Config::read(environment)?.port;
    let url = url.unwrap_or_else(|| format!("http://127.0.0.1:{port}/health"));
    let status = server::status_of(SocketAddr::from(([127, 0, 0, 1], port))).await;
    match status {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(Error::Check {
            url,
            what: format!("answered {status}"),
        }),
        Err(what) => Err(Error::Check { url, what }),
    }
}

fn stop_signal() -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
