//! `down`: removes exactly what vadev made, as much of it as was asked for.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::platform::Platform;
use crate::cluster::{Mesh, in_user_file, remove_from_user_file};
use crate::failure::{Diagnose, Failure, Family, Plain};
use crate::k8s::{self, Cluster, KindInfo, ObjectRef};
use crate::plan::ClusterState;
use crate::render::ObjectId;
use crate::render::mesh::tls_secret;
use crate::render::object::{MANAGED_BY, SET_BY, WORKSPACE};

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
    /// vadev deployed, and Istio where vadev installed it and nobody else uses it.
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
    refuse_under_compose(platform, options).await?;
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
                    let cluster = platform.connect(PATIENCE).await?;
                    match keeps_mesh(platform, &cluster).await? {
                        Some(why) => stays.push(why),
                        None => goes.push("Istio with its definitions, where vadev installed it".to_owned()),
                    }
                }
                if matches!(options, DownOptions::All | DownOptions::Purge) {
                    goes.push("the volumes of the databases with all their data".to_owned());
                }
                awake(platform, &state).await?;
                let objects = objects(platform, options).await?;
                goes.extend(strangers(platform, &objects).await?);
                goes.extend(objects.iter().map(ToString::to_string));
            }
        }
    }
    Ok(Extent { goes, stays })
}

/// Removes it.
pub async fn down(platform: &Platform, options: DownOptions) -> Result<DownReport, Failure> {
    let name = platform.cluster_name();
    refuse_under_compose(platform, options).await?;
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
                if let Some(why) = keeps_mesh(platform, &cluster).await? {
                    platform.reporter.note(format!("not removed: {why}"));
                    return Ok(DownReport { removed });
                }
                let step = platform.reporter.step("mesh", "Remove Istio", None);
                let count = Mesh::remove(&cluster, PATIENCE).await?;
                step.done(format!("{count} removed"));
                removed.push(format!("Istio: {count} objects"));
            }
        }
    }
    Ok(DownReport { removed })
}

/// Istio, with the reason for which it is not this platform's to remove; `None` where it is.
async fn keeps_mesh(platform: &Platform, cluster: &Cluster) -> Result<Option<String>, Failure> {
    if matches!(Mesh::find(cluster).await?, Mesh::Foreign { .. }) {
        return Ok(Some("Istio, which vadev did not install".to_owned()));
    }
    let kinds = KindInfo::several(&[("v1", "Namespace")]);
    let namespaces = k8s::observe_kinds(cluster, "", &kinds).await?;
    let stack = platform.stack();
    let others: Vec<&str> = namespaces
        .iter()
        .filter(|(id, value)| id.name != stack.namespaces.mesh && is_anothers(value, &stack.workspace))
        .map(|(id, _)| id.name.as_str())
        .collect();
    Ok((!others.is_empty()).then(|| format!("Istio, which others use: {}", others.join(", "))))
}

/// Whether a namespace is part of another platform of vadev's, or else has sidecars.
fn is_anothers(namespace: &Value, workspace: &str) -> bool {
    let labels = &namespace["metadata"]["labels"];
    if labels[MANAGED_BY] == "vadev" {
        return labels[WORKSPACE] != workspace;
    }
    labels["istio-injection"] == "enabled" || labels["istio.io/rev"].is_string()
}

/// Containers that Compose runs mount files of the state folder, and their passwords are nowhere else: `--purge` would take
/// both from under them.
async fn refuse_under_compose(platform: &Platform, options: DownOptions) -> Result<(), Failure> {
    if options != DownOptions::Purge || !own(platform) {
        return Ok(());
    }
    let containers = super::compose::services(platform).await?;
    let Some(first) = containers.first() else {
        return Ok(());
    };
    let message = format!(
        "{} containers of Compose are there, {} among them, and --purge would remove their files and passwords",
        containers.len(),
        first.container
    );
    Err(Plain::new(Family::Refused, message)
        .with_hint("remove them first: vadev compose down")
        .into())
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
    let ours: Vec<&ObjectRef> = snapshot.iter().map(|(id, _)| id).filter(goes).collect();
    let mut objects: Vec<ObjectId> = ours.iter().copied().map(ObjectId::from).collect();
    objects.extend(autoscalers(&cluster, &ours).await?.iter().map(ObjectId::from));
    // The certificate is in no rendering, and so carries no workspace; where the gateway is shared it has a name of its own.
    if platform.stack().host.is_some() && options != DownOptions::KeepInfra {
        let name = tls_secret(platform.stack());
        let secret = ObjectRef::new("v1", "Secret", &namespaces.mesh, &name);
        if k8s::find(&cluster, &secret).await?.is_some() {
            objects.push(ObjectId::from(&secret));
        }
    }
    Ok(objects)
}

/// Kinds of which somebody would miss an object: what runs, how it is reached, and what it keeps.
const MISSED: [&str; 7] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "Service",
    "PersistentVolumeClaim",
];

/// A line for each namespace that goes and takes others' objects with it.
async fn strangers(platform: &Platform, goes: &[ObjectId]) -> Result<Vec<String>, Failure> {
    let going = goes.iter().filter(|id| id.kind == "Namespace");
    let namespaces: Vec<&str> = going.map(|id| id.name.as_str()).collect();
    let kinds: Vec<KindInfo> = k8s::BUILT_IN
        .iter()
        .filter(|kind| MISSED.contains(&kind.kind))
        .copied()
        .collect();
    let cluster = platform.connect(PATIENCE).await?;
    let found = k8s::observe_in(&cluster, &namespaces, "", &kinds).await?;
    let stack = platform.stack();
    let systems = stack
        .infrastructure
        .iter()
        .flat_map(|system| &system.infrastructure.workloads);
    let stores: Vec<&str> = systems.map(|workload| workload.name.as_str()).collect();
    let others: Vec<&ObjectRef> = found
        .iter()
        .filter(|(_, value)| is_strange(value, &stack.workspace, &stores))
        .map(|(id, _)| id)
        .collect();
    let line = |namespace: &&str| {
        let here = |id: &&&ObjectRef| id.namespace.as_deref() == Some(*namespace);
        let names: Vec<String> = others
            .iter()
            .filter(here)
            .map(|id| format!("{}/{}", id.kind, id.name))
            .collect();
        let first = names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 5 { ", …" } else { "" };
        (!names.is_empty()).then(|| {
            format!(
                "with the namespace {namespace}, {} objects that this workspace did not make: {first}{more}",
                names.len()
            )
        })
    };
    Ok(namespaces.iter().filter_map(line).collect())
}

/// Whether an object is neither the workspace's nor made by a controller out of one that is looked at itself. The claims of
/// its stores have no label but their store's.
fn is_strange(object: &Value, workspace: &str, stores: &[&str]) -> bool {
    let metadata = &object["metadata"];
    let labels = &metadata["labels"];
    let ours = labels[MANAGED_BY] == "vadev" && labels[WORKSPACE] == workspace;
    let claim = object["kind"] == "PersistentVolumeClaim"
        && labels["app"].as_str().is_some_and(|app| stores.contains(&app));
    !ours && !claim && metadata["ownerReferences"].as_array().is_none_or(Vec::is_empty)
}

/// Autoscalers that `hpa set` made for workloads that go: `up` has to leave them alone, so they do not carry its labels.
async fn autoscalers(cluster: &Cluster, goes: &[&ObjectRef]) -> Result<Vec<ObjectRef>, Failure> {
    let kinds = KindInfo::several(&[("autoscaling/v2", "HorizontalPodAutoscaler")]);
    let mut namespaces: Vec<&str> = goes.iter().filter_map(|id| id.namespace.as_deref()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let found = k8s::observe_in(cluster, &namespaces, &format!("{SET_BY}=hpa"), &kinds).await?;
    let scales = |id: &ObjectRef, value: &Value| {
        let target = &value["spec"]["scaleTargetRef"];
        goes.iter().any(|other| {
            other.namespace == id.namespace
                && target["kind"] == other.kind.as_str()
                && target["name"] == other.name.as_str()
        })
    };
    let gone = found.iter().filter(|(id, value)| scales(id, value));
    Ok(gone.map(|(id, _)| id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strangers_are_neither_ours_nor_made_by_a_controller() {
        let strange = |kind: &str, labels: Value, owners: Value| {
            let metadata = json!({"labels": labels, "ownerReferences": owners});
            is_strange(
                &json!({"kind": kind, "metadata": metadata}),
                "shop",
                &["postgres"],
            )
        };
        let of = |workspace: &str| json!({MANAGED_BY: "vadev", WORKSPACE: workspace});
        assert!(!strange("Service", of("shop"), Value::Null));
        assert!(strange("Service", of("other"), Value::Null));
        assert!(strange("Job", Value::Null, Value::Null));
        assert!(!strange("Job", Value::Null, json!([{"kind": "CronJob"}])));
        let claim = |app: &str| strange("PersistentVolumeClaim", json!({"app": app}), Value::Null);
        assert!(claim("wiki") && !claim("postgres"));
    }

    #[test]
    fn a_mesh_is_anothers_too_where_namespaces_have_sidecars() {
        let anothers =
            |labels: Value| is_anothers(&json!({ "metadata": { "labels": labels } }), "alice-shop");
        assert!(anothers(json!({ MANAGED_BY: "vadev", WORKSPACE: "bob-shop" })));
        assert!(anothers(json!({ "istio-injection": "enabled" })));
        assert!(anothers(json!({ "istio.io/rev": "canary" })));
        assert!(!anothers(
            json!({ MANAGED_BY: "vadev", WORKSPACE: "alice-shop", "istio-injection": "enabled" })
        ));
        assert!(!anothers(json!({ "istio-injection": "disabled" })));
        assert!(!is_anothers(&json!({ "metadata": {} }), "alice-shop"));
    }
}
