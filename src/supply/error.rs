//! Everything that can go wrong between wanting a tool or an image and having it.

use std::path::PathBuf;
use std::sync::Arc;

use super::docker::{self, DockerError};
use super::process::ProcessError;
use super::tools::ToolError;
use crate::failure::{Diagnose, Family};

/// The supply layer's error.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// Reading or writing a file of the cache or of a work folder failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was being done, for instance `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// No folder for the cache can be determined.
    #[error("no cache folder: {0}")]
    NoCache(String),
    /// Another vadev holds an artefact's lock for too long.
    #[error("{holder} has been busy with {artefact} for over {minutes} minutes")]
    Locked {
        /// The artefact.
        artefact: String,
        /// Who holds it.
        holder: String,
        /// How long this one waited.
        minutes: u64,
    },
    /// No such recipe is carried by this vadev.
    #[error("there is no recipe `{name}`")]
    UnknownRecipe {
        /// The name asked for.
        name: String,
        /// A close one.
        suggestion: Option<String>,
    },
    /// A recipe's file cannot be read as a recipe. The recipes are embedded, so this is vadev's own mistake.
    #[error("recipe `{name}` is invalid: {reason}")]
    InvalidRecipe {
        /// The recipe.
        name: String,
        /// Why.
        reason: String,
    },
    /// A step of a recipe failed.
    #[error("recipe `{recipe}` failed at step {step}: {reason}")]
    Step {
        /// The recipe.
        recipe: String,
        /// `3 of 4 (pip)`.
        step: String,
        /// Why.
        reason: String,
        /// The last lines of the log.
        tail: Vec<String>,
        /// The whole log.
        log: PathBuf,
    },
    /// Something another artefact needs could not be had.
    #[error("`{name}` needs `{need}`: {source}")]
    Need {
        /// What was wanted.
        name: String,
        /// What it needs.
        need: String,
        /// Why that could not be had.
        source: Arc<SupplyError>,
    },
    /// What was received is not what was expected.
    #[error("{subject} has digest {found}, but {expected} is expected")]
    Digest {
        /// What was checked.
        subject: String,
        /// The digest that is pinned.
        expected: String,
        /// The digest it has.
        found: String,
    },
    /// A file could not be downloaded.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// Its address.
        url: String,
        /// Why.
        reason: String,
    },
    /// A program needed on this machine is missing and may not or cannot be installed by vadev.
    #[error("{reason}")]
    Host {
        /// What is missing and why it is needed.
        reason: String,
        /// The command that brings it.
        fix: String,
        /// Whether it was the user who said no.
        refused: bool,
    },
    /// No source has it.
    #[error("`{name}` cannot be had from any source")]
    NoSource {
        /// The image.
        name: String,
        /// One line for each source that was tried: name and reason.
        tried: Vec<String>,
    },
    /// A bundle of everything that is there, where nothing is.
    #[error("there is nothing to write into a bundle: no tool and no image is here yet")]
    EmptyBundle,
    /// A bundle file cannot be used.
    #[error("bundle {}: {reason}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The Docker engine refused a request.
    #[error("the Docker engine could not {action}: {reason}")]
    Engine {
        /// What was asked of it.
        action: String,
        /// Its answer.
        reason: String,
    },
    /// There is no Docker engine.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A program is missing or too old.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The outcome of work that several callers waited for.
    #[error(transparent)]
    Shared(Arc<SupplyError>),
}

impl SupplyError {
    /// For `map_err` after a file operation.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
    /// For `map_err` after a request to the engine.
    pub fn engine(action: impl Into<String>) -> impl FnOnce(bollard::errors::Error) -> Self {
        let action = action.into();
        move |error| Self::Engine {
            action,
            reason: docker::reason(&error),
        }
    }
}

impl Diagnose for SupplyError {
    fn family(&self) -> Family {
        match self {
            Self::File { .. } | Self::InvalidRecipe { .. } => Family::Internal,
            Self::UnknownRecipe { .. } => Family::Usage,
            Self::Locked { .. } => Family::Timeout,
            Self::Host { refused: true, .. } => Family::Refused,
            Self::NoCache(_) | Self::Host { .. } => Family::Environment,
            Self::Step { .. }
            | Self::Digest { .. }
            | Self::Download { .. }
            | Self::NoSource { .. }
            | Self::EmptyBundle
            | Self::Bundle { .. }
            | Self::Engine { .. } => Family::Supply,
            Self::Docker(error) => error.family(),
            Self::Process(error) => error.family(),
            Self::Tool(error) => error.family(),
            Self::Need { source, .. } | Self::Shared(source) => source.family(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("vadev supply prune, then run the command again".to_owned())
            }
            Self::File { .. } | Self::NoCache(_) => {
                Some("set VADEV_CACHE to a folder you may write to".to_owned())
            }
            Self::UnknownRecipe { suggestion, .. } => Some(match suggestion {
                Some(name) => format!("did you mean `{name}`? `vadev supply list` shows them all"),
                None => "vadev supply list".to_owned(),
            }),
            Self::InvalidRecipe { .. } => None,
            Self::Step { recipe, log, .. } => Some(format!(
                "read {}, then run `vadev supply build {recipe}`",
                log.display()
            )),
            Self::Locked { .. } => Some("wait for it, or end it".to_owned()),
            Self::Digest { .. } => {
                Some("run the command again; if it stays, somebody changed the package".to_owned())
            }
            Self::Download { .. } => Some("vadev doctor shows what this machine reaches".to_owned()),
            Self::Host { fix, .. } => Some(fix.clone()),
            Self::NoSource { .. } => Some("vadev doctor, or choose another --image-source".to_owned()),
            Self::EmptyBundle => {
                Some("vadev up brings what a profile needs; vadev supply build NAME makes one".to_owned())
            }
            Self::Bundle { .. } => {
                Some("vadev bundle create FILE on a machine that has the images".to_owned())
            }
            Self::Engine { .. } => Some("vadev doctor".to_owned()),
            Self::Docker(error) => error.hint(),
            Self::Process(error) => error.hint(),
            Self::Tool(error) => error.hint(),
            Self::Need { source, .. } | Self::Shared(source) => source.hint(),
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Step { tail, .. } => tail.clone(),
            Self::NoSource { tried, .. } => tried.clone(),
            Self::Process(error) => error.details(),
            Self::Need { source, .. } | Self::Shared(source) => source.details(),
            _ => Vec::new(),
        }
    }
}
