//! How making or finding a cluster fails.

use std::path::PathBuf;

use crate::failure::{Diagnose, Family};
use crate::k8s::K8sError;
use crate::supply::process::ProcessError;

/// An error of the cluster room.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The Docker engine refused something about a node.
    #[error("Docker can't {action} {subject}: {source}")]
    Docker {
        /// A verb.
        action: &'static str,
        /// Which node or cluster.
        subject: String,
        /// The engine's answer.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// kind or istioctl failed.
    #[error("{action} failed: {source}")]
    Tool {
        /// What was being done: `creating the cluster vadev`.
        action: String,
        /// What the program said.
        #[source]
        source: ProcessError,
    },
    /// A cluster of that name is there, and vadev did not make it.
    #[error("the kind cluster {name} was not made by vadev{}", by.as_ref().map(|by| format!(": {by}")).unwrap_or_default())]
    Foreign {
        /// kind's name for it.
        name: String,
        /// What is known about its maker.
        by: Option<String>,
    },
    /// The cluster is that of another checkout with the same name.
    #[error("the kind cluster {name} is that of the workspace in {}", root.display())]
    Elsewhere {
        /// kind's name for it.
        name: String,
        /// The other workspace's folder.
        root: PathBuf,
    },
    /// A cluster was expected and there is none.
    #[error("there is no kind cluster named {name}")]
    Missing {
        /// kind's name for it.
        name: String,
    },
    /// No kubeconfig has the context.
    #[error("no context is called `{name}`")]
    NoContext {
        /// As asked for.
        name: String,
        /// The most similar one.
        nearest: Option<String>,
        /// Every context there is.
        known: Vec<String>,
    },
    /// A node did not come back, or its API server does not answer.
    #[error("{subject} is not up after {seconds} s{}", if last.is_empty() { String::new() } else { format!(": {last}") })]
    NotUp {
        /// Node or cluster.
        subject: String,
        /// How long was waited.
        seconds: u64,
        /// The last thing seen.
        last: String,
    },
    /// A file of vadev's own, or a kubeconfig, can't be read or written.
    #[error("can't {action} {}: {source}", path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{} can't be understood: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Another program holds the kubeconfig's lock.
    #[error("{} is locked by another program for {seconds} s", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// Talking to the API server failed.
    #[error(transparent)]
    Api(#[from] K8sError),
}

impl Diagnose for ClusterError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Docker { source, .. } => {
                let ports = port_hint(&source.to_string());
                ports.or_else(|| Some("vadev doctor checks the Docker engine".to_owned()))
            }
            Self::Tool { source, .. } => tool_hint(source).or_else(|| source.hint()),
            Self::Foreign { name, .. } => Some(format!(
                "choose another name for vadev's cluster in vadev.yaml, or use that one with --context kind-{name}"
            )),
            Self::Elsewhere { root, .. } => Some(format!(
                "give this workspace another `name:` in vadev.yaml, or take that one down: vadev down in {}",
                root.display()
            )),
            Self::NoContext {
                nearest: Some(nearest),
                ..
            } => Some(format!("did you mean {nearest}?")),
            Self::NoContext { .. } => {
                Some("kubectl config get-contexts lists them; KUBECONFIG chooses the file".to_owned())
            }
            Self::Missing { .. } => Some("vadev up makes it".to_owned()),
            Self::NotUp { .. } => Some(
                "docker logs shows the node's start; vadev down, then vadev up, makes it anew".to_owned(),
            ),
            Self::File { .. } => None,
            Self::Content { path, .. } => Some(format!("repair or move away {}", path.display())),
            Self::Locked { path, .. } => Some(format!(
                "if no kubectl or kind is running, delete {}",
                path.display()
            )),
            Self::Api(error) => error.hint(),
        }
    }

    fn family(&self) -> Family {
        match self {
            Self::Foreign { .. } | Self::Elsewhere { .. } => Family::Refused,
            Self::NoContext { .. } => Family::Usage,
            Self::Missing { .. } | Self::Tool { .. } => Family::Cluster,
            Self::NotUp { .. } | Self::Locked { .. } => Family::Timeout,
            Self::Docker { .. } | Self::File { .. } | Self::Content { .. } => Family::Environment,
            Self::Api(error) => error.family(),
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Tool { source, .. } => source.details(),
            Self::NoContext { known, .. } => known.iter().map(|name| format!("context {name}")).collect(),
            Self::Api(error) => error.details(),
            _ => Vec::new(),
        }
    }
}

/// Docker's words for a port that somebody else has.
fn port_hint(text: &str) -> Option<String> {
    let taken = text.contains("port is already allocated") || text.contains("address already in use");
    taken.then(|| {
        "a port of the ingress is taken: vadev doctor names its holder, --http-port and --https-port choose others"
            .to_owned()
    })
}

/// kind's well-known failures, told by what it printed.
fn tool_hint(error: &ProcessError) -> Option<String> {
    let text = error.details().join("\n");
    if let Some(hint) = port_hint(&text) {
        return Some(hint);
    }
    if text.contains("unable to apply caps") {
        return Some(
            "Docker can't run privileged containers here: vadev doctor --fix sets up a runtime that can"
                .to_owned(),
        );
    }
    if text.contains("too many open files") {
        return Some("inotify limits are too low: vadev doctor --fix raises them".to_owned());
    }
    if text.contains("No such image") || text.contains("failed to pull image") {
        return Some("the node image is missing: vadev up builds or pulls it".to_owned());
    }
    None
}
