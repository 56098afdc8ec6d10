//! Why no usable container engine could be had.

use super::settings::{self, MergeError};
use crate::failure::{Diagnose, Family};
use crate::supply::process::ProcessError;
use std::path::PathBuf;

/// Why no usable container engine could be had.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An engine that is not ours to start does not answer.
    #[error("Docker does not answer at {endpoint}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// What the connection said.
        reason: String,
    },
    /// The engine runs, but this user may not talk to it.
    #[error("no permission to use the Docker socket {endpoint}")]
    Permission {
        /// The socket.
        endpoint: String,
    },
    /// No engine is installed and vadev cannot install one here.
    #[error("no container engine is installed, and vadev can install one only with apt-get on Linux")]
    NotInstallable,
    /// The user said no, or could not be asked.
    #[error("{action} was not agreed to")]
    NoConsent {
        /// What vadev would have done.
        action: String,
    },
    /// Root's rights are needed.
    #[error("{action} needs root, and sudo is not there")]
    NeedsRoot {
        /// What vadev would have done.
        action: String,
    },
    /// A program that was to help failed.
    #[error("{action} failed: {source}")]
    Tool {
        /// What was being done.
        action: &'static str,
        /// How the program ended.
        source: ProcessError,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read`, `write` …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// `dockerd` ended at once, or never answered.
    #[error("dockerd {what}")]
    NotStarted {
        /// `ended with …` or `did not answer within …`.
        what: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of it.
        tail: Vec<String>,
        /// Whether a deadline passed.
        late: bool,
    },
    /// The engine's settings cannot be extended.
    #[error("cannot register the runtime wrapper in {}: {source}", settings::PATH)]
    Settings {
        /// What is in the way.
        source: MergeError,
    },
    /// The engine did not take its new settings over.
    #[error(
        "Docker did not take over the settings in {} within {seconds} s",
        settings::PATH
    )]
    NotReloaded {
        /// How long was waited.
        seconds: u64,
    },
    /// Privileged containers do not start, and nothing vadev can do changes that.
    #[error("Docker cannot start privileged containers, which kind's nodes are: {reason}")]
    Privileged {
        /// What the engine said.
        reason: String,
    },
    /// A request to the engine failed.
    #[error("Docker failed to {action}: {source}")]
    Api {
        /// What was asked for.
        action: &'static str,
        /// What it said.
        source: bollard::errors::Error,
    },
}

impl Diagnose for EngineError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Unreachable { .. } => {
                "start Docker, or choose another engine with `docker context use` or DOCKER_HOST"
            }
            Self::Permission { .. } => "sudo usermod -aG docker \"$USER\" && newgrp docker",
            Self::NotInstallable => "install Docker (https://docs.docker.com/engine/install) and start it",
            Self::NoConsent { .. } => "run the command again with --yes to agree",
            Self::NeedsRoot { .. } => "run the command as root",
            Self::Tool { .. } => "run the command as root, or `sudo -v` first if a password is asked for",
            Self::File { .. } => return None,
            Self::NotStarted { log, .. } => return Some(format!("less {}", log.display())),
            Self::Settings { .. } => {
                return Some(format!(
                    "correct {}, or remove the entry named above",
                    settings::PATH
                ));
            }
            Self::NotReloaded { .. } => "restart Docker when no container is in use",
            Self::Privileged { .. } => {
                "use an engine that may start privileged containers (not a rootless or nested one), then vadev doctor"
            }
            Self::Api { .. } => "vadev doctor",
        };
        Some(hint.to_owned())
    }
    fn family(&self) -> Family {
        match self {
            Self::NoConsent { .. } => Family::Refused,
            Self::NotStarted { late: true, .. } | Self::NotReloaded { .. } => Family::Timeout,
            _ => Family::Environment,
        }
    }
    fn details(&self) -> Vec<String> {
        match self {
            Self::NotStarted { tail, .. } => tail.clone(),
            Self::Tool { source, .. } => source.details(),
            _ => Vec::new(),
        }
    }
}
