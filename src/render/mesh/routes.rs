//! The gateway, the routes from it, and the timeouts and retries of calls inside the mesh.

use serde_json::{Value, json};

use super::{GATEWAY, Mesh, own_health, tls_secret};
use crate::profile::Stack;
use crate::profile::stack::SizedService;

/// The users' way in. It answers the platform's public paths itself.
const WAY_IN: &str = "conversation-service";

/// The service that answers for the platform: the users' way in; a stack without it has the first of its own.
pub fn entry(stack: &Stack) -> Option<&SizedService> {
    let named = stack.services.iter().find(|sized| sized.service.name == WAY_IN);
    named.or_else(|| stack.services.first())
}

impl Mesh<'_> {
    /// Gateway, the `VirtualService` behind it, and one inside the mesh for each service.
    pub(super) fn gateway_and_routes(&self) -> Vec<Value> {
        let mut objects = vec![self.gateway()];
        let routes = self.routes();
        if !routes.is_empty() {
            let spec = json!({ "hosts": self.hosts(), "gateways": [GATEWAY], "http": routes });
            objects.push(self.networking("VirtualService", "voiceassistant-routes", spec));
        }
        let inside = self.stack.services.iter().map(|sized| self.inside(sized));
        objects.extend(inside);
        objects
    }

    pub(super) fn networking(&self, kind: &str, name: &str, spec: Value) -> Value {
        Self::object(self.setting.api.networking(), kind, self.apps(), name, spec)
    }

    fn gateway(&self) -> Value {
        let spec = json!({
            "selector": self.policy.ingress.selector,
            "servers": [
                { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": self.hosts() },
                {
                    "port": { "number": 443, "name": "https", "protocol": "HTTPS" },
                    "hosts": self.hosts(),
                    "tls": { "mode": "SIMPLE", "credentialName": tls_secret(self.stack) },
                },
            ],
        });
        self.networking("Gateway", GATEWAY, spec)
    }

    /// `<prefix>/health` is each service's own health, wherever it has that; the public paths are the platform's, answered
    /// by its entry; then every prefix.
    fn routes(&self) -> Vec<Value> {
        let mut routes = Vec::new();
        for sized in &self.stack.services {
            for prefix in &sized.service.prefixes {
                let health = own_health(prefix);
                let mut route = self.route(
                    sized,
                    &self.name(sized, &health),
                    &[json!({ "uri": { "exact": health } })],
                );
                route["rewrite"] = json!({ "uri": sized.service.probes.liveness });
                routes.push(route);
            }
        }
        if let Some(entry) = entry(self.stack) {
            for path in &self.policy.public_paths {
                let name = self.name(entry, path);
                let mut route = self.route(entry, &name, &[json!({ "uri": { "exact": path } })]);
                // Another service knows nothing of the platform's health: its own stands for it.
                if entry.service.name != WAY_IN && path.ends_with("/health") {
                    route["rewrite"] = json!({ "uri": entry.service.probes.liveness });
                }
                routes.push(route);
            }
        }
        for (prefix, sized) in self.prefixes() {
            let exact = json!({ "uri": { "exact": prefix } });
            let below = json!({ "uri": { "prefix": format!("{prefix}/") } });
            routes.push(self.route(sized, &self.name(sized, prefix), &[exact, below]));
        }
        routes
    }

    /// The name by which limits find a route; unique in a cluster.
    pub(super) fn name(&self, sized: &SizedService, path: &str) -> String {
        format!("{}/{}{path}", self.apps(), sized.service.name)
    }

    fn route(&self, sized: &SizedService, name: &str, matching: &[Value]) -> Value {
        let mut route = self.to(sized);
        route["name"] = json!(name);
        route["match"] = json!(matching);
        route
    }

    /// Timeout and retries hold for everybody in the mesh who calls the service, not only for the gateway.
    fn inside(&self, sized: &SizedService) -> Value {
        let name = &sized.service.name;
        let spec = json!({ "hosts": [self.host(name)], "gateways": ["mesh"], "http": [self.to(sized)] });
        let mut object = self.networking("VirtualService", name, spec);
        object["metadata"]["labels"] = json!({ "app": name });
        object
    }

    /// A second attempt counts against the same timeout. There is no timeout for one attempt alone: where the first one
    /// takes too long, the second would too, and be given less.
    fn to(&self, sized: &SizedService) -> Value {
        let traffic = &sized.service.traffic;
        let timeout = traffic.timeout_seconds.unwrap_or(self.policy.timeout_seconds);
        let attempts = traffic.retries.unwrap_or(self.policy.retries.attempts);
        let mut retries = json!({ "attempts": attempts });
        if attempts > 0 {
            retries["retryOn"] = json!(self.policy.retries.on);
        }
        json!({
            "route": [{ "destination": { "host": self.host(&sized.service.name), "port": { "number": 8080 } } }],
            "timeout": format!("{timeout}s"),
            "retries": retries,
        })
    }
}
