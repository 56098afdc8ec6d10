//! The objects of one infrastructure system.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::object::ORIGIN;
use super::service::{amounts, digest, secret};
use super::template::Template;
use super::{DeployedImage, Object, Origin, Setting, dashboards};
use crate::catalog::infrastructure::{SystemProbe, Workload, WorkloadKind};
use crate::profile::Stack;
use crate::profile::stack::{SizedInfrastructure, WorkloadSize};

/// The Secret of the system and, for each workload that has an image here: `ServiceAccount`, ConfigMap of its files, client
/// and headless Service, StatefulSet or Deployment, `PodDisruptionBudget`.
pub fn render(stack: &Stack, system: &SizedInfrastructure, setting: &Setting) -> Vec<Object> {
    let name = &system.infrastructure.name;
    let namespace = &stack.namespaces.infra;
    let mut objects: Vec<Value> = secret(namespace, name, setting).into_iter().collect();
    for workload in &system.infrastructure.workloads {
        let (Some(image), Some(size)) = (
            setting.images.get(&workload.name),
            system.sizes.get(&workload.name),
        ) else {
            continue;
        };
        let part = Part {
            stack,
            system,
            workload,
            image,
            size,
            setting,
        };
        objects.extend(part.objects());
    }
    objects
        .into_iter()
        .map(|value| Object::new(name, value))
        .collect()
}

/// One workload with all that its objects are made of.
struct Part<'a> {
    stack: &'a Stack,
    system: &'a SizedInfrastructure,
    workload: &'a Workload,
    image: &'a DeployedImage,
    size: &'a WorkloadSize,
    setting: &'a Setting,
}

impl Part<'_> {
    fn objects(&self) -> Vec<Value> {
        let name = &self.workload.name;
        let files = self.files();
        let mut objects = vec![json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": self.metadata(name), "automountServiceAccountToken": false,
        })];
        if self.workload.reads_cluster {
            objects.extend(self.cluster_reader());
        }
        if !files.is_empty() {
            let data: BTreeMap<String, &String> =
                files.iter().map(|(path, text)| (file_key(path), text)).collect();
            objects.push(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": self.metadata(&format!("{name}-config")), "data": data,
            }));
        }
        if !self.workload.ports.is_empty() {
            objects.push(self.service(name, false));
            if self.workload.kind == WorkloadKind::StatefulSet {
                objects.push(self.service(&format!("{name}-headless"), true));
            }
        }
        objects.push(self.workload(&files));
        objects.push(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": self.metadata(name),
            "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": name } } },
        }));
        objects
    }

    fn metadata(&self, name: &str) -> Value {
        json!({ "name": name, "namespace": self.stack.namespaces.infra, "labels": { "app": self.workload.name } })
    }

    fn service(&self, name: &str, headless: bool) -> Value {
        let ports: Vec<Value> = self
            .workload
            .ports
            .iter()
            .map(|port| json!({ "name": port.name, "port": port.port, "targetPort": port.port, "protocol": "TCP" }))
            .collect();
        let mut service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": self.metadata(name),
            "spec": { "selector": { "app": self.workload.name }, "ports": ports },
        });
        if headless {
            service["spec"]["clusterIP"] = json!("None");
            // Members find each other before they are ready.
            service["spec"]["publishNotReadyAddresses"] = json!(true);
        }
        service
    }

    fn workload(&self, files: &BTreeMap<String, String>) -> Value {
        let name = &self.workload.name;
        let template = json!({
            "metadata": { "labels": { "app": name }, "annotations": self.pod_annotations(files) },
            "spec": self.pod(files),
        });
        let mut object = json!({
            "apiVersion": "apps/v1",
            "metadata": {
                "name": name,
                "namespace": self.stack.namespaces.infra,
                "labels": { "app": name },
                "annotations": { ORIGIN: self.image.origin.word() },
            },
            "spec": { "replicas": self.size.replicas, "revisionHistoryLimit": 5, "selector": { "matchLabels": { "app": name } }, "template": template },
        });
        match self.workload.kind {
            WorkloadKind::StatefulSet => {
                object["kind"] = json!("StatefulSet");
                object["spec"]["serviceName"] = json!(format!("{name}-headless"));
                object["spec"]["podManagementPolicy"] = json!("Parallel");
                object["spec"]["volumeClaimTemplates"] = self.claims();
            }
            WorkloadKind::Deployment => {
                object["kind"] = json!("Deployment");
                // A volume of its own can be held by one pod only.
                let recreate = !self.workload.volumes.is_empty();
                object["spec"]["strategy"] =
                    json!({ "type": if recreate { "Recreate" } else { "RollingUpdate" } });
            }
        }
        object
    }

    fn claims(&self) -> Value {
        let claims = self.workload.volumes.iter().map(|volume| {
            let size = self.size.volumes.get(&volume.name).copied().unwrap_or(volume.size);
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": { "name": volume.name, "labels": { "app": self.workload.name } },
                "spec": { "accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "resources": { "requests": { "storage": size } } },
            })
        });
        Value::Array(claims.collect())
    }

    fn pod(&self, files: &BTreeMap<String, String>) -> Value {
        let user = self.workload.user;
        json!({
            "serviceAccountName": self.workload.name,
            "automountServiceAccountToken": self.workload.reads_cluster,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 30,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": user,
                "runAsGroup": user,
                "fsGroup": user,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [self.container(files)],
            "volumes": self.volumes(files),
        })
    }

    fn container(&self, files: &BTreeMap<String, String>) -> Value {
        let workload = self.workload;
        let template = self.template();
        let fill =
            |texts: &[String]| -> Vec<String> { texts.iter().map(|text| template.fill(text)).collect() };
        let overrides = self.overrides();
        let command = overrides
            .map(|o| &o.command)
            .filter(|c| !c.is_empty())
            .unwrap_or(&workload.command);
        let args = overrides
            .map(|o| &o.args)
            .filter(|a| !a.is_empty())
            .unwrap_or(&workload.args);
        let mut container = json!({
            "name": workload.name,
            "image": self.image.reference,
            "imagePullPolicy": "IfNotPresent",
            "env": self.environment(),
            "ports": workload.ports.iter().map(|port| json!({ "name": short(&port.name), "containerPort": port.port, "protocol": "TCP" })).collect::<Vec<_>>(),
            "resources": amounts(&self.size.resources),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": workload.read_only_root,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": self.mounts(files),
        });
        if !command.is_empty() {
            container["command"] = json!(fill(command));
        }
        if !args.is_empty() {
            container["args"] = json!(fill(args));
        }
        self.probes(&mut container);
        container
    }

    fn probes(&self, container: &mut Value) {
        let template = self.template();
        let probe = match &self.workload.probe {
            SystemProbe::Exec(command) => {
                json!({ "exec": { "command": command.iter().map(|part| template.fill(part)).collect::<Vec<_>>() } })
            }
            SystemProbe::Http { path, port } => json!({ "httpGet": { "path": path, "port": port } }),
            SystemProbe::Tcp(port) => json!({ "tcpSocket": { "port": port } }),
        };
        let with = |period: u32, failures: u32| {
            let mut probe = probe.clone();
            probe["periodSeconds"] = json!(period);
            probe["timeoutSeconds"] = json!(5);
            probe["failureThreshold"] = json!(failures);
            probe
        };
        container["startupProbe"] = with(1, self.workload.startup_seconds.max(1));
        container["readinessProbe"] = with(5, 3);
        container["livenessProbe"] = with(10, 6);
    }

    fn environment(&self) -> Vec<Value> {
        let template = self.template();
        let mut plain = self.workload.env.clone();
        plain.extend(self.overrides().map(|o| o.env.clone()).unwrap_or_default());
        // Secrets first: `$(NAME)` in a later value refers to earlier ones only.
        let secret = format!("{}-secret", self.system.infrastructure.name);
        let secrets = self.workload.secret_env.iter().map(|(variable, key)| {
            json!({ "name": variable, "valueFrom": { "secretKeyRef": { "name": secret, "key": key } } })
        });
        let plain = plain
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": template.fill(value) }));
        secrets.chain(plain).collect()
    }

    fn mounts(&self, files: &BTreeMap<String, String>) -> Vec<Value> {
        let volumes = self
            .workload
            .volumes
            .iter()
            .map(|volume| json!({ "name": volume.name, "mountPath": volume.path }));
        let scratch = self.workload.scratch.iter().enumerate();
        let scratch =
            scratch.map(|(index, path)| json!({ "name": format!("scratch-{index}"), "mountPath": path }));
        let files = files.keys().map(
            |path| json!({ "name": "files", "mountPath": path, "subPath": file_key(path), "readOnly": true }),
        );
        volumes.chain(scratch).chain(files).collect()
    }

    fn volumes(&self, files: &BTreeMap<String, String>) -> Vec<Value> {
        let scratch = (0..self.workload.scratch.len())
            .map(|index| json!({ "name": format!("scratch-{index}"), "emptyDir": {} }));
        let mut volumes: Vec<Value> = scratch.collect();
        if !files.is_empty() {
            volumes.push(
                json!({ "name": "files", "configMap": { "name": format!("{}-config", self.workload.name) } }),
            );
        }
        volumes
    }

    /// Pods restart when a file of theirs or their Secret changes.
    fn pod_annotations(&self, files: &BTreeMap<String, String>) -> Value {
        let secrets = self.setting.secrets.get(&self.system.infrastructure.name);
        let digest = digest(&json!([self.workload.name, files, secrets]).to_string());
        let mut annotations = json!({ "vadev.dev/config-digest": digest });
        if let Some(metrics) = &self.workload.metrics {
            annotations["prometheus.io/scrape"] = json!("true");
            annotations["prometheus.io/port"] = json!(metrics.port.to_string());
            annotations["prometheus.io/path"] = json!(metrics.path);
        }
        annotations
    }

    fn files(&self) -> BTreeMap<String, String> {
        let template = self.template();
        let mut files = self.workload.files.clone();
        if let Some(overrides) = self.overrides() {
            files.extend(overrides.files.clone());
            for text in files.values_mut() {
                let replaced = overrides.replace.iter();
                *text = replaced.fold(text.clone(), |text, (from, to)| text.replace(from, to));
            }
        }
        files
            .into_iter()
            .map(|(path, text)| {
                let text = dashboards::filled(&template.fill(&text), &self.stack.namespaces);
                (path, text)
            })
            .collect()
    }

    fn overrides(&self) -> Option<&crate::catalog::infrastructure::RecipeOverrides> {
        self.workload
            .image
            .with_recipe
            .as_ref()
            .filter(|_| matches!(self.image.origin, Origin::Packages | Origin::Bundle))
    }

    fn template(&self) -> Template {
        Template::default()
            .with("name", &self.workload.name)
            .with("namespace", &self.stack.namespaces.infra)
            .with("appsNamespace", &self.stack.namespaces.apps)
            .with("meshNamespace", &self.stack.namespaces.mesh)
            .with("replicas", self.size.replicas)
            .with("memoryMiB", self.size.resources.limits.memory.as_mib())
            .with("heapMiB", self.size.heap_mib.unwrap_or_default())
    }

    /// Prometheus finds its targets through the API server.
    fn cluster_reader(&self) -> Vec<Value> {
        let name = format!("{}-{}", self.stack.namespaces.infra, self.workload.name);
        let labels = json!({ "app": self.workload.name });
        vec![
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": { "name": name, "labels": labels },
                "rules": [
                    { "apiGroups": [""], "resources": ["nodes", "nodes/metrics", "services", "endpoints", "pods"], "verbs": ["get", "list", "watch"] },
                    { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"] },
                    { "nonResourceURLs": ["/metrics", "/metrics/cadvisor"], "verbs": ["get"] },
                ],
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": { "name": name, "labels": labels },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": self.workload.name, "namespace": self.stack.namespaces.infra }],
            }),
        ]
    }
}

/// A path as a ConfigMap key: letters, digits, `-`, `_` and `.` only.
fn file_key(path: &str) -> String {
    path.trim_start_matches('/').replace('/', "__")
}

/// Container port names have at most 15 characters.
fn short(name: &str) -> String {
    name.chars()
        .take(15)
        .collect::<String>()
        .trim_end_matches('-')
        .to_owned()
}
