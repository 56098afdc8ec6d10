//! The container engine: found, installed with consent, started, and proven to start privileged containers. [`ensure`] goes that
//! way from wherever the machine is; on a machine whose Docker works it costs two requests.
//!
//! Only an engine at the default socket of this Linux machine is installed, started or reconfigured. Docker Desktop, other
//! contexts, `DOCKER_HOST` and Podman's socket are used as they are.

pub mod capabilities;
mod error;
pub mod install;
pub mod privilege;
pub mod probe;
pub mod runtime;
pub mod settings;
pub mod stamp;
pub mod start;
pub mod wrapper;

pub use error::EngineError;

use crate::report::Step;
use crate::supply::docker::{self, DockerError};
use bollard::Docker;
use etcetera::BaseStrategy as _;
use privilege::Privilege;
use probe::Privileged;
use std::path::PathBuf;

/// Asks the user whether the action may be done, given as a question; answers yes for `--yes` and no where nobody can be asked.
pub type Consent<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// How [`ensure`] goes about it.
pub struct EngineOptions<'a> {
    /// Asked before anything is installed or a system file changed.
    pub consent: Consent<'a>,
    /// vadev's state folder: the engine's log, what was proven before.
    pub state: PathBuf,
    /// vadev's data folder: the runtime wrapper.
    pub data: PathBuf,
}

impl std::fmt::Debug for EngineOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineOptions")
            .field("state", &self.state)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

impl<'a> EngineOptions<'a> {
    /// The usual folders (XDG).
    pub fn new(consent: Consent<'a>) -> Self {
        let (state, data) = match etcetera::choose_base_strategy() {
            Ok(base) => (
                base.state_dir().unwrap_or_else(|| base.data_dir()),
                base.data_dir(),
            ),
            // No home folder: a service account or a bare container.
            Err(_) => (PathBuf::from("/var/lib"), PathBuf::from("/var/lib")),
        };
        Self {
            consent,
            state: state.join("vadev"),
            data: data.join("vadev"),
        }
    }

    fn log(&self) -> PathBuf {
        self.state.join("dockerd.log")
    }

    /// Asks; a no is an error that names the action.
    pub fn agree(&self, action: &str, question: &str) -> Result<(), EngineError> {
        let refused = || EngineError::NoConsent {
            action: action.to_owned(),
        };
        (self.consent)(question).then_some(()).ok_or_else(refused)
    }
}

/// An engine that answers and starts privileged containers.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The connection.
    pub docker: Docker,
    /// What had to be done, in words (`installed Docker`, `started dockerd`); empty if all was well.
    pub done: Vec<String>,
}

/// Gets a working engine. `step` shows the progress; the caller ends it.
pub async fn ensure(options: &EngineOptions<'_>, step: &Step) -> Result<Engine, EngineError> {
    let mut done = Vec::new();
    let docker = match docker::connect().await {
        Ok(docker) => docker,
        Err(error) => bring_up(options, error, step, &mut done).await?,
    };
    ensure_privileged(options, &docker, step, &mut done).await?;
    Ok(Engine { docker, done })
}

async fn bring_up(
    options: &EngineOptions<'_>,
    error: DockerError,
    step: &Step,
    done: &mut Vec<String>,
) -> Result<Docker, EngineError> {
    let (endpoint, reason) = match error {
        DockerError::Unreachable { host, reason } => (host, reason),
        DockerError::Context { context, reason } => (format!("context {context}"), reason),
    };
    if endpoint != docker::DEFAULT_SOCKET || cfg!(not(target_os = "linux")) {
        return Err(EngineError::Unreachable { endpoint, reason });
    }
    if reason.contains("ermission denied") {
        return Err(EngineError::Permission { endpoint });
    }
    if privilege::find_program("dockerd").is_none() {
        if !install::possible() {
            return Err(EngineError::NotInstallable);
        }
        let action = "installing Docker";
        let question = format!(
            "Docker is not installed. Install {} with apt-get?",
            install::PACKAGES.join(", ")
        );
        options.agree(action, &question)?;
        let installed = install::run(&Privilege::find(action)?, &install::PACKAGES, step).await;
        installed.map_err(|source| EngineError::Tool { action, source })?;
        done.push("installed Docker".to_owned());
        // A package may start its service by itself.
        if let Ok(docker) = docker::connect().await {
            return Ok(docker);
        }
    }
    let docker = start::start(&Privilege::find("starting Docker")?, &options.log(), step).await?;
    done.push("started Docker".to_owned());
    Ok(docker)
}

async fn ensure_privileged(
    options: &EngineOptions<'_>,
    docker: &Docker,
    step: &Step,
    done: &mut Vec<String>,
) -> Result<(), EngineError> {
    let mut reason = wrapper::broken().map(|path| format!("the runtime {path} is gone"));
    let stamp = stamp::Stamp::take(docker).await?;
    if reason.is_none() {
        if stamp.holds(&options.state) {
            return Ok(());
        }
        step.progress("trying a privileged container");
        match probe::privileged(docker).await? {
            Privileged::Works => {
                stamp.keep(&options.state);
                return Ok(());
            }
            Privileged::Refused(words) => reason = Some(words),
        }
    }
    let reason = reason.unwrap_or_default();
    let local = docker::endpoint().is_ok_and(|endpoint| endpoint.host == docker::DEFAULT_SOCKET);
    if !local || start::running().is_none() {
        return Err(EngineError::Privileged { reason });
    }
    let action = "changing Docker's runtime";
    let question = format!(
        "Docker cannot start privileged containers ({}). Register vadev's runtime wrapper in {} and make it the default?",
        short(&reason),
        settings::PATH
    );
    options.agree(action, &question)?;
    wrapper::register(&Privilege::find(action)?, &options.data, docker, step).await?;
    done.push("registered the runtime wrapper".to_owned());
    match probe::privileged(docker).await? {
        Privileged::Works => {
            stamp::Stamp::take(docker).await?.keep(&options.state);
            Ok(())
        }
        Privileged::Refused(reason) => Err(EngineError::Privileged { reason }),
    }
}

/// The innermost cause of a chain like `OCI runtime create failed: …: unable to apply caps: operation not permitted: unknown`.
fn short(reason: &str) -> String {
    let parts: Vec<&str> = reason.trim().trim_end_matches(": unknown").split(": ").collect();
    parts[parts.len().saturating_sub(2)..].join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_shown_by_its_end() {
        let long = "OCI runtime create failed: runc create failed: unable to apply caps: operation not permitted: unknown";
        assert_eq!(short(long), "unable to apply caps: operation not permitted");
        assert_eq!(short("gone"), "gone");
    }

    #[test]
    fn without_consent_nothing_happens() {
        let asked = std::sync::Mutex::new(Vec::new());
        let consent = |question: &str| {
            asked.lock().unwrap().push(question.to_owned());
            false
        };
        let options = EngineOptions::new(&consent);
        let error = options.agree("installing Docker", "Install?").unwrap_err();
        assert!(matches!(error, EngineError::NoConsent { action } if action == "installing Docker"));
        assert_eq!(*asked.lock().unwrap(), ["Install?"]);
    }
}
