//! One platform on one machine: what it is to be, and through what it is reached.

use std::path::PathBuf;

use crate::cluster::{Kind, Owner};
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{Cluster, Target};
use crate::plan::ClusterState;
use crate::profile::Stack;
use crate::render::kind::KindCluster;
use crate::report::{Reporter, Step};
use crate::supply::Supply;

/// What [`Platform::open`] needs to know.
#[derive(Debug, Clone)]
pub struct PlatformOptions {
    /// The resolved platform.
    pub stack: Stack,
    /// The workspace's state folder, `.vadev/`.
    pub state: PathBuf,
    /// Port on 127.0.0.1 for http.
    pub http_port: u16,
    /// Port on 127.0.0.1 for https.
    pub https_port: u16,
    /// Nodes of a cluster that has to be made.
    pub nodes: u32,
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
}

impl Platform {
    /// Puts the parts together; touches nothing.
    pub fn new(options: PlatformOptions, supply: Supply, reporter: Reporter) -> Self {
        Self {
            options,
            supply,
            reporter,
        }
    }

    /// The resolved stack.
    pub fn stack(&self) -> &Stack {
        &self.options.stack
    }

    /// kind's name of the cluster: `vadev-<workspace>`.
    pub fn cluster_name(&self) -> String {
        format!("vadev-{}", self.stack().workspace)
    }

    /// kind and what vadev remembers of its clusters. The program itself need not be there yet: see [`Self::kind_program`].
    pub async fn kind(&self) -> Result<Kind, Failure> {
        let docker = self.supply.docker().await?.clone();
        Ok(Kind::new(
            self.supply.cache().bin("kind"),
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
        Ok(self.kind().await?.target(&self.cluster_name()))
    }

    /// Whose the cluster is.
    pub fn owner(&self) -> Owner {
        Owner {
            workspace: self.stack().workspace.clone(),
            profile: self.stack().profile.clone(),
        }
    }

    /// Connects to the running cluster, waiting at most `within`.
    pub async fn connect(&self, within: std::time::Duration) -> Result<Cluster, Failure> {
        Ok(Cluster::connect(&self.target().await?, within).await?)
    }

    /// Whether a cluster of the name is there, in whatever state.
    pub async fn cluster_exists(&self) -> Result<bool, Failure> {
        Ok(!self.kind().await?.nodes(&self.cluster_name()).await?.is_empty())
    }

    /// Connects to the cluster; fails with what to do where it does not run.
    pub async fn running(&self, within: std::time::Duration) -> Result<Cluster, Failure> {
        let name = self.cluster_name();
        let state = super::observe::state(&name, self.kind().await?.condition(&name).await?)?;
        let trouble = match state {
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
