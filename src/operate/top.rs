//! What pods and nodes use now: from metrics-server where it is deployed, else from the kubelets themselves.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde_json::Value;

use super::error::OperateError;
use super::site::{Site, if_allowed, pod_name};
use crate::catalog::{Bytes, MilliCpu};
use crate::failure::Failure;
use crate::k8s::{allowed, raw};

/// The API of metrics-server.
const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

/// Who measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measured {
    /// metrics-server: averages over its last interval.
    MetricsServer,
    /// The kubelets' own summaries.
    Kubelet,
}

/// What something uses.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Pod or node.
    pub name: String,
    /// The pod's namespace; absent for nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Working set, bytes: what memory limits count.
    pub memory_bytes: u64,
    /// The limit, or the node's allocatable amount; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit_millis: Option<u64>,
    /// As for the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
}

/// What everything uses, the hungriest first.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Top {
    /// Who measured.
    pub measured_by: Measured,
    /// By memory, descending.
    pub usage: Vec<Usage>,
}

/// What the platform's pods use.
pub async fn pods(site: &Site) -> Result<Top, Failure> {
    let pods = site.all_pods().await?;
    // One list a namespace: that of the whole cluster takes a right that who runs a platform in it need not have.
    let lists = site.all_namespaces().map(|namespace| async move {
        let found = raw(&site.cluster, &format!("{METRICS}/namespaces/{namespace}/pods")).await;
        if namespace == site.namespaces.mesh {
            return if_allowed(found);
        }
        found
    });
    let lists = try_join_all(lists).await?;
    let (measured_by, used) = if lists.iter().any(Option::is_some) {
        let used = lists.iter().flatten().flat_map(by_metrics);
        (Measured::MetricsServer, used.collect())
    } else {
        (Measured::Kubelet, by_kubelets(site).await?)
    };
    let find = |namespace: &str, name: &str| {
        pods.iter()
            .find(|pod| pod.metadata.namespace.as_deref() == Some(namespace) && pod_name(pod) == name)
    };
    let usage = used
        .into_iter()
        .filter_map(|(namespace, name, cpu_millis, memory_bytes)| {
            let pod = find(&namespace, &name)?;
            Some(Usage {
                name,
                namespace: Some(namespace),
                cpu_millis,
                memory_bytes,
                cpu_limit_millis: limit(pod, "cpu"),
                memory_limit_bytes: limit(pod, "memory"),
            })
        });
    Ok(sorted(measured_by, usage.collect()))
}

/// What the nodes use.
pub async fn nodes(site: &Site) -> Result<Top, Failure> {
    let nodes = list_nodes(site).await?;
    let measured = raw(&site.cluster, &format!("{METRICS}/nodes")).await?;
    let mut usage = Vec::new();
    let measured_by = if let Some(list) = measured {
        for item in list["items"].as_array().into_iter().flatten() {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            usage.push((
                name.to_owned(),
                cpu(&item["usage"]["cpu"]),
                memory(&item["usage"]["memory"]),
            ));
        }
        Measured::MetricsServer
    } else {
        for summary in summaries(site, &nodes).await? {
            let node = &summary["node"];
            let name = node["nodeName"].as_str().unwrap_or_default();
            usage.push((
                name.to_owned(),
                nanos(node),
                node["memory"]["workingSetBytes"].as_u64().unwrap_or(0),
            ));
        }
        Measured::Kubelet
    };
    let allocatable = |name: &str, what: &str| {
        let node = nodes
            .iter()
            .find(|node| node.metadata.name.as_deref() == Some(name))?;
        let amount = node.status.as_ref()?.allocatable.as_ref()?.get(what)?;
        quantity(what, &amount.0)
    };
    let usage = usage.into_iter().map(|(name, cpu_millis, memory_bytes)| Usage {
        cpu_limit_millis: allocatable(&name, "cpu"),
        memory_limit_bytes: allocatable(&name, "memory"),
        namespace: None,
        cpu_millis,
        memory_bytes,
        name,
    });
    Ok(sorted(measured_by, usage.collect()))
}

/// Whether metrics-server answers: what HPAs live on. Asked so that everybody may; where even that is refused, nobody can tell.
pub async fn metrics_server(site: &Site) -> Result<Option<bool>, Failure> {
    let found = allowed(raw(&site.cluster, METRICS).await)?;
    Ok(found.map(|found| found.is_some()))
}

fn sorted(measured_by: Measured, mut usage: Vec<Usage>) -> Top {
    usage.sort_by(|a, b| (b.memory_bytes, &a.name).cmp(&(a.memory_bytes, &b.name)));
    Top { measured_by, usage }
}

type Used = (String, String, u64, u64);

fn by_metrics(list: &Value) -> Vec<Used> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .map(|item| {
            let containers = || item["containers"].as_array().into_iter().flatten();
            let text = |name: &str| item["metadata"][name].as_str().unwrap_or_default().to_owned();
            (
                text("namespace"),
                text("name"),
                containers().map(|one| cpu(&one["usage"]["cpu"])).sum(),
                containers().map(|one| memory(&one["usage"]["memory"])).sum(),
            )
        })
        .collect()
}

async fn by_kubelets(site: &Site) -> Result<Vec<Used>, Failure> {
    let nodes = list_nodes(site).await?;
    let mut used = Vec::new();
    for summary in summaries(site, &nodes).await? {
        for pod in summary["pods"].as_array().into_iter().flatten() {
            let text = |name: &str| pod["podRef"][name].as_str().unwrap_or_default().to_owned();
            let memory = pod["memory"]["workingSetBytes"].as_u64().unwrap_or(0);
            used.push((text("namespace"), text("name"), nanos(pod), memory));
        }
    }
    Ok(used)
}

async fn list_nodes(site: &Site) -> Result<Vec<Node>, Failure> {
    let nodes: Api<Node> = Api::all(site.cluster.client());
    let listed = nodes.list(&ListParams::default()).await;
    Ok(listed
        .map_err(|error| OperateError::request("list", "nodes", error))?
        .items)
}

async fn summaries(site: &Site, nodes: &[Node]) -> Result<Vec<Value>, Failure> {
    let reads = nodes.iter().map(|node| async move {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let path = format!("/api/v1/nodes/{name}/proxy/stats/summary");
        raw(&site.cluster, &path).await
    });
    let found = try_join_all(reads).await.map_err(|_| OperateError::Absent {
        what: "metrics-server".to_owned(),
        hint: "`top` needs it here, because this context may not ask the kubelets: install metrics-server"
            .to_owned(),
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Nanocores as millicores.
fn nanos(of: &Value) -> u64 {
    of["cpu"]["usageNanoCores"].as_u64().unwrap_or(0) / 1_000_000
}

/// `12345n`, `123u` or `12m` as millicores: metrics-server counts in billionths.
fn cpu(quantity: &Value) -> u64 {
    let text = quantity.as_str().unwrap_or_default();
    let whole = |digits: &str| digits.parse::<u64>().unwrap_or(0);
    if let Some(nanos) = text.strip_suffix('n') {
        return whole(nanos) / 1_000_000;
    }
    if let Some(micros) = text.strip_suffix('u') {
        return whole(micros) / 1_000;
    }
    MilliCpu::parse(text).map_or(0, |cpu| cpu.0)
}

fn memory(quantity: &Value) -> u64 {
    Bytes::parse(quantity.as_str().unwrap_or_default()).map_or(0, |bytes| bytes.0)
}

fn quantity(what: &str, text: &str) -> Option<u64> {
    if what == "cpu" {
        MilliCpu::parse(text).ok().map(|cpu| cpu.0)
    } else {
        Bytes::parse(text).ok().map(|bytes| bytes.0)
    }
}

/// The sum of its containers' limits; `None` where one has none.
fn limit(pod: &Pod, what: &str) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let limits = spec.containers.iter().chain(sidecars).map(|container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        quantity(what, &limits.get(what)?.0)
    });
    limits.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn billionths_of_a_core_are_read() {
        assert_eq!(
            (cpu(&json!("12345678n")), cpu(&json!("5000u")), cpu(&json!("7m"))),
            (12, 5, 7)
        );
    }

    #[test]
    fn limits_of_sidecars_count_too() {
        let limited = |memory: &str| json!({"limits": {"memory": memory}});
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [{"name": "a", "resources": limited("64Mi")}],
            "initContainers": [
                {"name": "init", "resources": limited("1Gi")},
                {"name": "istio-proxy", "restartPolicy": "Always", "resources": limited("64Mi")},
            ],
        }}))
        .unwrap();
        assert_eq!(limit(&pod, "memory"), Some(128 << 20));
        assert_eq!(limit(&pod, "cpu"), None);
    }
}
