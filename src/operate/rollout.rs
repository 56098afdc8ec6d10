//! Changing workloads and waiting until the change has arrived everywhere, with the diagnosis that every failed wait gives.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::OperateError;
use super::site::{Site, Workload};
use crate::failure::Failure;
use crate::k8s::{MANAGER, ObjectRef, Scope, View, WaitOptions};
use crate::render::service::version_of;

/// The annotation by which kubectl restarts a rollout too: either's restarts look the same in a history.
pub(super) const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// How long a rollout is waited for, and whether one that can't finish is taken back.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Longest wait for the pods of one workload.
    pub within: Duration,
    /// Go back to what was before.
    pub auto_undo: bool,
}

/// How a rollout came out.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The workload.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// `2/2 pods ready`.
    pub detail: String,
    /// The image that runs now.
    pub image: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// The untyped API of a workload's or autoscaler's kind.
pub(super) fn api(site: &Site, id: &ObjectRef) -> Api<DynamicObject> {
    let resource = match id.kind.as_str() {
        "StatefulSet" => ApiResource::erase::<StatefulSet>(&()),
        "HorizontalPodAutoscaler" => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        _ => ApiResource::erase::<Deployment>(&()),
    };
    let namespace = id.namespace.as_deref().unwrap_or_default();
    Api::namespaced_with(site.cluster.client(), namespace, &resource)
}

/// Changes a workload; the result is the workload after it.
pub(super) async fn change(
    site: &Site,
    workload: &Workload,
    patch: Patch<Value>,
) -> Result<Workload, Failure> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let subject = workload.id.to_string();
    let changed = api(site, &workload.id)
        .patch(workload.name(), &params, &patch)
        .await
        .map_err(|error| OperateError::request("change", &subject, error))?;
    let value = serde_json::to_value(changed).map_err(|error| OperateError::unreadable(subject, error))?;
    Ok(Workload {
        id: workload.id.clone(),
        value,
    })
}

/// Waits until everything of the workload is as its newest generation wants it, telling each replica on a step.
pub async fn settle(
    site: &Site,
    workload: &Workload,
    cause: &str,
    within: Duration,
) -> Result<Rollout, Failure> {
    let step = site.reporter.step(
        format!("rollout/{}", workload.name()),
        format!("Roll out {}", workload.name()),
        Some(cause.to_owned()),
    );
    let scope = Scope::Namespaces(vec![workload.namespace().to_owned()]);
    let view = View::open(&site.cluster, &scope);
    view.synced(Duration::from_secs(20)).await;
    if let Some(generation) = workload.value["metadata"]["generation"].as_i64() {
        view.expect(&workload.id, generation);
    }
    match view
        .wait_ready(&workload.id, WaitOptions::within(within), Some(&step))
        .await
    {
        Ok(detail) => {
            let seconds = step.done(detail.clone());
            Ok(Rollout {
                name: workload.name().to_owned(),
                namespace: workload.namespace().to_owned(),
                detail,
                image: workload.image().to_owned(),
                seconds,
            })
        }
        Err(error) => {
            step.failed(&error);
            Err(error.into())
        }
    }
}

/// A paused Deployment takes changes and rolls nothing out: waiting for it would be for ever.
pub fn refuse_paused(workload: &Workload) -> Result<(), OperateError> {
    if workload.value["spec"]["paused"] == true {
        let name = workload.name();
        return Err(OperateError::unfit(
            name,
            "its rollout is paused",
            format!("vadev rollout resume {name}"),
        ));
    }
    Ok(())
}

/// Gives the component's container another image. Does not wait.
pub async fn set_image(site: &Site, workload: &Workload, image: &str) -> Result<Workload, Failure> {
    let container = json!({"name": workload.container(), "image": image});
    let mut patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
    // A service's pods are labelled with the version, as `up` and a promotion would label them for this image.
    let labels = &workload.value["spec"]["template"]["metadata"]["labels"];
    if let Some(version) = version_of(image).filter(|_| labels.get("version").is_some()) {
        patch["spec"]["template"]["metadata"] = json!({"labels": {"version": version}});
    }
    change(site, workload, Patch::Strategic(patch)).await
}

/// Wants another number of replicas. Does not wait.
pub async fn set_replicas(site: &Site, workload: &Workload, replicas: u32) -> Result<Workload, Failure> {
    change(
        site,
        workload,
        Patch::Merge(json!({"spec": {"replicas": replicas}})),
    )
    .await
}

/// Has every pod replaced. Does not wait.
pub async fn mark_restart(site: &Site, workload: &Workload) -> Result<Workload, Failure> {
    let now = Timestamp::now().to_string();
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}});
    change(site, workload, Patch::Merge(patch)).await
}

/// Pauses or resumes the rollouts of a Deployment. Does not wait.
pub async fn pause(site: &Site, name: &str, paused: bool) -> Result<Workload, Failure> {
    let workload = site.workload(name).await?;
    if workload.id.kind != "Deployment" {
        let problem = format!(
            "only rollouts of Deployments can be paused, and it is a {}",
            workload.id.kind
        );
        return Err(OperateError::unfit(name, problem, format!("vadev rollout status {name}")).into());
    }
    site.cluster.recheck().await?;
    change(site, &workload, Patch::Merge(json!({"spec": {"paused": paused}}))).await
}
