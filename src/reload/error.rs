//! How watching and reloading fail.

use std::path::PathBuf;

use crate::failure::{Diagnose, Family};

/// An error of the reload room.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A sync rule that cannot be followed.
    #[error("the sync rule `{rule}` of {service} can't be used: {problem}")]
    Rule {
        /// The service.
        service: String,
        /// The rule.
        rule: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The service has no source here.
    #[error("{service} has no source: {} is not there", path.display())]
    NoSource {
        /// The service.
        service: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No service of the platform has its source in the workspace.
    #[error("no service has its source in {}", path.display())]
    NothingToDevelop {
        /// The workspace.
        path: PathBuf,
    },
    /// A folder or file of the source cannot be read.
    #[error("can't {action} {}: {source}", path.display())]
    Io {
        /// A verb.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system does not let so many folders be watched.
    #[error("can't watch {folders} folders: {limit} is {value}")]
    WatchLimit {
        /// How many there are.
        folders: usize,
        /// The sysctl.
        limit: &'static str,
        /// Its value now.
        value: u64,
    },
    /// The file system cannot be watched.
    #[error("can't watch {}: {problem}", path.display())]
    Watch {
        /// What.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A program that builds on this machine failed.
    #[error("`{command}` failed: {problem}")]
    HostBuild {
        /// The command line.
        command: String,
        /// The exit code, or why it did not start.
        problem: String,
        /// Its last lines.
        output: Vec<String>,
    },
    /// A build on this machine writes into what it is made of, each time.
    #[error("`{command}` writes {} each time it runs, which is a reason to run it again: stopped after three times", paths.join(", "))]
    Endless {
        /// The command line.
        command: String,
        /// What it writes.
        paths: Vec<String>,
    },
    /// The program that builds on this machine is not here.
    #[error("`{command}` can't be run: {problem}")]
    NoBuilder {
        /// The command line.
        command: String,
        /// Why it did not start.
        problem: String,
    },
    /// Another session is at work.
    #[error("another vadev watches this workspace")]
    Busy,
    /// A service does not run the agent.
    #[error("{service} is not being developed: its pods have no agent")]
    NotDeveloped {
        /// The service.
        service: String,
    },
    /// No pod of a service runs.
    #[error("no pod of {service} runs")]
    NoPod {
        /// The service.
        service: String,
    },
    /// The image does not say what it runs.
    #[error("the image {image} of {service} has neither an entry point nor a command")]
    NoCommand {
        /// The service.
        service: String,
        /// Its image.
        image: String,
    },
}

impl ReloadError {
    /// For `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl Diagnose for ReloadError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Rule { .. } => {
                "correct `sync` in vadev.yaml; `vadev init` proposes rules from the Dockerfile".into()
            }
            Self::NoSource { service, .. } => {
                format!("name the folder in vadev.yaml: services: {{ {service}: {{ source: FOLDER }} }}")
            }
            Self::NothingToDevelop { .. } => {
                "run it in the folder of vadev.yaml, or name the sources there: \
                 services: { NAME: { source: FOLDER } }"
                    .into()
            }
            Self::Io { .. } => "check the path and its permissions".into(),
            Self::WatchLimit { limit, folders, .. } => {
                let wanted = (folders * 2).next_power_of_two().max(524_288);
                format!("vadev doctor --fix, or: sudo sysctl {limit}={wanted}")
            }
            Self::Watch { .. } => "check that the folder is on a local file system".into(),
            Self::HostBuild { .. } => "correct the source and save; the service goes on as it was".into(),
            Self::Endless { .. } => {
                "name it in .gitignore, or in `ignore` of the sync rule that has it below it, or have it written elsewhere"
                    .into()
            }
            Self::NoBuilder { .. } => {
                "install it on this machine; until then each change is built as an image".into()
            }
            Self::Busy => "end it with Ctrl+C in its terminal, or go on there".into(),
            Self::NotDeveloped { service } => format!("vadev dev {service}"),
            Self::NoPod { .. } => "vadev up".into(),
            Self::NoCommand { .. } => "give the Dockerfile an ENTRYPOINT or CMD".into(),
        })
    }

    fn family(&self) -> Family {
        match self {
            Self::Rule { .. } | Self::NoSource { .. } | Self::NothingToDevelop { .. } => Family::Usage,
            Self::Io { .. } | Self::WatchLimit { .. } | Self::Watch { .. } | Self::NoBuilder { .. } => {
                Family::Environment
            }
            Self::HostBuild { .. } | Self::Endless { .. } | Self::NoCommand { .. } => Family::Build,
            Self::Busy => Family::Refused,
            Self::NotDeveloped { .. } | Self::NoPod { .. } => Family::Cluster,
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::HostBuild { output, .. } => output.clone(),
            _ => Vec::new(),
        }
    }
}
