//! The mesh's own objects for the platform: STRICT mTLS, the gateway, routes of each service's prefixes.

use serde_json::{Value, json};

use super::Object;
use crate::profile::Stack;
use crate::profile::stack::SizedService;

/// The versions that the Istio installed here serves and stores: what is observed comes back under them.
const NETWORKING: &str = "networking.istio.io/v1";
/// See [`NETWORKING`].
const SECURITY: &str = "security.istio.io/v1";

/// Name of the Gateway and of the `VirtualService` of all prefixes.
pub const GATEWAY: &str = "voiceassistant-gateway";

/// Name of the TLS Secret that the gateway serves.
pub const TLS_SECRET: &str = "voiceassistant-tls-cert";

/// `PeerAuthentication`, Gateway, `VirtualService` and a `DestinationRule` for each service.
pub fn render(stack: &Stack) -> Vec<Object> {
    let mut objects = vec![strict_mtls(stack), gateway(stack)];
    let routes = routes(stack);
    if !routes.is_empty() {
        objects.push(json!({
            "apiVersion": NETWORKING,
            "kind": "VirtualService",
            "metadata": { "name": "voiceassistant-routes", "namespace": stack.namespaces.apps },
            "spec": { "hosts": ["*"], "gateways": [GATEWAY], "http": routes },
        }));
    }
    objects.extend(stack.services.iter().map(|sized| destination_rule(stack, sized)));
    objects
        .into_iter()
        .map(|value| Object::new("mesh", value))
        .collect()
}

fn strict_mtls(stack: &Stack) -> Value {
    json!({
        "apiVersion": SECURITY,
        "kind": "PeerAuthentication",
        "metadata": { "name": "default", "namespace": stack.namespaces.apps },
        "spec": { "mtls": { "mode": "STRICT" } },
    })
}

fn gateway(stack: &Stack) -> Value {
    json!({
        "apiVersion": NETWORKING,
        "kind": "Gateway",
        "metadata": { "name": GATEWAY, "namespace": stack.namespaces.apps },
        "spec": {
            "selector": { "istio": "ingressgateway" },
            "servers": [
                { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] },
                {
                    "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
                    "hosts": ["*"],
                    "tls": { "mode": "SIMPLE", "credentialName": TLS_SECRET },
                },
            ],
        },
    })
}

fn destination_rule(stack: &Stack, sized: &SizedService) -> Value {
    let name = &sized.service.name;
    json!({
        "apiVersion": NETWORKING,
        "kind": "DestinationRule",
        "metadata": { "name": name, "namespace": stack.namespaces.apps, "labels": { "app": name } },
        "spec": { "host": host(stack, name), "trafficPolicy": { "tls": { "mode": "ISTIO_MUTUAL" } } },
    })
}

/// `<prefix>/health` is each service's own health; `/health` and `/api/v1/health` are the platform's entry, answered by
/// the first service of the start order that everything else depends on.
fn routes(stack: &Stack) -> Vec<Value> {
    let mut routes = Vec::new();
    for sized in &stack.services {
        for prefix in &sized.service.prefixes {
            let mut own_health = route(
                stack,
                sized,
                &json!({ "uri": { "exact": format!("{prefix}/health") } }),
            );
            own_health["rewrite"] = json!({ "uri": "/health" });
            routes.push(own_health);
        }
    }
    if let Some(entry) = entry(stack) {
        for path in ["/health", "/api/v1/health"] {
            routes.push(route(stack, entry, &json!({ "uri": { "exact": path } })));
        }
    }
    // Longer prefixes first: the first match wins.
    let mut prefixes: Vec<(&String, &SizedService)> = stack
        .services
        .iter()
        .flat_map(|sized| sized.service.prefixes.iter().map(move |prefix| (prefix, sized)))
        .collect();
    prefixes.sort_by_key(|(prefix, _)| (std::cmp::Reverse(prefix.len()), prefix.as_str()));
    for (prefix, sized) in prefixes {
        let exact = json!({ "uri": { "exact": prefix } });
        let below = json!({ "uri": { "prefix": format!("{prefix}/") } });
        let mut both = route(stack, sized, &exact);
        both["match"] = json!([exact, below]);
        routes.push(both);
    }
    routes
}

/// The service that answers for the platform: the conversation service is the users' way in; a stack without it has
/// the first of its own.
fn entry(stack: &Stack) -> Option<&SizedService> {
    let named = stack
        .services
        .iter()
        .find(|sized| sized.service.name == "conversation-service");
    named.or_else(|| stack.services.first())
}

fn route(stack: &Stack, sized: &SizedService, matching: &Value) -> Value {
    json!({
        "match": [matching],
        "route": [{ "destination": { "host": host(stack, &sized.service.name), "port": { "number": 8080 } } }],
    })
}

fn host(stack: &Stack, service: &str) -> String {
    format!("{service}.{}.svc.cluster.local", stack.namespaces.apps)
}
