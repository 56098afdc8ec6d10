//! One replica: a connection to the agent in its pod, and its files in step with the source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::ReloadError;
use super::origin::Origin;
use super::tree::Lack;
use crate::agent::protocol::{Child, Then};
use crate::agent::remote::{Error as AgentError, Remote};
use crate::failure::{Diagnose, Family};
use crate::k8s::{Cluster, K8sError, Tunnel};
use crate::render::develop::AGENT_PORT;

/// How often an idle connection is asked for a sign of life.
pub const PULSE: Duration = Duration::from_secs(10);

/// Why a replica could not be reached or brought in step.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The way to it.
    #[error(transparent)]
    Cluster(#[from] K8sError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The source.
    #[error(transparent)]
    Source(#[from] ReloadError),
    /// A thread ended early.
    #[error("reading the source was broken off: {0}")]
    Broken(String),
}

impl Diagnose for LinkError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Agent(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Broken(_) => None,
        }
    }
    fn family(&self) -> Family {
        match self {
            Self::Cluster(error) => error.family(),
            Self::Agent(error) => error.family(),
            Self::Source(error) => error.family(),
            Self::Broken(_) => Family::Internal,
        }
    }
    fn details(&self) -> Vec<String> {
        match self {
            Self::Source(error) => error.details(),
            Self::Cluster(error) => error.details(),
            Self::Agent(_) | Self::Broken(_) => Vec::new(),
        }
    }
}

/// Runs blocking work of an origin.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReloadError> + Send + 'static,
) -> Result<T, LinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(LinkError::Broken(error.to_string())),
    }
}

/// A replica brought in step.
#[derive(Debug, Clone, Copy)]
pub struct Attached {
    /// Files that it lacked.
    pub brought: usize,
    /// Whether its agent was replaced by this vadev's.
    pub healed: bool,
    /// Until it was in step.
    pub took: Duration,
}

/// An open session with a replica's agent.
pub struct Link {
    /// The pod.
    pub pod: String,
    /// The session.
    pub remote: Remote,
    /// The states of the service's process.
    pub events: UnboundedReceiver<Child>,
    /// Whether the agent was replaced.
    healed: bool,
}

impl Link {
    /// Connects to the agent in a pod, and replaces it where it is not this vadev's.
    ///
    /// # Errors
    /// It cannot be reached, or refuses the token.
    pub async fn open(cluster: &Cluster, namespace: &str, pod: &str, token: &str) -> Result<Self, LinkError> {
        let mut healed = false;
        loop {
            let tunnel = Tunnel::open(cluster, namespace, pod, AGENT_PORT).await?;
            let mut remote = Remote::open(tunnel, token).await?;
            if !remote.is_current() && !healed {
                remote.upgrade().await?;
                healed = true;
                // The new agent listens a moment after the old one said that it goes.
                tokio::time::sleep(Duration::from_millis(150)).await;
                continue;
            }
            let events = remote
                .events()
                .ok_or_else(|| AgentError::OutOfOrder("its events were taken".to_owned()))?;
            return Ok(Self {
                pod: pod.to_owned(),
                remote,
                events,
                healed,
            });
        }
    }

    /// Brings in what the replica lacks of the source as it is now, and lets a service start that waited for it.
    ///
    /// # Errors
    /// The source cannot be read, or the agent refuses.
    pub async fn attach(&mut self, origin: &Arc<Origin>) -> Result<Attached, LinkError> {
        let begun = Instant::now();
        let waiting = self.remote.welcome().child == Child::Waiting;
        let lack = self.lack(origin).await?;
        let then = if waiting {
            Then::Nothing
        } else {
            origin.service.then(false)
        };
        let brought = lack.len();
        if brought > 0 {
            let shared = Arc::clone(origin);
            let change = blocking(move || shared.change(&lack, then)).await?;
            self.remote.apply(change).await?;
        }
        self.remote.start().await?;
        Ok(Attached {
            brought,
            healed: self.healed,
            took: begun.elapsed(),
        })
    }

    /// What it lacks.
    ///
    /// # Errors
    /// The source cannot be read, or the agent does not answer.
    pub async fn lack(&mut self, origin: &Arc<Origin>) -> Result<Lack, LinkError> {
        let there = self.remote.status(&origin.service.recipe.rules.roots()).await?;
        let shared = Arc::clone(origin);
        let tree = blocking(move || shared.tree()).await?;
        let lack = tree.lack(&there);
        let given = tree
            .files
            .into_iter()
            .map(|(target, (_, node))| (target, node))
            .collect();
        origin.attached(given);
        Ok(lack)
    }
}
