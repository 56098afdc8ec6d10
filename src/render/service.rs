//! The objects of one application service.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::object::ORIGIN;
use super::template::Template;
use super::{DeployedImage, Object, Origin, Setting, standin};
use crate::agent::base64;
use crate::profile::Stack;
use crate::profile::stack::SizedService;

/// Group and user of the services' processes: `nonroot` of the distroless images, which ours are like.
const NONROOT: i64 = 65532;

/// `ServiceAccount`, ConfigMap, Secret, Service and Deployment. Nothing at all where the setting has no image for it.
pub fn render(stack: &Stack, sized: &SizedService, setting: &Setting) -> Vec<Object> {
    let Some(image) = setting.images.get(&sized.service.name) else {
        return Vec::new();
    };
    let name = &sized.service.name;
    let namespace = &stack.namespaces.apps;
    let metadata =
        |name: &str| json!({ "name": name, "namespace": namespace, "labels": { "app": sized.service.name } });
    let mut objects = vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(name), "automountServiceAccountToken": false }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&format!("{name}-config")), "data": config(stack, sized) }),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(name),
            "spec": {
                "selector": { "app": name },
                "ports": [{ "name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP" }],
            },
        }),
    ];
    if let Some(secret) = secret(namespace, name, setting) {
        objects.push(secret);
    }
    objects.push(deployment(stack, sized, image, setting));
    objects
        .into_iter()
        .map(|value| Object::new(name, value))
        .collect()
}

/// The Secret `<name>-secret`, where the setting has values for it.
pub(super) fn secret(namespace: &str, name: &str, setting: &Setting) -> Option<Value> {
    let values = setting.secrets.get(name).filter(|values| !values.is_empty())?;
    let data: Map<String, Value> = values
        .iter()
        .map(|(key, value)| (key.clone(), json!(base64::encode(value.as_bytes()))))
        .collect();
    Some(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": format!("{name}-secret"), "namespace": namespace, "labels": { "app": name } },
        "type": "Opaque",
        "data": data,
    }))
}

/// Placeholders that configuration values may hold.
fn template(stack: &Stack) -> Template {
    Template::default()
        .with("appsNamespace", &stack.namespaces.apps)
        .with("infraNamespace", &stack.namespaces.infra)
        .with("meshNamespace", &stack.namespaces.mesh)
}

/// Keys in a `BTreeMap`: the order of a ConfigMap's data is of no meaning, and drift is easier to read sorted.
fn config(stack: &Stack, sized: &SizedService) -> BTreeMap<String, String> {
    let template = template(stack);
    sized
        .service
        .config
        .iter()
        .map(|(key, value)| (key.clone(), template.fill(value)))
        .collect()
}

fn deployment(stack: &Stack, sized: &SizedService, image: &DeployedImage, setting: &Setting) -> Value {
    let service = &sized.service;
    let name = &service.name;
    let mut container = json!({
        "name": name,
        "image": image.reference,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{ "name": "http", "containerPort": service.port, "protocol": "TCP" }],
        "envFrom": [{ "configMapRef": { "name": format!("{name}-config") } }],
        "resources": resources(sized),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
    });
    if setting.secrets.get(name).is_some_and(|values| !values.is_empty()) {
        container["envFrom"]
            .as_array_mut()
            .into_iter()
            .for_each(|sources| {
                sources.push(json!({ "secretRef": { "name": format!("{name}-secret") } }));
            });
    }
    if image.origin == Origin::StandIn {
        container["args"] = json!(["serve"]);
        container["env"] = standin::environment(stack, sized, setting);
    }
    probes(&mut container, sized);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": stack.namespaces.apps,
            "labels": { "app": name, "language": service.language.name() },
            "annotations": { ORIGIN: image.origin.word() },
        },
        "spec": {
            "replicas": sized.replicas,
            "revisionHistoryLimit": 5,
            "selector": { "matchLabels": { "app": name } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
            "template": {
                "metadata": {
                    "labels": { "app": name, "version": version_label(&service.image.version) },
                    "annotations": annotations(stack, sized, setting),
                },
                "spec": {
                    "serviceAccountName": name,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 30,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": NONROOT,
                        "runAsGroup": NONROOT,
                        "fsGroup": NONROOT,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [container],
                    "volumes": [{ "name": "tmp", "emptyDir": {} }],
                },
            },
        },
    })
}

/// A changed ConfigMap or Secret rolls the pods: a container reads its environment only when it starts. The digest is
/// salted with the name, so that equal values of two services do not show as equal.
fn annotations(stack: &Stack, sized: &SizedService, setting: &Setting) -> Value {
    let secrets = setting.secrets.get(&sized.service.name);
    let text = json!([sized.service.name, config(stack, sized), secrets]).to_string();
    json!({
        "vadev.dev/config-digest": digest(&text),
        "prometheus.io/scrape": "true",
        "prometheus.io/port": sized.service.port.to_string(),
        "prometheus.io/path": "/metrics",
    })
}

/// The first 16 hex digits of a SHA-256: enough to tell two configurations apart, short enough to read.
pub(super) fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    Sha256::digest(text.as_bytes())
        .iter()
        .take(8)
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

/// Label values allow fewer characters than image tags.
fn version_label(version: &str) -> String {
    version
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect()
}

fn resources(sized: &SizedService) -> Value {
    amounts(&sized.resources)
}

/// Requests and limits; a limit of zero is none.
pub(super) fn amounts(resources: &crate::catalog::service::Resources) -> Value {
    let mut value = json!({
        "requests": { "cpu": resources.requests.cpu, "memory": resources.requests.memory },
        "limits": { "memory": resources.limits.memory },
    });
    if resources.limits.cpu.0 > 0 {
        value["limits"]["cpu"] = json!(resources.limits.cpu);
    }
    value
}

/// A startup probe at a period of one second makes a start visible at once and leaves slow machines their time.
fn probes(container: &mut Value, sized: &SizedService) {
    let probes = &sized.service.probes;
    let get = |path: &str| json!({ "path": path, "port": "http" });
    container["startupProbe"] = json!({
        "httpGet": get(&probes.liveness), "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": probes.startup_seconds.max(1),
    });
    container["livenessProbe"] = json!({
        "httpGet": get(&probes.liveness), "periodSeconds": probes.period_seconds, "timeoutSeconds": 3, "failureThreshold": 3,
    });
    container["readinessProbe"] = json!({
        "httpGet": get(&probes.readiness), "periodSeconds": probes.period_seconds, "timeoutSeconds": 3, "failureThreshold": 3,
    });
}
