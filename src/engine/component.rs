//! One component brought to what the workspace says, without looking at the others: for verbs that change one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::builds;
use super::images;
use super::platform::Platform;
use super::secrets;
use super::tokens::{TokenKey, mesh_setting};
use crate::catalog::Service;
use crate::failure::{Failure, Family, Plain};
use crate::image;
use crate::k8s::{self, Applied, ApplyOptions, Cluster, KindInfo, ObjectRef};
use crate::plan::ClusterState;
use crate::profile::Stack;
use crate::render::object::WORKSPACE;
use crate::render::{self, Object, ObjectId, Origin, Setting};

/// How a component is brought up to date.
#[derive(Debug, Clone, Default)]
pub struct ComponentOptions {
    /// Fail where exactly this image can't be had, instead of taking another one.
    pub image: Option<String>,
    /// Keep as many replicas as the cluster has now.
    pub keep_replicas: bool,
}

/// Brings missing images of the component to the nodes and applies its objects; `name` is its own, or that of one of its
/// workloads. Waits for no pod. What was applied, in the order of rendering.
pub async fn apply_component(
    platform: &Platform,
    cluster: &Cluster,
    name: &str,
    options: &ComponentOptions,
) -> Result<Vec<Applied>, Failure> {
    let images = images::resolve(platform).await?;
    let (component, workload) = meant(platform.stack(), name);
    if let Some(wanted) = &options.image {
        let found = images.deployed.get(workload);
        if found.is_none_or(|found| found.reference != *wanted || found.origin == Origin::StandIn) {
            let message = format!("the image {wanted} is neither in Docker nor in a registry that answers");
            return Err(Plain::new(Family::Supply, message)
                .with_hint(format!("build or pull it first: docker pull {wanted}"))
                .into());
        }
    }
    bring(platform, &images, component).await?;
    let mut objects = rendered(platform, cluster, images, component).await?;
    if objects.is_empty() {
        let message = format!("nothing of {name} is in the profile {}", platform.stack().profile);
        return Err(Plain::new(Family::Usage, message)
            .with_hint(format!("vadev up {name} brings it"))
            .into());
    }
    if options.keep_replicas {
        keep_replicas(cluster, &mut objects).await?;
    }
    cluster.recheck().await?;
    let values: Vec<Value> = objects.iter().map(|object| object.value().clone()).collect();
    Ok(k8s::apply_all(cluster, &values, ApplyOptions::default()).await?)
}

/// The component that a name means, and the workload of it.
fn meant<'a>(stack: &'a Stack, name: &'a str) -> (&'a str, &'a str) {
    for system in &stack.infrastructure {
        let system = &system.infrastructure;
        if system.workloads.iter().any(|workload| workload.name == name) {
            return (&system.name, name);
        }
        if system.is_called(name) {
            let first = system.workloads.first();
            return (&system.name, first.map_or(name, |workload| &workload.name));
        }
    }
    (name, name)
}

/// A component's objects as `up` would render them now. A session that develops the service sees the workspace change, and
/// brings its own parts back.
async fn rendered(
    platform: &Platform,
    cluster: &Cluster,
    images: images::Images,
    name: &str,
) -> Result<Vec<Object>, Failure> {
    let stack = platform.stack();
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, stack.workspace);
    // Secrets for their values; workloads for what runs beside the component, on which its objects depend.
    let kinds = KindInfo::several(&[
        ("v1", "Secret"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
    ]);
    let live = k8s::observe_kinds(cluster, &selector, &kinds).await?;
    let live = live
        .iter()
        .map(|(id, value)| (ObjectId::from(id), value.clone()))
        .collect();
    let amid = platform.amid(&live);
    let state = &platform.options.state;
    let secrets = secrets::ensure(state, &amid, &secrets::live(&live)).map_err(|error| {
        let message = format!(
            "can't keep the development secrets in {}: {error}",
            state.display()
        );
        Plain::new(Family::Environment, message)
    })?;
    let setting = Setting {
        mesh: mesh_setting(
            stack,
            builds::among(platform, &amid),
            Some(&TokenKey::ensure(state)?),
            images.proxies(),
            super::mesh::api(platform, Some(cluster)).await?,
        ),
        images: images.deployed,
        secrets,
        ..Setting::default()
    };
    let mut objects = render::objects(&amid, &setting);
    objects.retain(|object| object.component() == name);
    Ok(objects)
}

/// What the config map of a service holds as `up` would render it; `else_by` describes one that the stack has not.
pub fn rendered_config(platform: &Platform, else_by: &Service) -> BTreeMap<String, String> {
    let stack = platform.stack();
    let sized = stack
        .services
        .iter()
        .find(|sized| sized.service.name == else_by.name);
    render::service::config_of(stack, sized.map_or(else_by, |sized| &sized.service))
}

async fn bring(platform: &Platform, images: &images::Images, name: &str) -> Result<(), Failure> {
    let references = images.by_component.get(name).cloned().unwrap_or_default();
    for reference in &references {
        if let (Some(cause), Some(request)) =
            (images.to_supply.get(reference), images.requests.get(reference))
        {
            let step = platform.reporter.step(
                format!("image/{name}"),
                format!("Image {reference}"),
                Some(cause.clone()),
            );
            let supplied = platform.supply.image(request, &step).await?;
            step.done(format!("{} MB", supplied.size / 1_000_000));
        }
    }
    let cluster = platform.cluster_name();
    let kind = platform.kind().await?;
    if super::observe::state(&cluster, kind.condition(&cluster).await?)? != ClusterState::Running {
        return Ok(());
    }
    let nodes: Vec<String> = kind
        .nodes(&cluster)
        .await?
        .into_iter()
        .map(|node| node.name)
        .collect();
    let docker = platform.supply.docker().await?;
    let missing: Vec<String> = image::missing(docker, &nodes, &references)
        .await?
        .into_iter()
        .map(|missing| missing.image)
        .collect();
    if !missing.is_empty() {
        let step = platform.reporter.step(
            format!("ship/{name}"),
            format!("Bring {} to the nodes", missing.join(", ")),
            Some("missing".to_owned()),
        );
        image::ship(docker, &nodes, &missing, &step).await?;
        step.done("there");
    }
    Ok(())
}

async fn keep_replicas(cluster: &Cluster, objects: &mut [Object]) -> Result<(), Failure> {
    for object in objects {
        let id = ObjectRef::from(&object.id());
        if !matches!(id.kind.as_str(), "Deployment" | "StatefulSet") {
            continue;
        }
        if let Some(live) = k8s::find(cluster, &id).await? {
            let replicas = live.data["spec"]["replicas"].clone();
            if replicas.is_u64() {
                object.value_mut()["spec"]["replicas"] = json!(replicas);
            }
        }
    }
    Ok(())
}
