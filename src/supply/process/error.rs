//! Why a program gave no result.

use std::time::Duration;

use crate::failure::{Diagnose, Family};

/// Why a program gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start `{argv}`: {source}")]
    Start {
        /// The argument list as one would type it.
        argv: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It ended with another code than 0.
    #[error("`{argv}` failed with exit code {code}")]
    Failed {
        /// The argument list as one would type it.
        argv: String,
        /// Exit code; -1 where a signal ended it.
        code: i32,
        /// The last [`TAIL_LINES`](super::TAIL_LINES) lines of its output.
        tail: Vec<String>,
    },
    /// Reading its output or feeding its input failed.
    #[error("lost contact with `{argv}`: {source}")]
    Pipe {
        /// The argument list as one would type it.
        argv: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// It did not end within its deadline and was killed.
    #[error("`{argv}` did not end within {} s and was stopped", deadline.as_secs())]
    Deadline {
        /// The argument list as one would type it.
        argv: String,
        /// The deadline it had.
        deadline: Duration,
        /// The last [`TAIL_LINES`](super::TAIL_LINES) lines of its output.
        tail: Vec<String>,
    },
}

impl Diagnose for ProcessError {
    fn family(&self) -> Family {
        match self {
            Self::Start { .. } => Family::Environment,
            Self::Deadline { .. } => Family::Timeout,
            Self::Failed { .. } | Self::Pipe { .. } => Family::Internal,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Start { .. } => Some("vadev doctor".to_owned()),
            _ => None,
        }
    }
    fn details(&self) -> Vec<String> {
        match self {
            Self::Failed { tail, .. } | Self::Deadline { tail, .. } => tail.clone(),
            _ => Vec::new(),
        }
    }
}
