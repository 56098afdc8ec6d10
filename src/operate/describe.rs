//! Everything about one component on one page: workload, pods, probes, configuration, mesh, events, and why it is not well.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Pod, Secret};
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::events::{EventLine, events};
use super::logs::SIDECAR;
pub use super::readable::Part;
use super::readable::{Refusal, readable};
use super::site::{Site, Workload, pod_name};
use crate::failure::Failure;
use crate::k8s::{Diagnosis, KindInfo, Scope, View, observe_in, readiness};

/// The page.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// Name.
    pub name: String,
    /// `Deployment` or `StatefulSet`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Ready replicas.
    pub ready: u64,
    /// Wanted replicas.
    pub replicas: u64,
    /// The image.
    pub image: String,
    /// Where the image came from.
    pub source: String,
    /// When the workload was made.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// How pods are replaced.
    pub strategy: String,
    /// Whether a rollout is paused.
    pub paused: bool,
    /// Its pods, oldest first.
    pub pods: Vec<PodLine>,
    /// Requests and limits of its own container.
    pub resources: Value,
    /// Startup, readiness and liveness, in words.
    pub probes: Vec<String>,
    /// The config map's entries.
    pub config: BTreeMap<String, String>,
    /// The Secret's keys; never its values.
    pub secret_keys: Vec<String>,
    /// What the mesh does with it.
    pub mesh: MeshState,
    /// Newest first.
    pub events: Vec<EventLine>,
    /// Parts of this page that the context's user may not read, and that are therefore empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Part>,
    /// Why it is not ready; absent where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
}

/// One pod.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodLine {
    /// Name.
    pub name: String,
    /// In words: `ready`, `1/2 containers ready`, a reason.
    pub state: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Restarts of all containers.
    pub restarts: i32,
    /// When it was made.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Node.
    pub node: String,
    /// IP.
    pub ip: String,
    /// Its containers, sidecars too.
    pub containers: Vec<ContainerLine>,
}

/// One container.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerLine {
    /// Name.
    pub name: String,
    /// Image.
    pub image: String,
    /// `running`, `waiting: CrashLoopBackOff`, `ended: Completed (0)`.
    pub state: String,
    /// How the life before ended, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
    /// Restarts.
    pub restarts: i32,
}

/// The mesh's part.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshState {
    /// Pods that have a sidecar.
    pub sidecars: usize,
    /// The sidecar's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// Mode of mutual TLS in its namespace, where a policy sets one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<String>,
    /// Mesh objects that name it, `kind/name`.
    pub objects: Vec<String>,
}

/// Describes a component.
pub async fn describe(site: &Site, name: &str) -> Result<Description, Failure> {
    let workload = site.workload(name).await?;
    let names = [workload.name().to_owned()];
    let (pods, events, config, secret, mesh) = tokio::join!(
        site.pods(&workload),
        events(site, &names, false),
        config(site, &workload),
        secret_keys(site, &workload),
        mesh_objects(site, &workload)
    );
    let pods = pods?;
    let mut unreadable = Vec::new();
    let (config, secret, mesh) = (
        readable(config, Part::Config, &mut unreadable)?,
        readable(secret, Part::Secret, &mut unreadable)?,
        readable(mesh, Part::Mesh, &mut unreadable)?,
    );
    let container = |at: &str| workload.own_container().get(at);
    let well = workload.ready() >= workload.replicas() && pods.iter().filter(|pod| counts(pod)).all(is_ready);
    let mut mesh = mesh;
    let sidecar = |pod: &&Pod| image_of(pod, SIDECAR).is_some();
    mesh.sidecars = pods.iter().filter(sidecar).count();
    mesh.proxy = pods.iter().find_map(|pod| image_of(pod, SIDECAR));
    let strategy = workload
        .text("/spec/strategy/type")
        .or(workload.text("/spec/updateStrategy/type"));
    Ok(Description {
        name: workload.name().to_owned(),
        kind: workload.id.kind.clone(),
        namespace: workload.namespace().to_owned(),
        ready: workload.ready(),
        replicas: workload.replicas(),
        image: workload.image().to_owned(),
        source: workload.source().to_owned(),
        since: workload
            .text("/metadata/creationTimestamp")
            .and_then(|time| time.parse().ok()),
        strategy: strategy.unwrap_or_default().to_owned(),
        paused: workload.value["spec"]["paused"] == true,
        pods: pods.iter().map(pod_line).collect(),
        resources: container("resources").cloned().unwrap_or_default(),
        probes: ["startupProbe", "readinessProbe", "livenessProbe"]
            .into_iter()
            .filter_map(|probe| Some(probe_words(probe, container(probe)?)))
            .collect(),
        config,
        secret_keys: secret,
        mesh,
        events: events?,
        unreadable,
        diagnosis: if well {
            None
        } else {
            Some(diagnosis(site, &workload).await)
        },
    })
}

/// Whether a pod is still one of the replicas: not on its way out, nor one that has come to its end (evicted, finished) and is
/// kept to be looked at.
fn counts(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"))
}

fn is_ready(pod: &Pod) -> bool {
    readiness(pod).is_ready()
}

/// Why a workload is not ready, as every failed wait tells it.
pub async fn diagnosis(site: &Site, workload: &Workload) -> Diagnosis {
    let view = View::open(
        &site.cluster,
        &Scope::Namespaces(vec![workload.namespace().to_owned()]),
    );
    view.synced(Duration::from_secs(10)).await;
    view.diagnose(&workload.id).await
}

fn image_of(pod: &Pod, name: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    all.find(|container| container.name == name)?.image.clone()
}

fn pod_line(pod: &Pod) -> PodLine {
    let status = pod.status.as_ref();
    let spec = pod.spec.as_ref();
    let state = readiness(pod);
    let statuses = || {
        let own = status.iter().flat_map(|s| s.container_statuses.iter().flatten());
        own.chain(
            status
                .iter()
                .flat_map(|s| s.init_container_statuses.iter().flatten()),
        )
    };
    PodLine {
        name: pod_name(pod).to_owned(),
        state: state.detail().to_owned(),
        ready: state.is_ready(),
        restarts: statuses().map(|one| one.restart_count).sum(),
        since: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        node: spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        ip: status.and_then(|s| s.pod_ip.clone()).unwrap_or_default(),
        containers: statuses().map(container_line).collect(),
    }
}

fn container_line(status: &ContainerStatus) -> ContainerLine {
    let ended = |end: &k8s_openapi::api::core::v1::ContainerStateTerminated| {
        let reason = end.reason.as_deref().unwrap_or("ended");
        format!("{reason} ({})", end.exit_code)
    };
    let state = status.state.as_ref();
    let words = match state {
        Some(state) if state.running.is_some() => {
            if status.ready {
                "running".to_owned()
            } else {
                "running, not ready".to_owned()
            }
        }
        Some(state) => match (&state.waiting, &state.terminated) {
            (Some(waiting), _) => format!("waiting: {}", waiting.reason.as_deref().unwrap_or("?")),
            (_, Some(end)) => format!("ended: {}", ended(end)),
            _ => "unknown".to_owned(),
        },
        None => "unknown".to_owned(),
    };
    ContainerLine {
        name: status.name.clone(),
        image: status.image.clone(),
        state: words,
        last_end: status
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .map(ended),
        restarts: status.restart_count,
    }
}

fn probe_words(name: &str, probe: &Value) -> String {
    let number = |field: &str| probe[field].as_i64().unwrap_or(1);
    let how = if let Some(get) = probe.get("httpGet") {
        let port = match &get["port"] {
            Value::String(port) => port.clone(),
            other => other.to_string(),
        };
        format!("GET {} on {port}", get["path"].as_str().unwrap_or("/"))
    } else if let Some(command) = probe.pointer("/exec/command").and_then(Value::as_array) {
        let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
        words.join(" ")
    } else if let Some(port) = probe.pointer("/tcpSocket/port") {
        format!("TCP {port}")
    } else {
        "gRPC".to_owned()
    };
    format!(
        "{}: {how}, every {} s, {} failures",
        name.trim_end_matches("Probe"),
        number("periodSeconds"),
        number("failureThreshold")
    )
}

async fn config(site: &Site, workload: &Workload) -> Result<BTreeMap<String, String>, Refusal> {
    let name = format!("{}-config", workload.name());
    let found = site
        .api::<ConfigMap>(workload.namespace())
        .get_opt(&name)
        .await
        .map_err(|error| Refusal::of(&name, error))?;
    Ok(found.and_then(|map| map.data).unwrap_or_default())
}

async fn secret_keys(site: &Site, workload: &Workload) -> Result<Vec<String>, Refusal> {
    let name = format!("{}-secret", workload.name());
    let found = site
        .api::<Secret>(workload.namespace())
        .get_opt(&name)
        .await
        .map_err(|error| Refusal::of(&name, error))?;
    let data = found.and_then(|secret| secret.data).unwrap_or_default();
    Ok(data.into_keys().collect())
}

async fn mesh_objects(site: &Site, workload: &Workload) -> Result<MeshState, Refusal> {
    let kinds: Vec<KindInfo> = crate::k8s::BUILT_IN
        .iter()
        .copied()
        .filter(|kind| kind.namespaced && kind.api_version.contains("istio.io"))
        .collect();
    let snapshot = observe_in(&site.cluster, &[workload.namespace()], "", &kinds).await?;
    let mut state = MeshState::default();
    for (id, value) in snapshot.iter() {
        if id.kind == "PeerAuthentication" && value["spec"].get("selector").is_none() {
            state.mtls = value["spec"]["mtls"]["mode"].as_str().map(str::to_owned);
        }
        if names(value, workload) {
            state.objects.push(format!("{}/{}", id.kind, id.name));
        }
    }
    Ok(state)
}

/// Whether a mesh object is about a workload: by host, destination or selector.
fn names(object: &Value, workload: &Workload) -> bool {
    let name = workload.name();
    let is_host = |host: &str| host == name || host.starts_with(&format!("{name}.{}", workload.namespace()));
    if object["spec"]["host"].as_str().is_some_and(is_host) {
        return true;
    }
    let selector = object["spec"]["selector"]["matchLabels"]["app"].as_str();
    let hosts = object["spec"]["hosts"].as_array().into_iter().flatten();
    let routes = object["spec"]["http"].as_array().into_iter().flatten();
    let destinations = routes
        .flat_map(|route| route["route"].as_array().into_iter().flatten())
        .filter_map(|route| route["destination"]["host"].as_str());
    selector == Some(name)
        || hosts.filter_map(Value::as_str).any(is_host)
        || destinations.into_iter().any(is_host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k8s::ObjectRef;
    use serde_json::json;

    #[test]
    fn probes_in_words() {
        let probe = json!({"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 10, "failureThreshold": 3});
        assert_eq!(
            probe_words("readinessProbe", &probe),
            "readiness: GET /health on http, every 10 s, 3 failures"
        );
    }

    #[test]
    fn pods_that_go_or_are_gone_are_no_replicas() {
        let pod = |phase: &str, metadata: Value| -> Pod {
            serde_json::from_value(json!({"metadata": metadata, "status": {"phase": phase}})).unwrap()
        };
        assert!(counts(&pod("Pending", json!({}))) && counts(&pod("Running", json!({}))));
        assert!(!counts(&pod("Failed", json!({}))), "evicted");
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(!counts(&pod("Running", going)));
    }

    #[test]
    fn mesh_objects_are_found_by_host_destination_or_selector() {
        let workload = Workload {
            id: ObjectRef::new("apps/v1", "Deployment", "ns", "a"),
            value: Value::Null,
        };
        assert!(names(
            &json!({"spec": {"host": "a.ns.svc.cluster.local"}}),
            &workload
        ));
        let routed = json!({"spec": {"hosts": ["*"], "http": [{"route": [{"destination": {"host": "a"}}]}]}});
        assert!(names(&routed, &workload));
        assert!(!names(&json!({"spec": {"host": "ab.ns"}}), &workload));
    }
}
