//! How shipping images fails.

use std::path::PathBuf;

use crate::failure::{Diagnose, Family};

/// An error of the image room.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The Docker engine refused something.
    #[error("Docker can't {action} {subject}: {source}")]
    Docker {
        /// A verb.
        action: &'static str,
        /// Image or node.
        subject: String,
        /// The engine's answer.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// The engine has no such image.
    #[error("Docker has no image {image}")]
    NoImage {
        /// Its reference.
        image: String,
    },
    /// A node does not have an image that it should.
    #[error("node {node} has no image {image}")]
    NotInNode {
        /// Its reference.
        image: String,
        /// The node's container.
        node: String,
    },
    /// A command in a node failed.
    #[error("`{command}` in node {node} failed: {problem}")]
    Node {
        /// The node's container.
        node: String,
        /// The command line.
        command: String,
        /// Exit code or reason.
        problem: String,
        /// The last lines it printed.
        output: Vec<String>,
    },
    /// An exported image is not what an image looks like.
    #[error("the export of {image} can't be understood: {problem}")]
    Layout {
        /// Its reference.
        image: String,
        /// What is wrong.
        problem: String,
    },
    /// A service's own build failed, or its source cannot be built at all.
    #[error("building {service} failed: {reason}")]
    Build {
        /// The service.
        service: String,
        /// The builder's reason.
        reason: String,
        /// The last lines of its output.
        output: Vec<String>,
    },
    /// Reading a layer, or writing it to disk on its way, failed.
    #[error("can't {action} {}: {source}", path.display())]
    File {
        /// A verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

impl ImageError {
    pub(super) fn layout(image: &str, problem: &impl ToString) -> Self {
        Self::Layout {
            image: image.to_owned(),
            problem: problem.to_string(),
        }
    }
}

impl Diagnose for ImageError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Docker { .. } => "vadev doctor checks the Docker engine".to_owned(),
            Self::NoImage { .. } => {
                "vadev up builds or pulls it; vadev supply list shows what there is".to_owned()
            }
            Self::NotInNode { .. } => "vadev up brings it there".to_owned(),
            Self::Node { output, .. } if output.iter().any(|line| line.contains("no space left")) => {
                "the disk is full: vadev supply prune and docker system prune free space".to_owned()
            }
            Self::Node { node, .. } => format!("docker logs {node} shows the node; vadev up tries again"),
            Self::Layout { .. } => "vadev up builds the image anew after docker rmi".to_owned(),
            Self::File { .. } => "vadev doctor checks disk space".to_owned(),
            Self::Build { service, reason, .. } if reason.contains("there is no") => format!(
                "add a Dockerfile, name one with `dockerfile:`, or name an image with `image:` under services.{service} in vadev.yaml"
            ),
            Self::Build { service, .. } => {
                format!("mend the source and save, or run `vadev up {service}` again")
            }
        })
    }

    fn family(&self) -> Family {
        match self {
            Self::Docker { .. } | Self::File { .. } => Family::Environment,
            Self::NoImage { .. } | Self::Layout { .. } => Family::Supply,
            Self::Node { .. } | Self::NotInNode { .. } => Family::Cluster,
            Self::Build { .. } => Family::Build,
        }
    }

    fn details(&self) -> Vec<String> {
        match self {
            Self::Node { output, .. } | Self::Build { output, .. } => output.clone(),
            _ => Vec::new(),
        }
    }
}
