//! The objects of one application service.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::object::ORIGIN;
use super::template::Template;
use super::{DeployedImage, Object, Origin, Setting, develop, standin};
use crate::agent::base64;
use crate::catalog::Service;
use crate::catalog::service::SecretSource;
use crate::profile::Stack;
use crate::profile::stack::SizedService;

/// The port at which a service's Kubernetes Service is asked, wherever its container listens.
pub const PORT: u16 = 8080;

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
                "ports": [{ "name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP" }],
            },
        }),
    ];
    if let Some(secret) = secret(namespace, name, setting) {
        objects.push(secret);
    }
    let mut deployment = deployment(stack, sized, image, setting);
    if let Some(development) = setting.development.get(name) {
        objects.push(develop::secret(namespace, name, development));
        develop::develop(&mut deployment, development, NONROOT);
    }
    objects.push(deployment);
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

/// The keys of a component's Secret that mean something in this stack: a password of a system that is not there is nobody's.
pub fn secret_keys<'a>(
    stack: &'a Stack,
    declared: &'a IndexMap<String, SecretSource>,
) -> impl Iterator<Item = (&'a String, &'a SecretSource)> {
    let there = |source: &SecretSource| {
        let named = |from: &String| {
            stack
                .infrastructure
                .iter()
                .any(|system| system.infrastructure.is_called(from))
        };
        source.from.as_ref().is_none_or(named)
    };
    declared.iter().filter(move |(_, source)| there(source))
}

/// Placeholders that configuration values may hold.
fn template(stack: &Stack) -> Template {
    Template::default()
        .with("appsNamespace", &stack.namespaces.apps)
        .with("infraNamespace", &stack.namespaces.infra)
        .with("meshNamespace", &stack.namespaces.mesh)
}

fn config(stack: &Stack, sized: &SizedService) -> BTreeMap<String, String> {
    config_of(stack, &sized.service)
}

/// What a service is configured with. Keys in a `BTreeMap`: the order of a ConfigMap's data is of no meaning, and drift is
/// easier to read sorted.
pub fn config_of(stack: &Stack, service: &Service) -> BTreeMap<String, String> {
    let template = template(stack);
    service
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
        "imagePullPolicy": pull_policy(image),
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
    if let Some(secret) = secret_source(stack, service, setting) {
        container["envFrom"]
            .as_array_mut()
            .into_iter()
            .for_each(|sources| sources.push(secret.clone()));
    }
    if image.origin == Origin::StandIn {
        container["args"] = json!(["serve"]);
        container["env"] = standin::environment(stack, sized, setting);
    }
    probes(&mut container, sized, image.origin);
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
            "strategy": { "type": "RollingUpdate", "rollingUpdate": rolling(image.origin) },
            "template": {
                "metadata": {
                    "labels": { "app": name, "version": version(image, service) },
                    "annotations": annotations(stack, sized, setting),
                },
                "spec": {
                    "serviceAccountName": name,
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": grace(image.origin),
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

/// Where secret values come from. On a machine, `vadev secret set` may give a service some that the catalog knows nothing of.
fn secret_source(stack: &Stack, service: &Service, setting: &Setting) -> Option<Value> {
    let name = format!("{}-secret", service.name);
    if setting.has_secret(stack, &service.name, &service.secrets) {
        return Some(json!({ "secretRef": { "name": name } }));
    }
    (!setting.secret_references).then(|| json!({ "secretRef": { "name": name, "optional": true } }))
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

/// The version that runs: that of what is really deployed. What stands in has none of its own, and what is built here is a
/// new image with every save, for which no pod is to be made anew.
fn version(image: &DeployedImage, service: &Service) -> String {
    let named = !matches!(image.origin, Origin::StandIn | Origin::Built);
    let version = named.then(|| version_of(&image.reference)).flatten();
    version.unwrap_or_else(|| version_label(&service.image.version))
}

/// The version that an image's reference states, as the label `version` has it: its tag, or so much of its digest as tells it
/// from others.
pub fn version_of(reference: &str) -> Option<String> {
    let (name, digest) = reference.split_once('@').unwrap_or((reference, ""));
    let last = name.rsplit('/').next().unwrap_or_default();
    let digest = digest.rsplit(':').next().and_then(|hex| hex.get(..12));
    let tag = last.split_once(':').map(|(_, tag)| tag);
    tag.or(digest).map(version_label)
}

/// Label values allow fewer characters than image tags, and only letters and digits at their ends.
fn version_label(version: &str) -> String {
    let allowed: String = version
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    allowed
        .trim_matches(|c: char| !c.is_ascii_alphanumeric())
        .to_owned()
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

/// How the names of images begin that are on this machine and in its nodes only.
const LOCAL: &str = "vadev.local/";

/// What is built here comes from no registry unless it was pushed to one: asking would only delay the news that it is
/// missing.
fn pull_policy(image: &DeployedImage) -> &'static str {
    match image.origin {
        Origin::Built if image.reference.starts_with(LOCAL) => "Never",
        _ => "IfNotPresent",
    }
}

/// A new pod before the old one goes; but for what is built here. Its pods fill the machine, where one more would find no
/// room, and its template changes whenever development begins or ends.
fn rolling(origin: Origin) -> Value {
    match origin {
        Origin::Built => json!({ "maxUnavailable": 1, "maxSurge": 0 }),
        _ => json!({ "maxUnavailable": 0, "maxSurge": 1 }),
    }
}

/// Seconds that a container has to end. One that is built here is replaced with every save; a process that ignores SIGTERM
/// must not cost half a minute each time.
const fn grace(origin: Origin) -> u32 {
    match origin {
        Origin::Built => 3,
        _ => 30,
    }
}

/// A startup probe at a period of one second makes a start visible at once and leaves slow machines their time. A service
/// that is built here has none: the kubelet would ask it a second after its start, while the first readiness probe goes out
/// at once; its liveness begins later instead.
fn probes(container: &mut Value, sized: &SizedService, origin: Origin) {
    let probes = &sized.service.probes;
    let get = |path: &str| json!({ "path": path, "port": "http" });
    if origin == Origin::Built {
        container["livenessProbe"] = json!({
            "httpGet": get(&probes.liveness), "initialDelaySeconds": probes.startup_seconds.max(1),
            "periodSeconds": probes.period_seconds, "timeoutSeconds": 3, "failureThreshold": 3,
        });
        container["readinessProbe"] = json!({
            "httpGet": get(&probes.readiness), "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 10,
        });
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_image_that_runs_and_a_label() {
        let stack = crate::profile::with_cart("minimal", &[], false);
        let service = &stack.services.first().expect("a service").service;
        let of = |reference: &str, origin| {
            let image = DeployedImage {
                reference: reference.to_owned(),
                origin,
            };
            version(&image, service)
        };
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        let own = service.image.version.clone();
        for (reference, expected) in [
            (format!("localhost:5000/x/y:2.0_@{digest}"), "2.0".to_owned()),
            ("ghcr.io/x/y:_1+2-".to_owned(), "1-2".to_owned()),
            (format!("ghcr.io/x/y@{digest}"), "0123456789ab".to_owned()),
            ("localhost:5000/x/y".to_owned(), own.clone()),
        ] {
            assert_eq!(of(&reference, Origin::Registry), expected, "{reference}");
        }
        assert_eq!(of("vadev.local/x:dev-1", Origin::Built), own);
        assert_eq!(of("vadev.local/vadev-agent:1", Origin::StandIn), own);
    }
}
