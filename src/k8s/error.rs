//! How talking to a cluster fails.

use std::path::PathBuf;

use crate::failure::{Diagnose, Family};

use super::diagnose::Diagnosis;
use super::object::ObjectRef;

/// An error of the k8s room.
#[derive(Debug, thiserror::Error)]
pub enum K8sError {
    /// A kubeconfig can't be read or understood.
    #[error("the kubeconfig {} can't be used for context {context}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context that was asked for.
        context: String,
        /// What kube says about it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// No client could be made out of a kubeconfig, for instance because of its certificates.
    #[error("no client could be made for context {context}: {source}")]
    Client {
        /// The context.
        context: String,
        /// What kube says.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server did not answer in time.
    #[error("the API server of context {context} at {server} did not answer within {seconds} s: {source}")]
    Unreachable {
        /// The context.
        context: String,
        /// Its address.
        server: String,
        /// How long it was tried.
        seconds: u64,
        /// The last answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The context leads to another cluster than the one that was planned for.
    #[error(
        "context {context} now leads to another cluster: planned for kube-system UID {expected}, found {found}"
    )]
    DifferentCluster {
        /// The context.
        context: String,
        /// UID of kube-system when the plan was made.
        expected: String,
        /// UID of kube-system now.
        found: String,
    },
    /// A manifest lacks what every object must have.
    #[error("the manifest of {subject} {problem}")]
    Malformed {
        /// Its name, as far as known.
        subject: String,
        /// What is wrong.
        problem: String,
    },
    /// The API server knows no such kind.
    #[error("the API server knows no kind {kind} in {api_version}")]
    UnknownKind {
        /// Group and version.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// A request was refused or failed for good.
    #[error("can't {action} {subject}: {}", plain(source))]
    Request {
        /// A verb: apply, delete, read.
        action: &'static str,
        /// Of what.
        subject: String,
        /// The last answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// A request kept failing with something that may pass until its deadline.
    #[error("can't {action} {subject} within {seconds} s: {}", plain(source))]
    Deadline {
        /// A verb.
        action: &'static str,
        /// Of what.
        subject: String,
        /// How long it was tried.
        seconds: u64,
        /// The last answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Several objects could not be applied or deleted.
    #[error("{} of {total} objects could not be {done}", failures.len())]
    Several {
        /// Past participle: applied, deleted.
        done: &'static str,
        /// Out of how many.
        total: usize,
        /// Each with its reason.
        failures: Vec<K8sError>,
    },
    /// A wait ended without success; the diagnosis says why.
    #[error("{target} is not ready {when}: {diagnosis}")]
    NotReady {
        /// What was waited for.
        target: Box<ObjectRef>,
        /// `after 120 s` or `and will not be`.
        when: String,
        /// Why.
        diagnosis: Box<Diagnosis>,
    },
    /// Objects did not go away in time.
    #[error(
        "{subject} is still there {seconds} s after it was deleted{}",
        reason(finalizers)
    )]
    StillThere {
        /// What.
        subject: String,
        /// How long was waited.
        seconds: u64,
        /// Finalizers that hold it.
        finalizers: Vec<String>,
    },
    /// A command in a container failed or could not be run.
    #[error("`{command}` in {pod} failed: {problem}")]
    Exec {
        /// namespace/pod/container.
        pod: String,
        /// The command line.
        command: String,
        /// Why.
        problem: String,
        /// The last lines it printed.
        output: Vec<String>,
    },
    /// A container that was added to a pod does not run.
    #[error("{container} in {pod} does not run: {problem}")]
    Beside {
        /// Its name.
        container: String,
        /// namespace/pod.
        pod: String,
        /// Why.
        problem: String,
    },
    /// The API server that answered before does not now.
    #[error("the cluster does not answer: {problem}")]
    Away {
        /// What the connection came to.
        problem: String,
    },
    /// A local port can't be listened on, or no pod is there to forward to.
    #[error("can't forward to {target}: {problem}")]
    Forward {
        /// Service or pod.
        target: String,
        /// Why.
        problem: String,
    },
}

fn reason(finalizers: &[String]) -> String {
    if finalizers.is_empty() {
        String::new()
    } else {
        format!(", held by {}", finalizers.join(", "))
    }
}

/// kube's errors in one line without their debug form.
pub(super) fn plain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.is_empty() => format!("HTTP {}", status.code),
        kube::Error::Api(status) => status.message.clone(),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                let line = inner.to_string();
                if !text.contains(&line) {
                    text = format!("{text}: {line}");
                }
                cause = inner.source();
            }
            text
        }
    }
}

impl K8sError {
    /// Whether the API server knows the user, and refuses the request.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Request { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 403))
    }
}

/// Why nothing could be forwarded to `target`.
pub(super) fn not_forwarded(target: &impl ToString, error: &kube::Error) -> K8sError {
    match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => K8sError::Away {
            problem: plain(error),
        },
        other => K8sError::Forward {
            target: target.to_string(),
            problem: plain(other),
        },
    }
}

/// Nothing, where the user may not read it: for what is only looked at to know more.
pub fn allowed<T>(found: Result<T, K8sError>) -> Result<Option<T>, K8sError> {
    match found {
        Err(error) if error.is_forbidden() => Ok(None),
        other => other.map(Some),
    }
}

fn request_hint(subject: &str, source: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = source else {
        return Some("vadev status shows whether the cluster is up; vadev up starts it again".to_owned());
    };
    match status.code {
        401 => Some(
            "the credentials of this context are not accepted: get new ones, or choose --context".to_owned(),
        ),
        403 if status.message.contains("exceeded quota") => {
            Some("choose a smaller profile, or have whoever runs the cluster raise the quota".to_owned())
        }
        403 => Some(format!(
            "this context's user may not do that: ask whoever runs the cluster for the right to {subject}"
        )),
        404 if status.message.contains("namespaces") => Some("vadev up creates the namespaces".to_owned()),
        409 => Some("another program writes the same object; run vadev up again".to_owned()),
        422 | 400 => Some(format!("vadev render shows what was sent for {subject}")),
        _ => None,
    }
}

impl Diagnose for K8sError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Kubeconfig { path, .. } => Some(format!(
                "the contexts that there are stand under `contexts:` in {}",
                path.display()
            )),
            Self::Client { .. } => Some(
                "check this context's user and certificates in the kubeconfig, or choose another --context"
                    .to_owned(),
            ),
            Self::Away { .. } | Self::Unreachable { .. } => {
                Some("vadev doctor checks Docker and the cluster; vadev up starts it".to_owned())
            }
            Self::DifferentCluster { .. } => {
                Some("run the command again to plan for the cluster that is there now".to_owned())
            }
            Self::Malformed { .. } => {
                Some("vadev render shows every object; check the overrides in vadev.yaml".to_owned())
            }
            Self::UnknownKind { api_version, .. } if api_version.contains("istio.io") => {
                Some("Istio's definitions are missing: vadev up installs Istio".to_owned())
            }
            Self::UnknownKind { .. } => {
                Some("this cluster lacks its definition, or is older than Kubernetes 1.25".to_owned())
            }
            Self::Request { subject, source, .. } | Self::Deadline { subject, source, .. } => {
                request_hint(subject, source)
            }
            Self::Several { failures, .. } => failures.iter().find_map(Diagnose::hint),
            Self::NotReady { diagnosis, .. } => Some(diagnosis.next.clone()),
            Self::StillThere { finalizers, .. } if finalizers.is_empty() => {
                Some("vadev events shows what is still stopping; run the command again".to_owned())
            }
            Self::StillThere { .. } => Some(
                "the programs that these finalizers belong to have to let go of it; run the command again"
                    .to_owned(),
            ),
            Self::Exec { pod, .. } => Some(format!("vadev logs shows what {pod} says")),
            Self::Beside { pod, .. } => Some(format!("vadev events shows what the node says of {pod}")),
            Self::Forward { .. } => Some("vadev status shows what runs".to_owned()),
        }
    }

    fn family(&self) -> Family {
        match self {
            Self::NotReady { .. } | Self::Deadline { .. } | Self::StillThere { .. } => Family::Timeout,
            Self::DifferentCluster { .. } => Family::Refused,
            Self::Malformed { .. } => Family::Internal,
            Self::Several { failures, .. } => failures.first().map_or(Family::Cluster, Diagnose::family),
            _ => Family::Cluster,
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Several { failures, .. } => failures.iter().map(ToString::to_string).collect(),
            Self::NotReady { diagnosis, .. } => diagnosis.lines(),
            Self::Exec { output, .. } => output.clone(),
            _ => Vec::new(),
        }
    }
}
