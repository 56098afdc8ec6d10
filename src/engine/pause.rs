//! Freezing the platform and thawing it: its memory stays, it takes no CPU meanwhile.

use std::time::Duration;

use serde::Serialize;

use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::plan::ClusterState;

/// What a pause or a resume came to.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseReport {
    /// kind's name of the cluster.
    pub cluster: String,
    /// Whether it is paused now.
    pub paused: bool,
    /// Whether that is new.
    pub changed: bool,
    /// Wall-clock seconds until the API server answered again; for a pause, until all nodes were frozen.
    pub seconds: f64,
}

/// Freezes every node of the cluster. A second pause changes nothing.
///
/// # Errors
/// Where there is no cluster of the workspace's own, or it is stopped.
pub async fn pause(platform: &Platform) -> Result<PauseReport, Failure> {
    platform.own_only("pausing")?;
    let begun = std::time::Instant::now();
    let changed = match platform.state().await? {
        ClusterState::Paused => false,
        ClusterState::Running => {
            let kind = platform.kind().await?;
            kind.pause(&platform.cluster_name()).await?;
            true
        }
        ClusterState::Stopped => {
            let message = format!(
                "the cluster {} is stopped: it takes nothing",
                platform.cluster_name()
            );
            return Err(Plain::new(Family::Cluster, message)
                .with_hint("vadev up starts it")
                .into());
        }
        ClusterState::Missing | ClusterState::Broken(_) => return Err(none(platform)),
    };
    Ok(report(platform, true, changed, begun))
}

/// Thaws a paused cluster, or starts a stopped one, and waits until its API server answers.
///
/// # Errors
/// Where there is no cluster of the workspace's own, or it does not answer within `within`.
pub async fn resume(platform: &Platform, within: Duration) -> Result<PauseReport, Failure> {
    platform.own_only("resuming")?;
    let begun = std::time::Instant::now();
    let changed = match platform.state().await? {
        ClusterState::Running => false,
        ClusterState::Paused | ClusterState::Stopped => {
            let step = platform.reporter.step("cluster", "Resume the cluster", None);
            platform.woken(within, step).await?;
            true
        }
        ClusterState::Missing | ClusterState::Broken(_) => return Err(none(platform)),
    };
    Ok(report(platform, false, changed, begun))
}

fn none(platform: &Platform) -> Failure {
    Plain::new(
        Family::Cluster,
        format!("the cluster {} does not exist", platform.cluster_name()),
    )
    .with_hint("vadev up")
    .into()
}

fn report(platform: &Platform, paused: bool, changed: bool, begun: std::time::Instant) -> PauseReport {
    PauseReport {
        cluster: platform.cluster_name(),
        paused,
        changed,
        seconds: begun.elapsed().as_secs_f64(),
    }
}
