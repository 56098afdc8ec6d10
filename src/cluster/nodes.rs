//! The containers that are a kind cluster's nodes.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use futures::future::try_join_all;

use super::error::ClusterError;

/// The state of a node's container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// It runs.
    Running,
    /// It is frozen.
    Paused,
    /// Anything else: exited, created, dead.
    Stopped,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The container's name, which is the Kubernetes node's name too.
    pub name: String,
    /// The container's ID: another one means another cluster.
    pub id: String,
    /// Whether it carries the control plane.
    pub control_plane: bool,
    /// Its container's state.
    pub state: NodeState,
}

const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
const ROLE_LABEL: &str = "io.x-k8s.kind.role";

/// The nodes of every kind cluster on this engine, by cluster.
pub(super) async fn all_nodes(docker: &Docker) -> Result<HashMap<String, Vec<Node>>, ClusterError> {
    let mut clusters: HashMap<String, Vec<Node>> = HashMap::new();
    for container in list(docker, CLUSTER_LABEL.to_owned(), "all clusters").await? {
        let cluster = container
            .labels
            .as_ref()
            .and_then(|l| l.get(CLUSTER_LABEL))
            .cloned();
        if let (Some(cluster), Some(node)) = (cluster, node(&container)) {
            clusters.entry(cluster).or_default().push(node);
        }
    }
    Ok(clusters)
}

/// The nodes of one cluster, the control plane first; none if there is no such cluster.
pub(super) async fn nodes(docker: &Docker, cluster: &str) -> Result<Vec<Node>, ClusterError> {
    let found = list(docker, format!("{CLUSTER_LABEL}={cluster}"), cluster).await?;
    let mut nodes: Vec<Node> = found.iter().filter_map(node).collect();
    nodes.sort_by_key(|node| (!node.control_plane, node.name.clone()));
    Ok(nodes)
}

async fn list(docker: &Docker, label: String, subject: &str) -> Result<Vec<ContainerSummary>, ClusterError> {
    let filters = HashMap::from([("label".to_owned(), vec![label])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    docker
        .list_containers(Some(options))
        .await
        .map_err(|e| refused("list the nodes of", subject, e))
}

fn node(container: &ContainerSummary) -> Option<Node> {
    let name = container
        .names
        .as_ref()?
        .first()?
        .trim_start_matches('/')
        .to_owned();
    let role = container.labels.as_ref()?.get(ROLE_LABEL)?;
    let state = container.state.as_ref().map(ToString::to_string);
    Some(Node {
        name,
        id: container.id.clone().unwrap_or_default(),
        control_plane: role == "control-plane",
        state: match state.as_deref() {
            Some("running" | "restarting") => NodeState::Running,
            Some("paused") => NodeState::Paused,
            _ => NodeState::Stopped,
        },
    })
}

pub(super) fn refused(action: &'static str, subject: &str, source: bollard::errors::Error) -> ClusterError {
    ClusterError::Docker {
        action,
        subject: subject.to_owned(),
        source: Box::new(source),
    }
}

/// Unpauses and starts what is not running; returns how many nodes had to be brought back.
pub(super) async fn bring_back(docker: &Docker, nodes: &[Node]) -> Result<usize, ClusterError> {
    let back = nodes
        .iter()
        .filter(|node| node.state != NodeState::Running)
        .map(|node| async move {
            let done = match node.state {
                NodeState::Paused => docker.unpause_container(&node.name).await,
                NodeState::Stopped => docker.start_container(&node.name, None).await,
                NodeState::Running => Ok(()),
            };
            done.map_err(|e| refused("start", &node.name, e))
        });
    Ok(try_join_all(back).await?.len())
}

/// Freezes all running nodes at once.
pub(super) async fn pause(docker: &Docker, nodes: &[Node]) -> Result<(), ClusterError> {
    let all = nodes
        .iter()
        .filter(|node| node.state == NodeState::Running)
        .map(|node| async move {
            docker
                .pause_container(&node.name)
                .await
                .map_err(|e| refused("pause", &node.name, e))
        });
    try_join_all(all).await.map(|_| ())
}

/// Whether containerd answers in a node, which it does seconds after the container starts and long before the API.
pub(super) async fn containerd_up(docker: &Docker, node: &str, within: Duration) -> Result<(), ClusterError> {
    let end = tokio::time::Instant::now() + within;
    loop {
        let asked = crate::image::node_output(docker, node, &["ctr", "-n", "k8s.io", "version"]);
        let last = match asked.await {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        };
        if tokio::time::Instant::now() > end {
            return Err(ClusterError::NotUp {
                subject: format!("containerd in {node}"),
                seconds: within.as_secs(),
                last,
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
