//! What every object of a production tree gets, and what a laptop's have and it has not.

use serde_json::{Map, Value, json};

use super::{Environment, Target};
use crate::catalog::service::Resources;
use crate::profile::Stack;
use crate::render::Object;
use crate::render::object::{self, MANAGED_BY, ORIGIN, PROFILE, PROMOTED_COMPONENT, WORKSPACE};

/// Label by which all of the platform is found.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The platform's name.
pub const PLATFORM: &str = "voiceassistant";
/// Priority class of the infrastructure.
pub const INFRA_PRIORITY: &str = "voiceassistant-infrastructure";
/// Priority class of the services.
pub const APPS_PRIORITY: &str = "voiceassistant-services";

/// Makes a rendered object a production one.
pub fn hardened(stack: &Stack, environment: &Environment, target: Target, object: &Object) -> Value {
    let component = object.component().to_owned();
    let mut value = object.value().clone();
    labels(&mut value, &component);
    match value["kind"].as_str().unwrap_or_default() {
        "Deployment" | "StatefulSet" => workload(&mut value, stack, environment, target, &component),
        "ServiceAccount" if !environment.image_pull_secrets.is_empty() => {
            let secrets = environment
                .image_pull_secrets
                .iter()
                .map(|name| json!({ "name": name }));
            value["imagePullSecrets"] = secrets.collect();
        }
        "PodDisruptionBudget" if target.evicts_unhealthy() => {
            value["spec"]["unhealthyPodEvictionPolicy"] = json!("AlwaysAllow");
        }
        "Gateway" if !environment.hosts.is_empty() => gateway(&mut value, &environment.hosts),
        "VirtualService" if !environment.hosts.is_empty() && value["spec"]["hosts"] == json!(["*"]) => {
            value["spec"]["hosts"] = json!(environment.hosts);
        }
        _ => {}
    }
    value
}

/// Labels that any tool reads, instead of those by which vadev finds a laptop's objects again: a tree belongs to whoever
/// applies it.
pub fn labels(value: &mut Value, component: &str) {
    let metadata = &mut value["metadata"];
    let mut labels = metadata["labels"].as_object().cloned().unwrap_or_default();
    for own in [object::COMPONENT, PROFILE, WORKSPACE] {
        labels.remove(own);
    }
    labels.insert(MANAGED_BY.to_owned(), json!("vadev"));
    labels.insert(PART_OF.to_owned(), json!(PLATFORM));
    if !component.is_empty() {
        labels.insert(PROMOTED_COMPONENT.to_owned(), json!(component));
    }
    metadata["labels"] = Value::Object(labels);
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    annotations.remove(ORIGIN);
    if annotations.is_empty() {
        remove(metadata, "annotations");
    }
}

fn workload(value: &mut Value, stack: &Stack, environment: &Environment, target: Target, component: &str) {
    let service = stack.services.iter().any(|sized| sized.service.name == component);
    let app = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let pod = &mut value["spec"]["template"];
    pod["metadata"]["labels"][PART_OF] = json!(PLATFORM);
    pod["spec"]["priorityClassName"] = json!(if service { APPS_PRIORITY } else { INFRA_PRIORITY });
    let deployment = value["kind"] == "Deployment";
    let spread = spread(&app, deployment && target.spreads_by_revision());
    value["spec"]["template"]["spec"]["topologySpreadConstraints"] = spread;
    if !deployment {
        // The server's default, stated: who reads the tree need not know it.
        value["spec"]["updateStrategy"] = json!({ "type": "RollingUpdate" });
    }
    if service {
        // The autoscaler decides; a number here would undo its decision at every apply.
        remove(&mut value["spec"], "replicas");
        value["spec"]["progressDeadlineSeconds"] = json!(600);
        if let Some(mesh) = &stack.mesh {
            let annotations = &mut value["spec"]["template"]["metadata"]["annotations"];
            // On clusters without native sidecars a service would else start before its proxy.
            annotations["proxy.istio.io/config"] = json!("{\"holdApplicationUntilProxyStarts\": true}");
            sidecar(annotations, mesh.sidecar);
        }
    }
    let claims = value["spec"]
        .get_mut("volumeClaimTemplates")
        .and_then(Value::as_array_mut);
    for claim in claims.into_iter().flatten() {
        labels(claim, component);
        if let Some(class) = &environment.storage_class {
            claim["spec"]["storageClassName"] = json!(class);
        }
    }
}

/// The sidecar's figures, which the namespace's quota counts: an Istio that somebody else installed has others of its own.
fn sidecar(annotations: &mut Value, size: Resources) {
    let figures = [
        ("proxyCPU", size.requests.cpu.to_string(), size.requests.cpu.0),
        ("proxyCPULimit", size.limits.cpu.to_string(), size.limits.cpu.0),
        (
            "proxyMemory",
            size.requests.memory.to_string(),
            size.requests.memory.0,
        ),
        (
            "proxyMemoryLimit",
            size.limits.memory.to_string(),
            size.limits.memory.0,
        ),
    ];
    // A limit of zero is none.
    for (name, text, _) in figures.into_iter().filter(|(_, _, amount)| *amount > 0) {
        annotations[format!("sidecar.istio.io/{name}")] = json!(text);
    }
}

/// Over nodes and zones as evenly as can be had; a pod that finds no even place still starts.
fn spread(app: &str, by_revision: bool) -> Value {
    let over = |key: &str| {
        let mut constraint = json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": app } },
        });
        if by_revision {
            constraint["matchLabelKeys"] = json!(["pod-template-hash"]);
        }
        constraint
    };
    json!([
        over("kubernetes.io/hostname"),
        over("topology.kubernetes.io/zone")
    ])
}

/// Only the named hosts, and http only to be sent to https.
fn gateway(value: &mut Value, hosts: &[String]) {
    for server in value["spec"]["servers"].as_array_mut().into_iter().flatten() {
        server["hosts"] = json!(hosts);
        if server["port"]["protocol"] == "HTTP" {
            server["tls"] = json!({ "httpsRedirect": true });
        }
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Some(map) = value.as_object_mut() {
        *map = map
            .iter()
            .filter(|(name, _)| *name != key)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<Map<_, _>>();
    }
}
