//! `down`: removes exactly what vadev made, as much of it as was asked for.

use std::time::Duration;

use serde::Serialize;

use super::platform::Platform;
use crate::cluster::{Mesh, in_user_file, remove_from_user_file};
use crate::failure::{Diagnose, Failure, Family, Plain};
use crate::k8s::{self, ObjectRef};
use crate::plan::ClusterState;
use crate::render::ObjectId;
use crate::render::object::WORKSPACE;

/// How much goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DownOptions {
    /// The cluster and everything in it. The cache of images stays.
    Cluster,
    /// Everything that vadev deployed; the cluster and Istio stay.
    KeepCluster,
    /// Everything that vadev deployed with its namespaces and data; the cluster and Istio stay.
    All,
    /// The applications; infrastructure, its data, the cluster and Istio stay.
    KeepInfra,
    /// The cluster, and the workspace's state folder with its secrets. Of a cluster that is not vadev's own: everything that
    /// vadev deployed, and Istio where vadev installed it.
    Purge,
}

/// What would go and what would stay, for the question before it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Extent {
    /// What goes, one line each.
    pub goes: Vec<String>,
    /// What stays, one line each.
    pub stays: Vec<String>,
}

/// What went.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownReport {
    /// What was removed; empty where there was nothing.
    pub removed: Vec<String>,
}

/// How long stopping pods may take in all.
const PATIENCE: Duration = Duration::from_mins(3);

/// Looks what a `down` would remove. Removes nothing; where objects are to be removed from a cluster that is stopped or
/// paused, it is started, because nothing else can tell which there are.
pub async fn extent(platform: &Platform, options: DownOptions) -> Result<Extent, Failure> {
    let name = platform.cluster_name();
    let state = platform.state().await?;
    let there = state != ClusterState::Missing;
    let mut goes = Vec::new();
    let mut stays = vec!["the cache of tools and images (vadev supply prune)".to_owned()];
    match options {
        DownOptions::Cluster | DownOptions::Purge if own(platform) => {
            if there {
                goes.push(format!(
                    "the kind cluster {name} with everything in it, its data included"
                ));
                // A file that can't be read is no reason to keep the cluster; removing says what is wrong with it.
                if let Some(user) = &platform.options.kubeconfig
                    && in_user_file(user, &format!("kind-{name}")).unwrap_or(true)
                {
                    goes.push(format!("its context kind-{name} in {}", user.display()));
                }
            }
            if options == DownOptions::Purge {
                goes.push(format!(
                    "the state folder {} with the development secrets",
                    platform.options.state.display()
                ));
            }
        }
        _ => {
            if options == DownOptions::Purge {
                stays.push(format!("the cluster {name}"));
            } else {
                stays.push(format!("the cluster {name} and Istio"));
            }
            match options {
                DownOptions::KeepInfra => stays.push("the infrastructure and its data".to_owned()),
                DownOptions::KeepCluster => {
                    stays
                        .push("persistent volume claims, so that `vadev up` finds its data again".to_owned());
                }
                _ => {}
            }
            if there {
                if options == DownOptions::Purge {
                    goes.push("Istio with its definitions, where vadev installed it".to_owned());
                }
                if matches!(options, DownOptions::All | DownOptions::Purge) {
                    goes.push("the volumes of the databases with all their data".to_owned());
                }
                awake(platform, &state).await?;
                let objects = objects(platform, options).await?;
                goes.extend(objects.iter().map(ToString::to_string));
            }
        }
    }
    Ok(Extent { goes, stays })
}

/// Removes it.
pub async fn down(platform: &Platform, options: DownOptions) -> Result<DownReport, Failure> {
    let name = platform.cluster_name();
    let state = platform.state().await?;
    let mut removed = Vec::new();
    match options {
        DownOptions::Cluster | DownOptions::Purge if own(platform) => {
            if state != ClusterState::Missing {
                let step = platform
                    .reporter
                    .step("down", format!("Delete the cluster {name}"), None);
                platform.kind_program(&step).await?.delete(&name, &step).await?;
                step.done("gone");
                if let Some(user) = &platform.options.kubeconfig
                    && let Err(error) = remove_from_user_file(user, &format!("kind-{name}")).await
                {
                    let hint = error.hint();
                    platform
                        .reporter
                        .warn(format!("the context kind-{name} stays: {error}"), hint);
                }
                removed.push(format!("cluster {name}"));
            }
            if options == DownOptions::Purge && platform.options.state.exists() {
                let folder = &platform.options.state;
                tokio::fs::remove_dir_all(folder).await.map_err(|error| {
                    Plain::new(
                        Family::Environment,
                        format!("can't remove {}: {error}", folder.display()),
                    )
                })?;
                removed.push(format!("state folder {}", folder.display()));
            }
        }
        _ => {
            if state == ClusterState::Missing {
                return Ok(DownReport { removed });
            }
            awake(platform, &state).await?;
            let cluster = platform.connect(PATIENCE).await?;
            let objects = objects(platform, options).await?;
            cluster.recheck().await?;
            let step = platform
                .reporter
                .step("down", format!("Remove objects: {}", objects.len()), None);
            let references: Vec<ObjectRef> = objects.iter().map(ObjectRef::from).collect();
            let delete = k8s::DeleteOptions {
                wait: Some(PATIENCE),
                ..k8s::DeleteOptions::default()
            };
            let gone = k8s::delete_all(&cluster, &references, delete).await?;
            step.done(format!("{} removed", gone.len()));
            removed.extend(gone.iter().map(ToString::to_string));
            if options == DownOptions::Purge {
                let step = platform.reporter.step("mesh", "Remove Istio", None);
                let count = Mesh::remove(&cluster, PATIENCE).await?;
                step.done(format!("{count} removed"));
                removed.push(format!("Istio: {count} objects"));
            }
        }
    }
    Ok(DownReport { removed })
}

/// Whether the cluster is one that vadev makes and deletes.
fn own(platform: &Platform) -> bool {
    platform.options.place.existing().is_none()
}

/// Brings a cluster that does not run back, so that its objects can be told and removed.
async fn awake(platform: &Platform, state: &ClusterState) -> Result<(), Failure> {
    let (title, cause) = match state {
        ClusterState::Running | ClusterState::Missing => return Ok(()),
        ClusterState::Stopped => ("Start the cluster", "stopped"),
        ClusterState::Paused => ("Resume the cluster", "paused"),
        ClusterState::Broken(_) => {
            let message = format!(
                "the cluster {} was never finished: nothing can be removed from it",
                platform.cluster_name()
            );
            return Err(Plain::new(Family::Cluster, message)
                .with_hint("remove the cluster itself: vadev down")
                .into());
        }
    };
    let cause = format!("{cause}, and what is in it is to be removed");
    let step = platform.reporter.step("cluster", title, Some(cause));
    platform.woken(PATIENCE, step).await.map(drop)
}

/// vadev's objects that go. A namespace goes only with all that is in it, so it stays where data or others' objects may be.
async fn objects(platform: &Platform, options: DownOptions) -> Result<Vec<ObjectId>, Failure> {
    let cluster = platform.connect(PATIENCE).await?;
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, platform.stack().workspace);
    let snapshot = k8s::observe(&cluster, &selector).await?;
    let namespaces = &platform.stack().namespaces;
    let goes = |id: &&ObjectRef| {
        let infrastructure =
            id.namespace.as_ref() == Some(&namespaces.infra) || id.name.starts_with(&namespaces.infra);
        let data = matches!(id.kind.as_str(), "PersistentVolumeClaim" | "Namespace");
        match options {
            DownOptions::KeepInfra => !data && !infrastructure,
            DownOptions::KeepCluster => !data,
            _ => true,
        }
    };
    Ok(snapshot
        .iter()
        .map(|(id, _)| id)
        .filter(goes)
        .map(ObjectId::from)
        .collect())
}
