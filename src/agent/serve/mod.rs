//! The stand-in service: what runs for a service that has neither source in the workspace nor an image that can be had.
//! It looks like the service from outside (port, health, metrics, path prefixes, who it calls) and says everywhere that
//! it is a stand-in.

mod board;
pub mod config;
mod fanout;
mod fault;
mod metrics;
mod probe;
mod reach;
mod routes;
mod server;

use std::time::Duration;

use hyper::header::HeaderMap;
use serde_json::json;

use super::{client, log};
pub use config::Config;
pub use reach::{Reached, reach};

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

/// Below the time-out that probes usually have.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// Where variables come from; the process's environment outside of tests.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Serves until SIGTERM or SIGINT.
pub async fn run(environment: Environment<'_>) -> Result<(), Error> {
    let config = Config::read(environment)?;
    let listener = server::listen(config.port).await?;
    // Installed before anything else answers: as PID 1 the process has no default action for signals.
    let stop = stop_signal()?;
    log::line("info", "stand-in starts", json!({"config": config}));
    let service = config.service.clone();
    tokio::select! {
        () = server::accept(listener, routes::Service::new(config)) => {}
        signal = stop => log::line("info", "stand-in stops", json!({"service": service, "signal": signal})),
    }
    Ok(())
}

/// Asks the service in this container for its health, or `url`; for exec probes of images without a shell.
pub async fn check(url: Option<String>, environment: Environment<'_>) -> Result<(), Error> {
    let own = || {
        format!(
            "http://127.0.0.1:{}/health",
            environment("VADEV_PORT").as_deref().unwrap_or("8080")
        )
    };
    let url = url.unwrap_or_else(own);
    if let Some(address) = url.strip_prefix("tcp://") {
        return reachable(address).await.map_err(|what| Error::Check {
            url: url.clone(),
            what,
        });
    }
    let outcome = tokio::time::timeout(CHECK_PATIENCE, client::get(&url, HeaderMap::new())).await;
    match outcome {
        Ok(Ok((status, _))) if status.is_success() => Ok(()),
        Ok(Ok((status, _))) => Err(Error::Check {
            url,
            what: format!("answered {status}"),
        }),
        Ok(Err(what)) => Err(Error::Check { url, what }),
        Err(_) => Err(Error::Check {
            url,
            what: format!("no answer within {} s", CHECK_PATIENCE.as_secs()),
        }),
    }
}

/// Whether a TCP connection can be opened: for systems that speak no HTTP.
async fn reachable(address: &str) -> Result<(), String> {
    let (host, port) = address.rsplit_once(':').ok_or("no port")?;
    let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
    match tokio::time::timeout(CHECK_PATIENCE, client::connect(host, port)).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(format!("no answer within {} s", CHECK_PATIENCE.as_secs())),
    }
}

fn stop_signal() -> Result<impl Future<Output = &'static str>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
