//! A workload's pod as a service of a Compose file.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::text::{at_port, expanded, literal, required};
use super::{APPS, INFRA, PREPARE, TOOLS, asks, common};
use crate::agent::base64;
use crate::catalog::{Bytes, MilliCpu, Service};
use crate::profile::Stack;
use crate::render::Object;
use crate::render::service::PORT as SERVICE_PORT;

/// Everything that a pod refers to, and what comes together while pods are translated.
pub struct World<'a> {
    stack: &'a Stack,
    objects: &'a [Object],
    folder: String,
    /// Volume → the user who writes to it.
    pub volumes: BTreeMap<String, i64>,
    /// Files to be mounted, by path relative to the Compose file.
    pub files: BTreeMap<String, String>,
    /// What could not be translated.
    pub missing: Vec<String>,
}

impl<'a> World<'a> {
    /// With nothing translated yet. Files go into `folder`.
    pub fn new(stack: &'a Stack, objects: &'a [Object], folder: String) -> Self {
        Self {
            stack,
            objects,
            folder,
            volumes: BTreeMap::new(),
            files: BTreeMap::new(),
            missing: Vec::new(),
        }
    }

    /// The service's name and content.
    pub fn service(&mut self, workload: &Value) -> (String, Value) {
        let name = text(&workload["metadata"]["name"]);
        let namespace = text(&workload["metadata"]["namespace"]);
        let pod = &workload["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        self.note_untranslated(&name, pod);
        let environment = self.environment(&namespace, container);
        let mut service = Map::new();
        common(&mut service);
        service.insert("image".to_owned(), json!(literal(&text(&container["image"]))));
        for (ours, theirs) in [("entrypoint", "command"), ("command", "args")] {
            let words: Vec<String> = list(&container[theirs])
                .map(|word| expanded(&text(word), &environment))
                .collect();
            if !words.is_empty() {
                service.insert(ours.to_owned(), json!(words));
            }
        }
        service.insert("environment".to_owned(), json!(environment));
        security(&mut service, pod, container);
        limits(&mut service, &container["resources"]);
        self.mounts(&mut service, &name, &namespace, workload);
        if let Some(check) = health(container) {
            service.insert("healthcheck".to_owned(), check);
        }
        service.insert("depends_on".to_owned(), self.needs(&name));
        service.insert("networks".to_owned(), self.networks(&name, &namespace, pod));
        service.insert(
            "stop_grace_period".to_owned(),
            json!(format!("{}s", pod["terminationGracePeriodSeconds"])),
        );
        if let Some(replicas) = workload["spec"]["replicas"]
            .as_u64()
            .filter(|replicas| *replicas != 1)
        {
            service.insert("scale".to_owned(), json!(replicas));
        }
        (name, Value::Object(service))
    }

    fn note_untranslated(&mut self, name: &str, pod: &Value) {
        for extra in list(&pod["initContainers"]).chain(list(&pod["containers"]).skip(1)) {
            self.missing
                .push(format!("the container {} of {name}", text(&extra["name"])));
        }
    }

    /// The environment as the kubelet puts it together, values as Compose writes them.
    fn environment(&self, namespace: &str, container: &Value) -> IndexMap<String, String> {
        let mut all = IndexMap::new();
        for source in list(&container["envFrom"]) {
            let map = &source["configMapRef"]["name"];
            for (key, value) in self.data("ConfigMap", namespace, map) {
                all.insert(key, literal(&value));
            }
            for (key, variable) in self.data("Secret", namespace, &source["secretRef"]["name"]) {
                all.insert(key, required(&variable));
            }
        }
        for entry in list(&container["env"]) {
            let name = text(&entry["name"]);
            let reference = |kind: &str, field: &str| {
                let source = &entry["valueFrom"][field];
                self.data(kind, namespace, &source["name"])
                    .swap_remove(&text(&source["key"]))
            };
            let value = if entry.get("valueFrom").is_none() {
                Some(expanded(&text(&entry["value"]), &all))
            } else {
                reference("Secret", "secretKeyRef")
                    .map(|variable| required(&variable))
                    .or_else(|| reference("ConfigMap", "configMapKeyRef").map(|value| literal(&value)))
            };
            all.extend(value.map(|value| (name, value)));
        }
        all.sort_keys();
        for value in all.values_mut() {
            *value = self.at_ports(value);
        }
        all
    }

    /// A text in which services are addressed where their containers listen: Compose has no Service in between that would
    /// answer at another port.
    fn at_ports(&self, value: &str) -> String {
        let elsewhere = self.stack.services.iter().map(|sized| &sized.service);
        let elsewhere = elsewhere.filter(|service| service.port != SERVICE_PORT);
        let apps = &self.stack.namespaces.apps;
        elsewhere.fold(value.to_owned(), |value, Service { name, port, .. }| {
            let long = format!("{name}.{apps}");
            let hosts = [
                name.clone(),
                format!("{long}.svc.cluster.local"),
                format!("{long}.svc"),
                long,
            ];
            hosts
                .iter()
                .fold(value, |value, host| at_port(&value, host, SERVICE_PORT, *port))
        })
    }

    /// The data of a ConfigMap or Secret; empty where there is none of that name.
    fn data(&self, kind: &str, namespace: &str, name: &Value) -> IndexMap<String, String> {
        let Some(name) = name.as_str() else {
            return IndexMap::new();
        };
        let found = self.objects.iter().map(Object::value).find(|value| {
            value["kind"] == kind
                && value["metadata"]["name"] == name
                && value["metadata"]["namespace"] == namespace
        });
        let entries = found
            .and_then(|value| value["data"].as_object())
            .into_iter()
            .flatten();
        let decoded = |value: &str| base64::decode(value).and_then(|bytes| String::from_utf8(bytes).ok());
        entries
            .filter_map(|(key, value)| {
                let value = value.as_str()?;
                let value = if kind == "Secret" {
                    decoded(value)?
                } else {
                    value.to_owned()
                };
                Some((key.clone(), value))
            })
            .collect()
    }

    /// Persistent volumes, writable folders, files, and the program of the health checks.
    fn mounts(&mut self, service: &mut Map<String, Value>, name: &str, namespace: &str, workload: &Value) {
        let pod = &workload["spec"]["template"]["spec"];
        let user = pod["securityContext"]["runAsUser"].as_i64().unwrap_or_default();
        let mut volumes = vec![format!("{TOOLS}:/vadev:ro")];
        let mut scratch = Vec::new();
        for mount in list(&pod["containers"][0]["volumeMounts"]) {
            let (volume, path) = (text(&mount["name"]), text(&mount["mountPath"]));
            let claimed = list(&workload["spec"]["volumeClaimTemplates"])
                .any(|claim| claim["metadata"]["name"] == volume);
            let source = list(&pod["volumes"])
                .find(|one| one["name"] == volume)
                .cloned()
                .unwrap_or_default();
            if claimed {
                let full = format!("{name}-{volume}");
                volumes.push(format!("{full}:{path}"));
                self.volumes.insert(full, user);
            } else if source.get("emptyDir").is_some() {
                // Some systems unpack libraries there and load them.
                scratch.push(format!("{path}:exec,mode=1777,uid={user}"));
            } else if let Some(map) = source.get("configMap") {
                let data = self.data("ConfigMap", namespace, &map["name"]);
                let one = mount["subPath"].as_str();
                for (key, content) in data
                    .into_iter()
                    .filter(|(key, _)| one.is_none_or(|one| one == key))
                {
                    let target = if one.is_some() {
                        path.clone()
                    } else {
                        format!("{path}/{key}")
                    };
                    let file = format!("{}/{name}/{key}", self.folder);
                    volumes.push(format!("./{file}:{target}:ro"));
                    self.files.insert(file, content);
                }
            } else {
                self.missing.push(format!("the volume {volume} of {name}"));
            }
        }
        service.insert("volumes".to_owned(), json!(volumes));
        if !scratch.is_empty() {
            service.insert("tmpfs".to_owned(), json!(scratch));
        }
    }

    /// What has to be healthy first: called services that start earlier (Compose allows no cycles), and stores.
    fn needs(&self, name: &str) -> Value {
        let mut needs = json!({ PREPARE: { "condition": "service_completed_successfully" } });
        let position = |name: &str| {
            self.stack
                .services
                .iter()
                .position(|sized| sized.service.name == name)
        };
        let Some(own) = position(name) else { return needs };
        let sized = &self.stack.services[own];
        let earlier = sized
            .service
            .calls
            .iter()
            .filter(|called| position(called).is_some_and(|at| at < own));
        let stores = sized.service.stores.iter().filter_map(|store| {
            let mut systems = self
                .stack
                .infrastructure
                .iter()
                .map(|system| &system.infrastructure);
            Some(
                &systems
                    .find(|system| system.is_called(store))?
                    .workloads
                    .first()?
                    .name,
            )
        });
        for needed in earlier.chain(stores).filter(|needed| self.runs(needed)) {
            needs[needed] = json!({ "condition": "service_healthy" });
        }
        needs
    }

    fn runs(&self, name: &str) -> bool {
        self.objects.iter().any(|object| {
            let id = object.id();
            id.name == name && super::is_workload(&id)
        })
    }

    /// Applications reach the infrastructure, which reaches only itself; what reads the cluster's API (Prometheus) reaches both.
    /// Each is known by the names that it has in a cluster.
    fn networks(&self, name: &str, namespace: &str, pod: &Value) -> Value {
        let known = self.objects.iter().map(Object::value).filter(|value| {
            let spec = &value["spec"];
            value["kind"] == "Service" && spec["clusterIP"] != "None" && spec["selector"]["app"] == name
        });
        let aliases: Vec<String> = known
            .filter(|value| value["metadata"]["namespace"] == namespace)
            .flat_map(|value| {
                let service = text(&value["metadata"]["name"]);
                let plain = (service != name).then(|| service.clone());
                let long = [
                    format!("{service}.{namespace}"),
                    format!("{service}.{namespace}.svc.cluster.local"),
                ];
                plain.into_iter().chain(long)
            })
            .collect();
        let aliases = json!({ "aliases": aliases });
        if namespace == self.stack.namespaces.apps {
            json!({ APPS: aliases, INFRA: {} })
        } else if pod["automountServiceAccountToken"] == true {
            json!({ APPS: {}, INFRA: aliases })
        } else {
            json!({ INFRA: aliases })
        }
    }
}

fn security(service: &mut Map<String, Value>, pod: &Value, container: &Value) {
    let context = &pod["securityContext"];
    let id = |field: &str| context[field].as_i64().unwrap_or_default();
    service.insert(
        "user".to_owned(),
        json!(format!("{}:{}", id("runAsUser"), id("runAsGroup"))),
    );
    let read_only = container["securityContext"]["readOnlyRootFilesystem"] == true;
    service.insert("read_only".to_owned(), json!(read_only));
}

/// Quota and period instead of `cpus`, which Docker refuses beyond what the machine has.
fn limits(service: &mut Map<String, Value>, resources: &Value) {
    let memory = |value: &Value| {
        Some(format!(
            "{}m",
            Bytes::parse(value.as_str()?).ok()?.as_mib().max(6)
        ))
    };
    let cpu = |value: &Value| Some(MilliCpu::parse(value.as_str()?).ok()?.0);
    let (requests, limits) = (&resources["requests"], &resources["limits"]);
    let quota = cpu(&limits["cpu"]).map(|milli| json!(milli * 100));
    let amounts = [
        ("mem_limit", memory(&limits["memory"]).map(Value::from)),
        ("mem_reservation", memory(&requests["memory"]).map(Value::from)),
        // As the kubelet does: 1024 shares a CPU, at least 2.
        (
            "cpu_shares",
            cpu(&requests["cpu"]).map(|milli| json!((milli * 1024 / 1000).max(2))),
        ),
        ("cpu_period", quota.as_ref().map(|_| json!(100_000))),
        ("cpu_quota", quota),
    ];
    for (key, value) in amounts {
        service.extend(value.map(|value| (key.to_owned(), value)));
    }
}

/// The readiness probe, asked from inside. Starting takes as long as the startup probe allows.
fn health(container: &Value) -> Option<Value> {
    let probe = container.get("readinessProbe")?;
    let port = |value: &Value| -> Option<u64> {
        value.as_u64().or_else(|| {
            let named = list(&container["ports"]).find(|port| port["name"] == *value)?;
            named["containerPort"].as_u64()
        })
    };
    let test = if let Some(get) = probe.get("httpGet") {
        asks(&format!(
            "http://127.0.0.1:{}{}",
            port(&get["port"])?,
            literal(&text(&get["path"]))
        ))
    } else if let Some(socket) = probe.get("tcpSocket") {
        asks(&format!("tcp://127.0.0.1:{}", port(&socket["port"])?))
    } else {
        let words = list(&probe["exec"]["command"]).map(|word| literal(&text(word)));
        json!(std::iter::once("CMD".to_owned()).chain(words).collect::<Vec<_>>())
    };
    let startup = &container["startupProbe"];
    let start =
        startup["failureThreshold"].as_u64().unwrap_or(0) * startup["periodSeconds"].as_u64().unwrap_or(1);
    Some(json!({
        "test": test,
        // Docker asks as often while it starts as later on; every check is a process.
        "interval": "5s",
        "timeout": format!("{}s", probe["timeoutSeconds"].as_u64().unwrap_or(5)),
        "retries": probe["failureThreshold"].as_u64().unwrap_or(3),
        "start_period": format!("{}s", start.max(30)),
    }))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
