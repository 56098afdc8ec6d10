//! Istio's own installation, as the file that istioctl reads.

use serde_json::{Value, json};

use super::Origin;
use super::kind::{HTTP_NODE_PORT, HTTPS_NODE_PORT};
use super::mesh::{TRACE_SYSTEM, traces};
use super::service::amounts;
use crate::profile::Stack;
use crate::profile::stack::Mesh;

/// The ingress gateway's Deployment and Service.
pub const GATEWAY: &str = "istio-ingressgateway";

/// Where the two Istio images come from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IstioImages {
    /// Registry and path before `/pilot` and `/proxyv2`.
    pub hub: String,
    /// Tag.
    pub tag: String,
    /// Images made from packages have an Envoy without Istio's own filters.
    pub origin: Origin,
}

/// What an Envoy without Istio's filters counts of requests: Prometheus gives it the names that the filters would use. Proxies
/// tell a handful of figures unless asked for more.
const REQUESTS: &str = r"cluster\.(inbound|outbound)\|.*upstream_rq_([0-9]{3}|time)";

/// The IstioOperator for a kind cluster; `None` where the stack has no mesh.
pub fn render(stack: &Stack, images: &IstioImages) -> Option<Value> {
    let mesh = stack.mesh.as_ref()?;
    let mut mesh_config = json!({
        "accessLogFile": "/dev/stdout",
        "accessLogEncoding": "JSON",
        "extensionProviders": [trace_provider(stack)],
    });
    let mut pilot_env = json!({ "PILOT_ENABLE_STATUS": "false" });
    let mut values = json!({
        "global": {
            "hub": images.hub,
            "tag": images.tag,
            "imagePullPolicy": "IfNotPresent",
            "istioNamespace": stack.namespaces.mesh,
            "proxy": { "resources": amounts(&mesh.sidecar), "holdApplicationUntilProxyStarts": true },
            "proxy_init": { "resources": amounts(&mesh.sidecar) },
        },
        "pilot": { "autoscaleEnabled": false, "resources": amounts(&mesh.pilot) },
        "gateways": { GATEWAY: { "autoscaleEnabled": false } },
    });
    if images.origin == Origin::Packages {
        values["telemetry"] = json!({ "enabled": false });
        pilot_env["PILOT_ENABLE_ALPN_FILTER"] = json!("false");
        pilot_env["PILOT_ENABLE_METADATA_EXCHANGE"] = json!("false");
        mesh_config["defaultConfig"] = json!({ "proxyStatsMatcher": { "inclusionRegexps": [REQUESTS] } });
    }
    values["pilot"]["env"] = pilot_env;
    Some(json!({
        "apiVersion": "install.istio.io/v1alpha1",
        "kind": "IstioOperator",
        "metadata": { "name": "vadev", "namespace": stack.namespaces.mesh },
        "spec": {
            "profile": "minimal",
            "hub": images.hub,
            "tag": images.tag,
            "meshConfig": mesh_config,
            "components": { "ingressGateways": [ingress_gateway(mesh)] },
            "values": values,
        },
    }))
}

/// Where proxies send traces once a Telemetry names the provider. There whether or not the profile has the system, so that
/// going from one profile to another does not install Istio anew.
pub fn trace_provider(stack: &Stack) -> Value {
    let service = format!("{TRACE_SYSTEM}.{}.svc.cluster.local", stack.namespaces.infra);
    json!({ "name": traces(stack), "opentelemetry": { "service": service, "port": 4317 } })
}

fn ingress_gateway(mesh: &Mesh) -> Value {
    json!({
        "name": GATEWAY,
        "enabled": true,
        "k8s": {
            "resources": amounts(&mesh.gateway),
            "service": {
                "type": "NodePort",
                "ports": [
                    { "name": "status-port", "port": 15021, "targetPort": 15021 },
                    { "name": "http2", "port": 80, "targetPort": 8080, "nodePort": HTTP_NODE_PORT },
                    { "name": "https", "port": 443, "targetPort": 8443, "nodePort": HTTPS_NODE_PORT },
                ],
            },
        },
    })
}
