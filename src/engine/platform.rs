//! One platform on one machine: what it is to be, and through what it is reached.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::place::Place;
use super::ports::ClusterPorts;
use crate::cluster::{Kind, NodeState, Owner, cluster_target, own_root};
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{Cluster, Target};
use crate::plan::ClusterState;
use crate::profile::Stack;
use crate::render::ObjectId;
use crate::render::kind::KindCluster;
use crate::render::object::COMPONENT;
use crate::report::{Outcome, Reporter, Step};
use crate::supply::Supply;

/// How long a cluster that runs may take to answer.
const ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

/// What [`Platform::open`] needs to know.
#[derive(Debug, Clone)]
pub struct PlatformOptions {
    /// The resolved platform.
    pub stack: Stack,
    /// The workspace's folder.
    pub root: PathBuf,
    /// The state folder: the workspace's `.vadev/`, or one in it for a cluster that is not vadev's own.
    pub state: PathBuf,
    /// Port on 127.0.0.1 for http.
    pub http_port: u16,
    /// Port on 127.0.0.1 for https.
    pub https_port: u16,
    /// Nodes of a cluster that has to be made.
    pub nodes: u32,
    /// The user's kubeconfig, where the cluster's context is put beside the others; `None` leaves every such file alone.
    pub kubeconfig: Option<PathBuf>,
    /// Which cluster.
    pub place: Place,
}

/// A platform and the way to it.
#[derive(Debug)]
pub struct Platform {
    /// Its description.
    pub options: PlatformOptions,
    /// Where tools and images come from.
    pub supply: Supply,
    /// Where events go.
    pub reporter: Reporter,
    /// What the stack is a part of, where it is one.
    whole: Option<Stack>,
}

impl Platform {
    /// Puts the parts together; touches nothing.
    pub fn new(options: PlatformOptions, supply: Supply, reporter: Reporter) -> Self {
        Self {
            options,
            supply,
            reporter,
            whole: None,
        }
    }

    /// Says what the stack is a part of: of this, some may run beside it.
    #[must_use]
    pub fn part_of(mut self, whole: Stack) -> Self {
        self.whole = Some(whole);
        self
    }

    /// The workspace's folder: sources are relative to it.
    pub fn root(&self) -> &std::path::Path {
        &self.options.root
    }

    /// The resolved stack.
    pub fn stack(&self) -> &Stack {
        &self.options.stack
    }

    /// The stack with what runs beside it, as the cluster's objects show.
    pub fn amid(&self, live: &BTreeMap<ObjectId, Value>) -> Cow<'_, Stack> {
        let Some(whole) = &self.whole else {
            return Cow::Borrowed(self.stack());
        };
        let workloads = live
            .iter()
            .filter(|(id, _)| matches!(id.kind.as_str(), "Deployment" | "StatefulSet"));
        let running: BTreeSet<&str> = workloads
            .filter_map(|(_, value)| value["metadata"]["labels"][COMPONENT].as_str())
            .collect();
        Cow::Owned(self.stack().amid(whole, |name| running.contains(name)))
    }

    /// What the cluster is called: `vadev-<workspace>` by kind, or its context where it is not vadev's own.
    pub fn cluster_name(&self) -> String {
        match &self.options.place {
            Place::Own => format!("vadev-{}", self.stack().workspace),
            Place::Existing(existing) => existing.target.context.clone(),
        }
    }

    /// The context through which any Kubernetes tool finds the cluster.
    pub fn context(&self) -> String {
        match &self.options.place {
            Place::Own => format!("kind-{}", self.cluster_name()),
            Place::Existing(existing) => existing.target.context.clone(),
        }
    }

    /// Refuses where the cluster is not vadev's own: `what` is done to clusters that vadev makes, and to no others.
    pub fn own_only(&self, what: &str) -> Result<(), Failure> {
        match self.options.place.existing() {
            None => Ok(()),
            Some(existing) => {
                let message = format!(
                    "{what} is for vadev's own clusters, and {} is not one",
                    existing.target.context
                );
                Err(Plain::new(Family::Refused, message)
                    .with_hint("leave --context away")
                    .into())
            }
        }
    }

    /// kind and what vadev remembers of its clusters. The program itself need not be there yet: see [`Self::kind_program`].
    pub async fn kind(&self) -> Result<Kind, Failure> {
        let docker = self.supply.docker().await?.clone();
        Ok(Kind::new(
            self.supply.program("kind"),
            docker,
            &self.options.state,
        ))
    }

    /// Sees to it that kind's program is there: for making and deleting clusters.
    pub async fn kind_program(&self, step: &Step) -> Result<Kind, Failure> {
        let program = self.supply.tool("kind", step).await?;
        Ok(Kind::new(
            program,
            self.supply.docker().await?.clone(),
            &self.options.state,
        ))
    }

    /// How the cluster is reached.
    pub async fn target(&self) -> Result<Target, Failure> {
        match &self.options.place {
            Place::Own => Ok(self.kind().await?.target(&self.cluster_name())),
            Place::Existing(existing) => {
                let target = existing.target.clone();
                Ok(target.within(&self.stack().namespaces.apps))
            }
        }
    }

    /// Whose the cluster is.
    pub fn owner(&self) -> Owner {
        Owner {
            workspace: self.stack().workspace.clone(),
            profile: self.stack().profile.clone(),
            root: own_root(&self.options.state),
        }
    }

    /// Connects to the running cluster, waiting at most `within`.
    pub async fn connect(&self, within: std::time::Duration) -> Result<Cluster, Failure> {
        Ok(Cluster::connect(&self.target().await?, within).await?)
    }

    /// What is there under the cluster's name. A cluster that is not vadev's own counts as running.
    ///
    /// # Errors
    /// Where vadev, or this workspace's vadev, did not make it.
    pub async fn state(&self) -> Result<ClusterState, Failure> {
        if self.options.place.existing().is_some() {
            return Ok(ClusterState::Running);
        }
        let name = self.cluster_name();
        super::observe::state(&name, self.kind().await?.condition(&name).await?)
    }

    /// Brings a stopped or paused cluster back, waiting at most `within` for its API server. Whoever took one of its ports
    /// meanwhile is named.
    pub async fn start(&self, within: std::time::Duration, step: &Step) -> Result<Cluster, Failure> {
        let name = self.cluster_name();
        let kind = self.kind().await?;
        let stopped = kind
            .nodes(&name)
            .await?
            .iter()
            .any(|node| node.state == NodeState::Stopped);
        if stopped {
            super::ports::free(self, ClusterPorts::Fixed).await?;
        }
        // Only then is kind's program called, which may be gone from the cache.
        let kind = if stopped || !kind.kubeconfig(&name).is_file() {
            self.kind_program(step).await?
        } else {
            kind
        };
        Ok(kind.start(&name, within, step).await?)
    }

    /// Connects to a cluster that most likely runs, without asking Docker first: that is what makes verbs that look quick.
    /// Where it does not answer, the reason is found as [`Self::running`] finds it.
    pub async fn reach(&self) -> Result<Cluster, Failure> {
        if self.options.place.existing().is_some() {
            return self.connect(ANSWER).await;
        }
        let target = cluster_target(&self.options.state, &self.cluster_name());
        if target.kubeconfig.is_file()
            && let Ok(cluster) = Cluster::connect(&target, std::time::Duration::from_secs(2)).await
        {
            return Ok(cluster);
        }
        self.running(ANSWER).await
    }

    /// As [`Self::start`], as a step of its own, which this ends.
    pub async fn woken(&self, within: std::time::Duration, step: Step) -> Result<Cluster, Failure> {
        match self.start(within, &step).await {
            Ok(cluster) => {
                step.done("the API server answers");
                Ok(cluster)
            }
            Err(error) => {
                step.finish(Outcome::Failed, error.to_string());
                Err(error)
            }
        }
    }

    /// Connects to the cluster; fails with what to do where it does not run.
    pub async fn running(&self, within: std::time::Duration) -> Result<Cluster, Failure> {
        if self.options.place.existing().is_some() {
            return self.connect(within).await;
        }
        let name = self.cluster_name();
        let trouble = match self.state().await? {
            ClusterState::Running => return self.connect(within).await,
            ClusterState::Missing => "does not exist",
            ClusterState::Broken(_) => "was never finished",
            ClusterState::Stopped => "is stopped",
            ClusterState::Paused => "is paused",
        };
        Err(
            Plain::new(Family::Cluster, format!("the cluster {name} {trouble}"))
                .with_hint("vadev up")
                .into(),
        )
    }

    /// The configuration of a cluster that has to be made.
    pub fn kind_cluster(&self, node_image: String, cgroup_v1: bool) -> KindCluster {
        KindCluster {
            name: self.cluster_name(),
            nodes: self.options.nodes,
            node_image,
            http_port: self.options.http_port,
            https_port: self.options.https_port,
            cgroup_v1,
            audit_folder: Some(self.options.state.join("audit").display().to_string()),
        }
    }
}
