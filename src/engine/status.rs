//! What is deployed, how it is, and where each image came from.

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::platform::Platform;
use super::turn;
use crate::failure::Failure;
use crate::k8s::{self, Cluster, KindInfo, ObjectRef};
use crate::profile::stack::LeftOut;
use crate::render::metrics;
use crate::render::object::{COMPONENT, ORIGIN, PROFILE, PROMOTED_COMPONENT, WORKSPACE};
use crate::report::text;

/// The platform at a moment.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// kind's name of the cluster.
    pub cluster: String,
    /// Kubernetes' version.
    pub kubernetes: String,
    /// The profile that is deployed, as its objects say.
    pub profile: String,
    /// One entry a workload, systems before services.
    pub components: Vec<ComponentStatus>,
    /// What the profile leaves out, and why.
    pub left_out: Vec<LeftOut>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// The workload's name.
    pub name: String,
    /// The system or service it belongs to.
    pub component: String,
    /// Namespace.
    pub namespace: String,
    /// Replicas that are ready.
    pub ready: u64,
    /// Replicas that are wanted.
    pub replicas: u64,
    /// Version: the image's tag.
    pub version: String,
    /// The image's reference.
    pub image: String,
    /// Where the image came from: `registry`, `bundle`, `packages`, `built`, or `stand-in`, which is not the service.
    pub source: String,
    /// Container restarts in all its pods, sidecars included.
    pub restarts: u64,
    /// When it was made, RFC 3339.
    pub since: String,
    /// How long ago that was, for people: `3h20m`.
    pub age: String,
    /// Its address: on this machine, or under the platform's host where a gateway is shared; absent where it has none.
    pub url: Option<String>,
}

impl ComponentStatus {
    /// Whether all wanted replicas are ready.
    pub fn is_ready(&self) -> bool {
        self.ready >= self.replicas
    }
}

impl StatusReport {
    /// Whether every component is ready.
    pub fn is_ready(&self) -> bool {
        self.components.iter().all(ComponentStatus::is_ready)
    }
}

/// Reads the state of every workload in the platform's namespaces, whoever made it: what was promoted carries no label of this
/// workspace's. In a cluster of its own, vadev has parts in the cluster's namespace too.
pub async fn status(platform: &Platform, cluster: &Cluster) -> Result<StatusReport, Failure> {
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, platform.stack().workspace);
    let workload_kinds: Vec<KindInfo> = kinds(&["Deployment", "StatefulSet"]);
    let namespaces = &platform.stack().namespaces;
    let ours = [namespaces.apps.as_str(), namespaces.infra.as_str()];
    let own: &[&str] = match platform.options.place.existing() {
        Some(_) => &[],
        None => &[metrics::NAMESPACE],
    };
    let (workloads, parts, pods, part_pods, version) = tokio::join!(
        k8s::observe_in(cluster, &ours, "", &workload_kinds),
        k8s::observe_in(cluster, own, &selector, &workload_kinds),
        k8s::observe_in(cluster, &ours, "", k8s::PODS),
        k8s::observe_in(cluster, own, "app", k8s::PODS),
        cluster.version()
    );
    let (workloads, parts, pods, part_pods) = (workloads?, parts?, pods?, part_pods?);
    let pods: Vec<&Value> = pods.iter().chain(part_pods.iter()).map(|(_, pod)| pod).collect();
    let mut components: Vec<ComponentStatus> = workloads
        .iter()
        .chain(parts.iter())
        .map(|(id, value)| component(platform, id, value, &pods))
        .collect();
    components.sort_by_key(|one| {
        (
            one.namespace != platform.stack().namespaces.infra,
            one.component.clone(),
            one.name.clone(),
        )
    });
    let profile = workloads
        .iter()
        .find_map(|(_, value)| value["metadata"]["labels"][PROFILE].as_str())
        .unwrap_or("none")
        .to_owned();
    let there = |left: &&LeftOut| components.iter().any(|one| one.component == left.name);
    Ok(StatusReport {
        cluster: platform.cluster_name(),
        kubernetes: version?,
        profile,
        left_out: platform
            .stack()
            .left_out
            .iter()
            .filter(|left| !there(left))
            .cloned()
            .collect(),
        components,
    })
}

fn kinds(names: &[&str]) -> Vec<KindInfo> {
    k8s::BUILT_IN
        .iter()
        .copied()
        .filter(|kind| names.contains(&kind.kind))
        .collect()
}

fn component(platform: &Platform, id: &ObjectRef, value: &Value, pods: &[&Value]) -> ComponentStatus {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let container = k8s::own_container(&value["spec"]["template"], &id.name);
    let image = container["image"].as_str().unwrap_or_default().to_owned();
    let namespace = id.namespace.clone().unwrap_or_default();
    // A count from before the newest change says nothing about it.
    let current = number("/status/observedGeneration") >= number("/metadata/generation");
    let service = platform
        .stack()
        .services
        .iter()
        .find(|sized| sized.service.name == id.name);
    let prefix = service
        .and_then(|sized| sized.service.prefixes.first())
        .filter(|_| platform.stack().mesh.is_some() && platform.options.place.existing().is_none());
    ComponentStatus {
        name: id.name.clone(),
        component: [COMPONENT, PROMOTED_COMPONENT]
            .iter()
            .find_map(|label| value["metadata"]["labels"][*label].as_str())
            .unwrap_or(&id.name)
            .to_owned(),
        ready: if current {
            number("/status/readyReplicas")
        } else {
            0
        },
        replicas: number("/spec/replicas"),
        version: tag(&image).to_owned(),
        image,
        source: value["metadata"]["annotations"][ORIGIN]
            .as_str()
            .unwrap_or("unknown")
            .to_owned(),
        restarts: restarts(pods, &namespace, &value["spec"]["selector"]),
        age: age(&text("/metadata/creationTimestamp")),
        since: text("/metadata/creationTimestamp"),
        url: prefix.and_then(|prefix| Some(format!("{}{prefix}", turn::base(platform)?))),
        namespace,
    }
}

fn age(since: &str) -> String {
    since.parse::<Timestamp>().map_or_else(
        |_| String::new(),
        |since| text::age(Timestamp::now().as_second() - since.as_second()),
    )
}

/// The tag of an image's reference; empty where only a digest names it.
fn tag(image: &str) -> &str {
    let named = image.split_once('@').map_or(image, |(named, _)| named);
    let last = named.rsplit_once('/').map_or(named, |(_, last)| last);
    last.split_once(':').map_or("", |(_, tag)| tag)
}

fn restarts(pods: &[&Value], namespace: &str, selector: &Value) -> u64 {
    let of_workload = |pod: &&&Value| {
        pod["metadata"]["namespace"] == namespace && k8s::selects(selector, &pod["metadata"]["labels"])
    };
    let statuses = |pod: &Value| -> Vec<u64> {
        let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
        let statuses = lists
            .filter_map(|list| pod["status"][list].as_array().cloned())
            .flatten();
        statuses
            .filter_map(|status| status["restartCount"].as_u64())
            .collect()
    };
    pods.iter()
        .filter(of_workload)
        .flat_map(|pod| statuses(pod))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_tag_and_no_port_and_no_digest() {
        assert_eq!(tag("ghcr.io/a/b:1.1.0"), "1.1.0");
        assert_eq!(tag("registry:5000/a/b:1.1.0@sha256:abc"), "1.1.0");
        assert_eq!(tag("registry:5000/a/b@sha256:abc"), "");
        assert_eq!(tag("b"), "");
    }
}
