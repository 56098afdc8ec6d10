//! Autoscalers: what they want, what they see, and where they disagree with a number set by hand.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::ListParams;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::OperateError;
use super::site::{Site, Workload};
use super::top;
use crate::failure::Failure;
use crate::k8s::{self, ApplyOptions};

/// One autoscaler.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hpa {
    /// Its name, `<service>-hpa`.
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
        let listed = site
            .api::<HorizontalPodAutoscaler>(namespace)
            .list(&ListParams::default())
            .await;
        let listed =
            listed.map_err(|error| OperateError::request("list the autoscalers of", namespace, error))?;
        found.extend(listed.items.iter().map(read));
    }
    found.retain(|hpa| target.is_none_or(|target| hpa.target == target));
    Ok(found)
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

/// Makes or changes the autoscaler `<name>-hpa` of a workload. What is not said stays as it was, or becomes 1, the larger of
/// 2 and what runs now, and 70 %.
pub async fn set(site: &Site, workload: &Workload, spec: HpaSpec) -> Result<Hpa, Failure> {
    let name = workload.name();
    let kept = list(site, Some(name)).await?.into_iter().next();
    let old = |value: fn(&Hpa) -> i32| kept.as_ref().and_then(|hpa| u32::try_from(value(hpa)).ok());
    let running = u32::try_from(workload.replicas()).unwrap_or(1);
    let min = spec.min.or(old(|hpa| hpa.min)).unwrap_or(1);
    let max = spec.max.or(old(|hpa| hpa.max)).unwrap_or(running.max(2).max(min));
    let cpu = spec
        .cpu_percent
        .or(old(|hpa| hpa.cpu_target_percent.unwrap_or(70)))
        .unwrap_or(70);
    if min < 1 || max < min {
        let problem = format!("an autoscaler from {min} to {max} replicas makes no sense");
        return Err(
            OperateError::unfit(name, problem, "give --min at least 1 and --max at least --min").into(),
        );
    }
    let request = workload
        .value
        .pointer("/spec/template/spec/containers/0/resources/requests/cpu");
    if request.is_none() {
        let hint = format!("set resources.requests.cpu of {name} in vadev.yaml");
        return Err(OperateError::unfit(
            name,
            "its container requests no CPU, of which a use could be counted",
            hint,
        )
        .into());
    }
    site.cluster.recheck().await?;
    let object = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        // Without the label by which `up` knows its own: it would take away what its profile does not have.
        "metadata": {
            "name": format!("{name}-hpa"), "namespace": workload.namespace(),
            "labels": {"app": name, "vadev.dev/set-by": "hpa"},
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
    let now = serde_json::from_value(applied.now)
        .map_err(|error| OperateError::unreadable("the autoscaler", error))?;
    Ok(read(&now))
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
    if top::metrics_server(site).await? {
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
        let cpu = metrics
            .iter()
            .find(|metric| metric["resource"]["name"] == "cpu")?;
        i32::try_from(cpu.pointer(path)?.as_i64()?).ok()
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
        cpu_target_percent: cpu("/spec/metrics", "/resource/target/averageUtilization"),
        cpu_percent: cpu("/status/currentMetrics", "/resource/current/averageUtilization"),
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
}
