//! Autoscalers: what they want, what they see, and where they disagree with a number set by hand.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::OperateError;
use super::site::{Site, Workload};
use super::top;
use crate::failure::Failure;
use crate::k8s::{self, ApplyOptions};
use crate::render::object::SET_BY;

/// One autoscaler.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hpa {
    /// Its name, mostly `<service>-hpa`.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// The workload it scales.
    pub target: String,
    /// Fewest replicas.
    pub min: i32,
    /// Most replicas.
    pub max: i32,
    /// Target CPU use, per cent of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_target_percent: Option<i32>,
    /// CPU use that it sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_percent: Option<i32>,
    /// Replicas there are.
    pub replicas: i32,
    /// Replicas it wants.
    pub desired: i32,
    /// Why it can't scale, where it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// All autoscalers of the platform, or the one of a workload.
pub async fn list(site: &Site, target: Option<&str>) -> Result<Vec<Hpa>, Failure> {
    let mut found = Vec::new();
    for namespace in [&site.namespaces.apps, &site.namespaces.infra] {
        found.extend(all_in(site, namespace).await?.iter().map(read));
    }
    found.retain(|hpa| target.is_none_or(|target| hpa.target == target));
    Ok(found)
}

async fn all_in(site: &Site, namespace: &str) -> Result<Vec<HorizontalPodAutoscaler>, Failure> {
    let listed = site
        .api::<HorizontalPodAutoscaler>(namespace)
        .list(&ListParams::default())
        .await;
    let listed =
        listed.map_err(|error| OperateError::request("list the autoscalers of", namespace, error))?;
    Ok(listed.items)
}

/// What `hpa set` is told.
#[derive(Debug, Clone, Copy)]
pub struct HpaSpec {
    /// Fewest replicas.
    pub min: Option<u32>,
    /// Most replicas.
    pub max: Option<u32>,
    /// Target CPU use, per cent of the request.
    pub cpu_percent: Option<u32>,
}

/// Changes the autoscaler of a workload, or makes `<name>-hpa` where it has none. What is not said stays as it was, or becomes
/// 1, the larger of 2 and what runs now, and 70 %.
pub async fn set(site: &Site, workload: &Workload, spec: HpaSpec) -> Result<Hpa, Failure> {
    let name = workload.name();
    let kept = of_workload(site, workload).await?;
    let old = kept.as_ref().map(read);
    let old = |value: fn(&Hpa) -> i32| old.as_ref().and_then(|hpa| u32::try_from(value(hpa)).ok());
    let running = u32::try_from(workload.replicas()).unwrap_or(1);
    let min = spec.min.or(old(|hpa| hpa.min)).unwrap_or(1);
    let max = spec.max.or(old(|hpa| hpa.max)).unwrap_or(running.max(2).max(min));
    if max < min.max(1) {
        let problem = format!("an autoscaler from {min} to {max} replicas makes no sense");
        return Err(
            OperateError::unfit(name, problem, "give --min at least 1 and --max at least --min").into(),
        );
    }
    if kept.is_none() || spec.cpu_percent.is_some() {
        requests_cpu(workload)?;
    }
    site.cluster.recheck().await?;
    let now = match kept {
        Some(hpa) => patched(site, &hpa, spec).await?,
        None => made(site, workload, (min, max), spec.cpu_percent.unwrap_or(70)).await?,
    };
    Ok(read(&now))
}

/// The autoscaler that scales a workload, whatever it is called.
async fn of_workload(site: &Site, workload: &Workload) -> Result<Option<HorizontalPodAutoscaler>, Failure> {
    let all = all_in(site, workload.namespace()).await?;
    Ok(all.into_iter().find(|hpa| {
        let target = hpa.spec.as_ref().map(|spec| &spec.scale_target_ref);
        target.is_some_and(|target| target.kind == workload.id.kind && target.name == workload.name())
    }))
}

/// Takes the autoscaler of a workload away, and says what it was; `None` where there is none. The replicas stay as they are.
pub async fn remove(site: &Site, workload: &Workload) -> Result<Option<Hpa>, Failure> {
    let Some(hpa) = of_workload(site, workload).await? else {
        return Ok(None);
    };
    let name = hpa.metadata.name.as_deref().unwrap_or_default();
    site.cluster.recheck().await?;
    let deleted = site
        .api::<HorizontalPodAutoscaler>(workload.namespace())
        .delete(name, &DeleteParams::default())
        .await;
    match deleted {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(OperateError::request("remove", name, error).into()),
        Ok(_) => Ok(Some(read(&hpa))),
    }
}

fn requests_cpu(workload: &Workload) -> Result<(), OperateError> {
    if workload
        .own_container()
        .pointer("/resources/requests/cpu")
        .is_some()
    {
        return Ok(());
    }
    let name = workload.name();
    let hint = format!("set resources.requests.cpu of {name} in vadev.yaml");
    let problem = "its container requests no CPU, of which a use could be counted";
    Err(OperateError::unfit(name, problem, hint))
}

/// Changes what was said and nothing else: other metrics, the behaviour and the labels may be a tree's that somebody applied.
async fn patched(
    site: &Site,
    hpa: &HorizontalPodAutoscaler,
    spec: HpaSpec,
) -> Result<HorizontalPodAutoscaler, Failure> {
    let name = hpa.metadata.name.as_deref().unwrap_or_default();
    let namespace = hpa.metadata.namespace.as_deref().unwrap_or_default();
    let value = serde_json::to_value(hpa).map_err(|error| OperateError::unreadable(name, error))?;
    let patch = serde_json::from_value(edits(&value["spec"], spec))
        .map_err(|error| OperateError::unreadable("the patch", error))?;
    let changed = site
        .api::<HorizontalPodAutoscaler>(namespace)
        .patch(name, &PatchParams::default(), &Patch::Json::<()>(patch))
        .await;
    Ok(changed.map_err(|error| OperateError::request("change", name, error))?)
}

/// The JSON patch of an autoscaler with this specification.
fn edits(now: &Value, spec: HpaSpec) -> Value {
    let mut edits = Vec::new();
    let mut put = |path: String, value: Value| edits.push(json!({"op": "add", "path": path, "value": value}));
    if let Some(min) = spec.min {
        put("/spec/minReplicas".to_owned(), json!(min));
    }
    if let Some(max) = spec.max {
        put("/spec/maxReplicas".to_owned(), json!(max));
    }
    let Some(percent) = spec.cpu_percent else {
        return Value::Array(edits);
    };
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    let metrics = now["metrics"].as_array();
    let cpu = metrics
        .into_iter()
        .flatten()
        .enumerate()
        .find_map(|(at, metric)| Some((at, cpu_of(metric)?)));
    if let Some((at, kind)) = cpu {
        put(format!("/spec/metrics/{at}/{kind}/target"), target);
        // Only as long as it is where it was read.
        edits.insert(
            0,
            json!({"op": "test", "path": format!("/spec/metrics/{at}/{kind}/name"), "value": "cpu"}),
        );
        return Value::Array(edits);
    }
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    match metrics {
        Some(_) => put("/spec/metrics/-".to_owned(), metric),
        None => put("/spec/metrics".to_owned(), json!([metric])),
    }
    Value::Array(edits)
}

/// The field of a metric under which it counts CPU, of whole pods or of one container; `None` where it counts something else.
fn cpu_of(metric: &Value) -> Option<&'static str> {
    ["resource", "containerResource"]
        .into_iter()
        .find(|kind| metric[*kind]["name"] == "cpu")
}

async fn made(
    site: &Site,
    workload: &Workload,
    (min, max): (u32, u32),
    cpu: u32,
) -> Result<HorizontalPodAutoscaler, Failure> {
    let name = workload.name();
    let object = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        // Without the label by which `up` knows its own: it would take away what its profile does not have. `down` finds it
        // by the other one.
        "metadata": {
            "name": format!("{name}-hpa"), "namespace": workload.namespace(),
            "labels": {"app": name, SET_BY: "hpa"},
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": workload.id.api_version, "kind": workload.id.kind, "name": name},
            "minReplicas": min,
            "maxReplicas": max,
            "metrics": [{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": cpu}},
            }],
        },
    });
    let applied = k8s::apply_one(&site.cluster, &object, ApplyOptions::default()).await?;
    Ok(serde_json::from_value(applied.now)
        .map_err(|error| OperateError::unreadable("the autoscaler", error))?)
}

/// What stands between a wish of `replicas` and the autoscaler; `None` where they agree.
pub fn disagreement(hpa: &Hpa, replicas: u32) -> Option<String> {
    let wish = i64::from(replicas);
    let bound = if wish < i64::from(hpa.min) {
        format!("at least {}", hpa.min)
    } else if wish > i64::from(hpa.max) {
        format!("at most {}", hpa.max)
    } else {
        return Some(format!(
            "{} may change the number again: it keeps {} to {} replicas by CPU use",
            hpa.name, hpa.min, hpa.max
        ));
    };
    Some(format!(
        "{} wants {bound} replicas and will undo this within seconds; change it first: vadev hpa set {} --min … --max …",
        hpa.name, hpa.target
    ))
}

/// A line about metrics-server where it is missing: without it no autoscaler of CPU use works.
pub async fn without_metrics(site: &Site) -> Result<Option<String>, Failure> {
    if top::metrics_server(site).await? != Some(false) {
        return Ok(None);
    }
    Ok(Some(
        "metrics-server is not deployed, so no autoscaler sees any use and none acts; install it to let them"
            .to_owned(),
    ))
}

fn read(hpa: &HorizontalPodAutoscaler) -> Hpa {
    let value = serde_json::to_value(hpa).unwrap_or_default();
    let number = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_i64)
            .and_then(|number| i32::try_from(number).ok())
    };
    let cpu = |list: &str, path: &str| {
        let metrics = value.pointer(list).and_then(Value::as_array)?;
        let (cpu, kind) = metrics
            .iter()
            .find_map(|metric| Some((metric, cpu_of(metric)?)))?;
        i32::try_from(cpu[kind].pointer(path)?.as_i64()?).ok()
    };
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let conditions = value.pointer("/status/conditions").and_then(Value::as_array);
    let trouble = conditions.into_iter().flatten().find(|condition| {
        ["AbleToScale", "ScalingActive"].contains(&condition["type"].as_str().unwrap_or_default())
            && condition["status"] == "False"
    });
    Hpa {
        name: text("/metadata/name"),
        namespace: text("/metadata/namespace"),
        target: text("/spec/scaleTargetRef/name"),
        min: number("/spec/minReplicas").unwrap_or(1),
        max: number("/spec/maxReplicas").unwrap_or(1),
        cpu_target_percent: cpu("/spec/metrics", "/target/averageUtilization"),
        cpu_percent: cpu("/status/currentMetrics", "/current/averageUtilization"),
        replicas: number("/status/currentReplicas").unwrap_or(0),
        desired: number("/status/desiredReplicas").unwrap_or(0),
        trouble: trouble.map(|condition| condition["message"].as_str().unwrap_or("unknown").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_outside_its_bounds_is_contradicted() {
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({
            "metadata": {"name": "a-hpa", "namespace": "n"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "a"}, "minReplicas": 2, "maxReplicas": 4,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
            },
            "status": {"conditions": [{"type": "ScalingActive", "status": "False", "message": "no metrics"}]},
        }))
        .unwrap();
        let hpa = read(&hpa);
        assert_eq!(
            (hpa.cpu_target_percent, hpa.trouble.as_deref()),
            (Some(70), Some("no metrics"))
        );
        assert!(disagreement(&hpa, 1).unwrap().contains("at least 2"));
        assert!(disagreement(&hpa, 9).unwrap().contains("at most 4"));
        assert!(disagreement(&hpa, 3).unwrap().contains("may change"));
    }

    #[test]
    fn a_set_touches_only_what_was_said() {
        let spec = json!({"minReplicas": 3, "maxReplicas": 9, "metrics": [
            {"type": "ContainerResource", "containerResource": {"name": "memory", "container": "a", "target": {}}},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "a", "target": {}}},
        ], "behavior": {}});
        let said = |min, cpu_percent| HpaSpec {
            min,
            max: None,
            cpu_percent,
        };
        let min = edits(&spec, said(Some(2), None));
        assert_eq!(
            min,
            json!([{"op": "add", "path": "/spec/minReplicas", "value": 2}])
        );
        let cpu = edits(&spec, said(None, Some(50)));
        assert_eq!(cpu[0]["op"], "test");
        assert_eq!(cpu[1]["path"], "/spec/metrics/1/containerResource/target");
        assert_eq!(cpu[1]["value"]["averageUtilization"], 50);
        let none = edits(&json!({}), said(None, Some(50)));
        assert_eq!(none[0]["path"], "/spec/metrics");
        assert_eq!(none[0]["value"][0]["resource"]["name"], "cpu");
        let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({
            "metadata": {}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a"}, "maxReplicas": 9, "metrics": [
                {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "a",
                    "target": {"type": "Utilization", "averageUtilization": 65}}}]},
        }))
        .unwrap();
        assert_eq!(read(&hpa).cpu_target_percent, Some(65));
    }
}
