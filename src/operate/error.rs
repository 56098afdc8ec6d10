//! How operating a platform fails, beyond what the cluster itself refuses.

use crate::failure::{Diagnose, Family};
use crate::k8s::K8sError;

/// An error of the operate room.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Nothing of the name is deployed.
    #[error("nothing called `{name}` is deployed")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name that is deployed.
        nearest: Option<String>,
    },
    /// A workload has no pod that runs.
    #[error("no pod of {name} runs")]
    NoPod {
        /// The workload.
        name: String,
    },
    /// What was asked for makes no sense for this workload.
    #[error("{name}: {problem}")]
    Unfit {
        /// The workload.
        name: String,
        /// Why.
        problem: String,
        /// What to do instead.
        hint: String,
    },
    /// Something that the verb needs is not deployed.
    #[error("{what} is not deployed")]
    Absent {
        /// What.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// A request was refused.
    #[error("can't {action} {subject}: {reason}")]
    Request {
        /// A verb.
        action: &'static str,
        /// Of what.
        subject: String,
        /// The answer.
        reason: String,
        /// The kube error.
        #[source]
        source: Box<kube::Error>,
    },
    /// A file of this machine can't be read or written.
    #[error("can't {action} {path}: {source}")]
    File {
        /// A verb.
        action: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Something is not as it has to be; nothing was changed.
    #[error("{message}")]
    Refused {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
        /// Lines below.
        details: Vec<String>,
    },
    /// What came back can't be understood.
    #[error("{what} can't be understood: {problem}")]
    Unreadable {
        /// Whose answer.
        what: String,
        /// Why.
        problem: String,
    },
    /// A check found something wrong.
    #[error("{message}")]
    Unhealthy {
        /// What.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A command in a container ended with another code than 0.
    #[error("the command in {pod}: {problem}")]
    Ended {
        /// Pod.
        pod: String,
        /// `it ended with exit code 3`.
        problem: String,
        /// The code, where there is one.
        code: Option<u8>,
    },
}

impl OperateError {
    /// Nothing of the name, among what there is.
    pub fn unknown(name: &str, known: Vec<String>) -> Self {
        Self::Unknown {
            name: name.to_owned(),
            nearest: Self::nearest(name, known),
        }
    }

    /// What was most likely meant, among what there is.
    pub fn nearest(name: &str, known: Vec<String>) -> Option<String> {
        let nearest = known
            .into_iter()
            .map(|other| (strsim::damerau_levenshtein(name, &other), other))
            .filter(|(distance, other)| *distance <= 2 + other.len() / 5)
            .min_by_key(|(distance, _)| *distance);
        nearest.map(|(_, other)| other)
    }

    /// A refused request.
    pub fn request(action: &'static str, subject: &str, error: kube::Error) -> Self {
        let reason = match &error {
            kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
            other => other.to_string(),
        };
        Self::Request {
            action,
            subject: subject.to_owned(),
            reason,
            source: Box::new(error),
        }
    }

    /// A file that can't be used.
    pub fn file(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File {
            action,
            path: path.display().to_string(),
            source,
        }
    }

    /// An answer that can't be understood.
    pub fn unreadable(what: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Unreadable {
            what: what.into(),
            problem: problem.to_string(),
        }
    }

    /// A refusal without lines below.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            hint: hint.into(),
            details: Vec::new(),
        }
    }

    /// Something unfit for a workload.
    pub fn unfit(name: &str, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unfit {
            name: name.to_owned(),
            problem: problem.into(),
            hint: hint.into(),
        }
    }
}

impl Diagnose for OperateError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unknown {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `{nearest}`?"),
            Self::Unknown { .. } => "vadev status shows what is deployed".to_owned(),
            Self::NoPod { name } => format!("vadev describe {name} shows why"),
            Self::Unfit { hint, .. }
            | Self::Absent { hint, .. }
            | Self::Refused { hint, .. }
            | Self::Unhealthy { hint, .. } => hint.clone(),
            Self::Request { source, .. } => {
                if matches!(source.as_ref(), kube::Error::Api(_)) {
                    "vadev status shows what is deployed".to_owned()
                } else {
                    "vadev doctor checks Docker and the cluster".to_owned()
                }
            }
            Self::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "make room on that disk, or choose another folder".to_owned()
            }
            Self::File { .. } => "check the path and its permissions".to_owned(),
            Self::Unreadable { .. } => "run it again with -v to see what was asked".to_owned(),
            Self::Ended { .. } => return None,
        })
    }

    fn family(&self) -> Family {
        match self {
            Self::Unknown { .. } | Self::Unfit { .. } => Family::Usage,
            Self::NoPod { .. } | Self::Request { .. } | Self::Absent { .. } | Self::Unreadable { .. } => {
                Family::Cluster
            }
            Self::File { .. } => Family::Environment,
            Self::Refused { .. } => Family::Refused,
            Self::Unhealthy { .. } => Family::Unhealthy,
            Self::Ended { .. } => Family::Internal,
        }
    }

    fn exit_code(&self) -> Option<u8> {
        match self {
            Self::Ended { code, .. } => *code,
            _ => None,
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Refused { details, .. } => details.clone(),
            _ => Vec::new(),
        }
    }
}

/// Whether the cluster answered that something is not there.
pub fn is_not_found(error: &K8sError) -> bool {
    matches!(error, K8sError::Request { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 404))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_answered_with_the_nearest() {
        let known = || vec!["agent-engine".to_owned(), "redis".to_owned()];
        let hint = |name: &str| OperateError::unknown(name, known()).hint().unwrap();
        assert_eq!(hint("agent-engin"), "did you mean `agent-engine`?");
        assert_eq!(hint("zookeeper"), "vadev status shows what is deployed");
    }
}
