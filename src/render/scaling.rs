//! How services scale and survive drained nodes.

use serde_json::{Value, json};

use crate::profile::Stack;
use crate::profile::stack::SizedService;

/// `<name>-hpa`. With `by_container` it looks at the service's own container and not at its sidecar, which Kubernetes can
/// from 1.30 on.
pub fn autoscaler(stack: &Stack, sized: &SizedService, by_container: bool) -> Value {
    let service = &sized.service;
    let name = &service.name;
    let figures = &service.autoscaling;
    let metric = |resource: &str, percent: u32| {
        let target = json!({ "type": "Utilization", "averageUtilization": percent });
        if by_container {
            json!({
                "type": "ContainerResource",
                "containerResource": { "container": name, "name": resource, "target": target },
            })
        } else {
            json!({ "type": "Resource", "resource": { "name": resource, "target": target } })
        }
    };
    let mut metrics = vec![metric("cpu", figures.cpu_percent)];
    metrics.extend(figures.memory_percent.map(|percent| metric("memory", percent)));
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": format!("{name}-hpa"), "namespace": stack.namespaces.apps, "labels": { "app": name } },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "minReplicas": figures.min,
            "maxReplicas": figures.max,
            "metrics": metrics,
            // Up at once, down after five quiet minutes: load that comes in waves is not to move pods with it.
            "behavior": {
                "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
                    { "type": "Percent", "value": 100, "periodSeconds": 30 },
                    { "type": "Pods", "value": 2, "periodSeconds": 30 },
                ] },
                "scaleDown": { "stabilizationWindowSeconds": 300, "selectPolicy": "Max", "policies": [
                    { "type": "Percent", "value": 50, "periodSeconds": 60 },
                ] },
            },
        },
    })
}

/// One instance may be away at a time. With `evicts_unhealthy` a pod that never became healthy does not hold up the
/// draining of its node.
pub fn disruption_budget(stack: &Stack, sized: &SizedService, evicts_unhealthy: bool) -> Value {
    let name = &sized.service.name;
    let mut spec = json!({ "maxUnavailable": 1, "selector": { "matchLabels": { "app": name } } });
    if evicts_unhealthy {
        spec["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
    }
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": { "name": name, "namespace": stack.namespaces.apps, "labels": { "app": name } },
        "spec": spec,
    })
}
