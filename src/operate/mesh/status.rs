//! Whether each proxy has what istiod sent it last, asked of istiod.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::k8s::{ExecTarget, exec};
use crate::operate::error::OperateError;
use crate::operate::site::{Site, pod_name};

/// One proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Pod and namespace, `agent-engine-….voiceassistant-prod`.
    pub name: String,
    /// `sidecar` or `router`.
    pub kind: String,
    /// Istio's version in it.
    pub version: String,
    /// What was sent, and whether it was taken: `clusters`, `listeners`, …
    pub parts: Vec<Part>,
}

/// One part of a proxy's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// `clusters`, `listeners`, `routes`, `endpoints`.
    pub name: &'static str,
    /// `synced`, `stale` (sent and not acknowledged), `not sent`.
    pub state: &'static str,
}

impl Proxy {
    /// Whether everything that was sent has arrived.
    pub fn is_synced(&self) -> bool {
        self.parts.iter().all(|part| part.state != "stale")
    }
}

/// Every proxy that istiod knows, of every istiod, by name.
pub async fn proxies(site: &Site) -> Result<Vec<Proxy>, Failure> {
    let pods = site.pods_by(&site.namespaces.mesh, "app=istiod").await?;
    let running = pods.iter().filter(|pod| crate::k8s::readiness(*pod).is_ready());
    let mut found = Vec::new();
    let mut any = false;
    for pod in running {
        any = true;
        let target = ExecTarget {
            namespace: &site.namespaces.mesh,
            pod: pod_name(pod),
            container: Some("discovery"),
        };
        let ask = ["pilot-discovery", "request", "GET", "/debug/syncz"];
        let answer = exec(&site.cluster, &target, &ask, None, Duration::from_secs(30)).await?;
        let value: Value = serde_json::from_slice(&answer.stdout)
            .map_err(|error| OperateError::unreadable("istiod's answer", error))?;
        found.extend(value.as_array().into_iter().flatten().map(read));
    }
    if !any {
        return Err(OperateError::Absent {
            what: "istiod".to_owned(),
            hint: "vadev up brings the mesh; vadev describe istiod says why it is not ready".to_owned(),
        }
        .into());
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn read(value: &Value) -> Proxy {
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let part = |name: &'static str, field: &str| {
        let (sent, acked) = (text(&format!("{field}_sent")), text(&format!("{field}_acked")));
        let state = match (sent.is_empty(), sent == acked) {
            (true, _) => "not sent",
            (false, true) => "synced",
            (false, false) => "stale",
        };
        Part { name, state }
    };
    Proxy {
        name: text("proxy"),
        kind: text("proxy_type"),
        version: text("istio_version"),
        parts: vec![
            part("clusters", "cluster"),
            part("listeners", "listener"),
            part("routes", "route"),
            part("endpoints", "endpoint"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_not_acknowledged_is_stale() {
        let proxy = read(&json!({
            "proxy": "a.n", "proxy_type": "sidecar", "istio_version": "1.31.0",
            "cluster_sent": "x", "cluster_acked": "x", "listener_sent": "y", "listener_acked": "",
        }));
        let states: Vec<&str> = proxy.parts.iter().map(|part| part.state).collect();
        assert_eq!(states, ["synced", "stale", "not sent", "not sent"]);
        assert!(!proxy.is_synced());
    }
}
