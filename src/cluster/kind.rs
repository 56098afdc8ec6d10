//! The kind cluster, through kind's own command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::k8s::{Cluster, Target};
use crate::report::Step;
use crate::supply::process::Command;

use super::error::ClusterError;
use super::mark;
use super::network;
use super::nodes::{self, Node, NodeState, all_nodes, bring_back, containerd_up};
use super::orphan;
use super::owner::{Owner, claim, from_data, own_root};
use super::state::{
    self, Condition, Record, by_nodes, condition, control_plane, forget, record_path, write_atomically,
};

/// kind's command line, the Docker engine behind it, and the folder where kubeconfigs and memories are kept.
#[derive(Debug, Clone)]
pub struct Kind {
    program: PathBuf,
    docker: Docker,
    folder: PathBuf,
}

/// How long an orphaned kind gets to end after SIGKILL.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(10);

/// A cluster to be made.
#[derive(Debug, Clone)]
pub struct Create<'a> {
    /// kind's name for it.
    pub name: &'a str,
    /// kind's configuration as text (JSON is YAML too).
    pub config: &'a str,
    /// Whose it will be.
    pub owner: &'a Owner,
    /// At most so long for kind's work.
    pub within: Duration,
}

/// How the cluster of a name is reached; `folder` is vadev's own state folder for clusters.
pub fn cluster_target(folder: &Path, name: &str) -> Target {
    Target::new(folder.join(format!("{name}.kubeconfig")), format!("kind-{name}"))
}

impl Kind {
    /// `program` is the kind executable; `folder` is vadev's own state folder for clusters.
    pub fn new(program: impl AsRef<Path>, docker: Docker, folder: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            docker,
            folder: folder.as_ref().to_owned(),
        }
    }

    /// The cluster's own kubeconfig.
    pub fn kubeconfig(&self, name: &str) -> PathBuf {
        cluster_target(&self.folder, name).kubeconfig
    }

    /// The cluster's context, in its own kubeconfig and in the user's.
    pub fn target(&self, name: &str) -> Target {
        cluster_target(&self.folder, name)
    }

    /// The cluster's nodes, the control plane first.
    pub async fn nodes(&self, name: &str) -> Result<Vec<Node>, ClusterError> {
        nodes::nodes(&self.docker, name).await
    }

    /// The names of all kind clusters on this engine.
    pub async fn list(&self) -> Result<Vec<String>, ClusterError> {
        let mut names: Vec<String> = all_nodes(&self.docker).await?.into_keys().collect();
        names.sort();
        Ok(names)
    }

    /// What vadev remembers about the cluster.
    pub fn record(&self, name: &str) -> Result<Option<Record>, ClusterError> {
        state::read(&self.folder, name)
    }

    /// What is there. A cluster that this machine's vadev does not remember is asked for its mark; one that has none, or
    /// can't be asked, counts as foreign, and one of another checkout is refused. The kubeconfig of a finished cluster is made again where it is missing.
    pub async fn condition(&self, name: &str) -> Result<Condition, ClusterError> {
        let nodes = self.nodes(name).await?;
        let found = match condition(&nodes, self.record(name)?.as_ref()) {
            Some(found) => found,
            None => match self.marked_owner(&nodes).await {
                Some(owner) => {
                    if let Some(root) = owner.elsewhere(own_root(&self.folder).as_deref()) {
                        return Err(ClusterError::Elsewhere {
                            name: name.to_owned(),
                            root: root.to_owned(),
                        });
                    }
                    let record = Record {
                        owner,
                        complete: true,
                        control_plane: control_plane(&nodes),
                        config: String::new(),
                        network: false,
                    };
                    state::write(&self.folder, name, &record)?;
                    by_nodes(&nodes)
                }
                None => Condition::Foreign,
            },
        };
        if found == Condition::Running && !self.kubeconfig(name).is_file() {
            self.write_kubeconfig(name).await?;
        }
        Ok(found)
    }

    /// Reads the mark on the node, or the one in the cluster from within the node, because there may be no kubeconfig for it
    /// on this machine.
    async fn marked_owner(&self, nodes: &[Node]) -> Option<Owner> {
        let node = nodes.iter().find(|node| node.control_plane)?;
        if let Some(owner) = mark::read(&self.docker, &node.name).await {
            return Some(owner);
        }
        if node.state != NodeState::Running {
            return None;
        }
        let read = [
            "kubectl",
            "--kubeconfig=/etc/kubernetes/admin.conf",
            "--request-timeout=5s",
            "-n",
            "kube-public",
            "get",
            "configmap",
            "vadev",
            "-o",
            "json",
        ];
        let text = crate::image::node_output(&self.docker, &node.name, &read)
            .await
            .ok()?;
        let object: Value = serde_json::from_slice(&text).ok()?;
        from_data(&object["data"])
    }

    /// Makes the cluster; what is left of a broken one goes first. Ends when kind does; the API server answers by
    /// then, the nodes may not be Ready yet. A cluster made by something else is refused.
    pub async fn create(&self, create: &Create<'_>, step: &Step) -> Result<(), ClusterError> {
        match self.condition(create.name).await? {
            Condition::Missing => {}
            Condition::Broken(_) => self.remove_broken(create.name, step).await?,
            Condition::Foreign => {
                return Err(ClusterError::Foreign {
                    name: create.name.to_owned(),
                    by: None,
                });
            }
            Condition::Running | Condition::Stopped | Condition::Paused => return Ok(()),
        }
        let mut record = Record {
            owner: create.owner.clone(),
            complete: false,
            control_plane: None,
            config: create.config.to_owned(),
            network: !network::is_there(&self.docker).await,
        };
        state::write(&self.folder, create.name, &record)?;
        let config = self.folder.join(format!("{}.kind.yaml", create.name));
        write_atomically(&config, create.config.as_bytes())?;
        let kind = Command::new(&self.program)
            .args(["create", "cluster", "--name", create.name, "--config"])
            .arg(&config)
            .arg("--kubeconfig")
            .arg(self.kubeconfig(create.name))
            .deadline(create.within);
        kind.run_in(step).await.map_err(|source| ClusterError::Tool {
            action: format!("creating the cluster {}", create.name),
            source,
        })?;
        let nodes = self.nodes(create.name).await?;
        if let Some(node) = nodes.iter().find(|node| node.control_plane) {
            mark::leave(&self.docker, &node.name, create.owner).await?;
        }
        record.complete = true;
        record.control_plane = control_plane(&nodes);
        state::write(&self.folder, create.name, &record)
    }

    /// While [`Self::create`] runs: waits for the kubeconfig to exist, which it does before kind is done, so that the
    /// API server can be used as soon as it answers. To be run side by side with `create`, and dropped if that fails.
    pub async fn early_kubeconfig(&self, name: &str, within: Duration) -> Result<Target, ClusterError> {
        let end = Instant::now() + within;
        loop {
            // kind prints it as soon as the control plane has written its own.
            let last = match self.write_kubeconfig(name).await {
                Ok(()) => return Ok(self.target(name)),
                Err(error) => error.to_string(),
            };
            if Instant::now() > end {
                return Err(ClusterError::NotUp {
                    subject: format!("cluster {name}"),
                    seconds: within.as_secs(),
                    last,
                });
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// While [`Self::create`] runs: waits until containerd answers in all of `count` nodes, which it does long before
    /// the API server, so that images can be shipped meanwhile. Returns the nodes' names.
    pub async fn early_nodes(
        &self,
        name: &str,
        count: usize,
        within: Duration,
    ) -> Result<Vec<String>, ClusterError> {
        let end = Instant::now() + within;
        loop {
            let nodes = self.nodes(name).await?;
            if nodes.len() >= count && nodes.iter().all(|node| node.state == NodeState::Running) {
                let left = end.saturating_duration_since(Instant::now());
                futures::future::try_join_all(
                    nodes.iter().map(|n| containerd_up(&self.docker, &n.name, left)),
                )
                .await?;
                return Ok(nodes.into_iter().map(|node| node.name).collect());
            }
            if Instant::now() > end {
                let last = format!("{} of {count} nodes run", nodes.len());
                return Err(ClusterError::NotUp {
                    subject: format!("cluster {name}"),
                    seconds: within.as_secs(),
                    last,
                });
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Marks a finished cluster as vadev's, within the cluster.
    pub async fn claim(&self, cluster: &Cluster, owner: &Owner) -> Result<(), ClusterError> {
        Ok(claim(cluster, owner).await?)
    }

    /// Starts stopped nodes and unpauses paused ones, then waits for the API server. Returns the connection.
    pub async fn start(&self, name: &str, within: Duration, step: &Step) -> Result<Cluster, ClusterError> {
        let nodes = self.nodes(name).await?;
        if nodes.is_empty() {
            return Err(ClusterError::Missing {
                name: name.to_owned(),
            });
        }
        let back = bring_back(&self.docker, &nodes).await?;
        step.progress(format!(
            "{back} of {} nodes brought back; waiting for the API server",
            nodes.len()
        ));
        // Docker may publish the API server's port anew after a stop.
        if nodes.iter().any(|node| node.state == NodeState::Stopped) || !self.kubeconfig(name).is_file() {
            self.write_kubeconfig(name).await?;
        }
        Ok(Cluster::connect(&self.target(name), within).await?)
    }

    /// Freezes the cluster: it keeps its memory and takes no CPU. [`Self::start`] resumes it.
    pub async fn pause(&self, name: &str) -> Result<(), ClusterError> {
        nodes::pause(&self.docker, &self.nodes(name).await?).await
    }

    /// Deletes the nodes, the network that came with them, the kubeconfig and the memory. The caller has made sure that the cluster is vadev's.
    pub async fn delete(&self, name: &str, step: &Step) -> Result<(), ClusterError> {
        let kind = Command::new(&self.program)
            .args(["delete", "cluster", "--name", name, "--kubeconfig"])
            .arg(self.kubeconfig(name))
            .deadline(Duration::from_mins(2));
        kind.run_in(step).await.map_err(|source| ClusterError::Tool {
            action: format!("deleting the cluster {name}"),
            source,
        })?;
        // A memory that can't be read says nothing of a network, and goes below.
        if self
            .record(name)
            .ok()
            .flatten()
            .is_some_and(|record| record.network)
        {
            network::remove_unused(&self.docker).await;
        }
        forget(self.kubeconfig(name))?;
        forget(self.folder.join(format!("{name}.kind.yaml")))?;
        forget(record_path(&self.folder, name))
    }

    /// Deletes what is left of a creation that never came to its end. A kind whose vadev was killed goes on, and would take
    /// new nodes away when it fails: it is ended first.
    pub async fn remove_broken(&self, name: &str, step: &Step) -> Result<(), ClusterError> {
        orphan::stop(name, ORPHAN_PATIENCE).await;
        self.delete(name, step).await
    }

    async fn write_kubeconfig(&self, name: &str) -> Result<(), ClusterError> {
        let kind = Command::new(&self.program)
            .args(["get", "kubeconfig", "--name", name])
            .deadline(Duration::from_secs(20));
        let printed = kind.output().await.map_err(|source| ClusterError::Tool {
            action: format!("reading the kubeconfig of the cluster {name}"),
            source,
        })?;
        write_atomically(&self.kubeconfig(name), &printed.stdout)
    }
}
