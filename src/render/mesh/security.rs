//! Who may call whom, and with which token.
//!
//! Refused twice: the gateway refuses a request without the token its path needs, and so does the service itself, which
//! believes nobody but the gateway and the services that the catalog lets call it. Whatever no rule allows is denied.
//! Probes and Prometheus need no rule: the kubelet and Prometheus ask the sidecar's agent (ports 15020 and 15021, which
//! serve health and merged metrics and nothing else), and that asks the service from inside the pod.

use serde_json::{Value, json};

use super::{Mesh, TokenKeys, entry, own_health};
use crate::catalog::prefixes::is_below;
use crate::profile::stack::SizedService;

/// Ports of the gateway's http and https listeners, as its Service and its pods number them. Rules about HTTP that name no
/// port would deny whatever comes in at a port that is not HTTP.
const PORTS: [&str; 4] = ["80", "443", "8080", "8443"];

impl Mesh<'_> {
    /// STRICT mutual TLS, token checks, and authorization.
    pub(super) fn security(&self) -> Vec<Value> {
        let mut objects = vec![
            self.policy_object(
                "PeerAuthentication",
                "default",
                json!({ "mtls": { "mode": "STRICT" } }),
            ),
            // A policy without rules allows nothing: what follows are the exceptions.
            self.policy_object("AuthorizationPolicy", "default-deny", json!({})),
        ];
        objects.extend(self.token_checks());
        objects.extend(self.at_gateway());
        objects.extend(self.stack.services.iter().map(|sized| self.at_service(sized)));
        objects
    }

    fn policy_object(&self, kind: &str, name: &str, spec: Value) -> Value {
        Self::object(self.setting.api.security(), kind, self.apps(), name, spec)
    }

    /// As [`Self::policy_object`], for the gateway's pods, which live in the mesh's namespace. The name says whose it is,
    /// because others may use the same gateway.
    fn gateway_object(&self, kind: &str, name: &str, mut spec: Value) -> Value {
        spec["selector"] = json!({ "matchLabels": self.policy.ingress.selector });
        let name = format!("{}-{name}", self.apps());
        Self::object(
            self.setting.api.security(),
            kind,
            &self.stack.namespaces.mesh,
            &name,
            spec,
        )
    }

    /// A token that is there must be a good one, wherever it turns up.
    fn token_checks(&self) -> Vec<Value> {
        let Some(trust) = &self.setting.tokens else {
            return Vec::new();
        };
        let mut rule =
            json!({ "issuer": trust.issuer, "audiences": [trust.audience], "forwardOriginalToken": true });
        match &trust.keys {
            TokenKeys::Inline(set) => rule["jwks"] = json!(set),
            TokenKeys::Uri(uri) => rule["jwksUri"] = json!(uri),
        }
        let spec = json!({ "jwtRules": [rule] });
        vec![
            self.policy_object("RequestAuthentication", "tokens", spec.clone()),
            self.gateway_object("RequestAuthentication", "tokens", spec),
        ]
    }

    /// The gateway denies what lacks its token, on the platform's paths and under its host only: others behind the same
    /// gateway are none of its business.
    fn at_gateway(&self) -> Option<Value> {
        let (mut guarded, mut open, mut by_role) = (Vec::new(), Vec::new(), Vec::new());
        // A prefix with others below it, which have rules of their own, is an operation by itself.
        let mut operations = Vec::new();
        for (prefix, sized) in self.prefixes() {
            open.push(own_health(prefix));
            let access = &sized.service.access;
            if access.public.iter().any(|public| public == prefix) {
                continue;
            }
            let inner = self.inner(prefix);
            let none = inner.is_empty();
            let alone = json!({ "operation": self.operation(&Self::below(prefix), &[vec![own_health(prefix)], inner].concat()) });
            if let Some(wanted) = access.roles.get(prefix).filter(|wanted| !wanted.is_empty()) {
                by_role.push(json!({
                    "to": [&alone],
                    "when": [{ "key": self.roles_key(), "notValues": wanted }],
                }));
            }
            if none {
                guarded.extend(Self::below(prefix));
            } else {
                operations.push(alone);
            }
        }
        if !guarded.is_empty() {
            operations.insert(0, json!({ "operation": self.operation(&guarded, &open) }));
        }
        if operations.is_empty() {
            return None;
        }
        let mut rules = vec![json!({
            "from": [{ "source": { "notRequestPrincipals": ["*"] } }],
            "to": operations,
        })];
        rules.extend(by_role);
        let spec = json!({ "action": "DENY", "rules": rules });
        Some(self.gateway_object("AuthorizationPolicy", "tokens", spec))
    }

    /// What a rule at the gateway is about. A request names its host with or without the port. All hosts under a domain can't
    /// be named with their ports: with such a one among them the rule holds for every host, and denies too much rather than
    /// too little.
    fn operation(&self, paths: &[String], not_paths: &[String]) -> Value {
        let mut operation = json!({ "ports": PORTS, "paths": paths, "notPaths": not_paths });
        let hosts = self.hosts();
        if !hosts.iter().any(|host| host.starts_with('*')) {
            let hosts = hosts
                .iter()
                .flat_map(|host| [(*host).to_owned(), format!("{host}:*")]);
            operation["hosts"] = hosts.collect();
        }
        operation
    }

    fn roles_key(&self) -> String {
        format!("request.auth.claims[{}]", self.policy.tokens.roles_claim)
    }

    /// The services that call it, and the gateway on its public paths, and with a token on the others.
    fn at_service(&self, sized: &SizedService) -> Value {
        let service = &sized.service;
        let mut rules: Vec<Value> = Vec::new();
        let callers: Vec<String> = self.callers(&service.name);
        if !callers.is_empty() {
            rules.push(json!({ "from": [{ "source": { "principals": callers } }] }));
        }
        let gateway = Self::principal(&self.stack.namespaces.mesh, &self.policy.ingress.service_account);
        // The gateway rewrites `<prefix>/health` to this.
        let mut public = vec![service.probes.liveness.clone()];
        if entry(self.stack).is_some_and(|entry| entry.service.name == service.name) {
            let platform = self.policy.public_paths.iter().filter(|path| **path != public[0]);
            let platform: Vec<String> = platform.cloned().collect();
            public.extend(platform);
        }
        let to = self.regions(public, &service.access.public);
        rules.push(json!({ "from": [{ "source": { "principals": [gateway] } }], "to": to }));
        if self.setting.tokens.is_some() {
            rules.extend(self.with_token(sized, &gateway));
        }
        let spec = json!({ "selector": { "matchLabels": { "app": service.name } }, "action": "ALLOW", "rules": rules });
        let mut object = self.policy_object("AuthorizationPolicy", &service.name, spec);
        object["metadata"]["labels"] = json!({ "app": service.name });
        object
    }

    fn with_token(&self, sized: &SizedService, gateway: &str) -> Vec<Value> {
        let access = &sized.service.access;
        let from = json!([{ "source": { "principals": [gateway], "requestPrincipals": ["*"] } }]);
        let needed = |prefix: &str| access.roles.get(prefix).filter(|roles| !roles.is_empty());
        let guarded: Vec<&String> = sized
            .service
            .prefixes
            .iter()
            .filter(|prefix| !access.public.contains(prefix))
            .collect();
        let any = guarded.iter().filter(|prefix| needed(prefix).is_none());
        let any = self.regions(Vec::new(), any.copied());
        let mut rules = Vec::new();
        if !any.is_empty() {
            rules.push(json!({ "from": from, "to": any }));
        }
        for prefix in guarded {
            if let Some(wanted) = needed(prefix) {
                rules.push(json!({
                    "from": from,
                    "to": self.regions(Vec::new(), [prefix]),
                    "when": [{ "key": self.roles_key(), "values": wanted }],
                }));
            }
        }
        rules
    }

    /// Everything below the prefixes within this one, which is theirs: the longest prefix wins, in rules as in routes.
    fn inner(&self, prefix: &str) -> Vec<String> {
        let inner = self.prefixes().into_iter().map(|(other, _)| other);
        inner
            .filter(|other| is_below(other, prefix))
            .flat_map(Self::below)
            .collect()
    }

    /// What a service is asked: at these paths and under those prefixes that have no others below them in one operation, then
    /// under each of the rest.
    fn regions<'p>(
        &self,
        mut plain: Vec<String>,
        prefixes: impl IntoIterator<Item = &'p String>,
    ) -> Vec<Value> {
        let mut operations = Vec::new();
        for prefix in prefixes {
            let inner = self.inner(prefix);
            if inner.is_empty() {
                plain.extend(Self::below(prefix));
            } else {
                operations.push(json!({ "operation": { "paths": Self::below(prefix), "notPaths": inner } }));
            }
        }
        if !plain.is_empty() {
            operations.insert(0, json!({ "operation": { "paths": plain } }));
        }
        operations
    }

    /// Principals of the services that call this one: the platform's call graph.
    fn callers(&self, callee: &str) -> Vec<String> {
        let services = self.stack.services.iter();
        let mut callers: Vec<&str> = services
            .filter(|sized| sized.service.calls.iter().any(|call| call == callee))
            .map(|sized| sized.service.name.as_str())
            .collect();
        callers.sort_unstable();
        callers
            .into_iter()
            .map(|caller| Self::principal(self.apps(), caller))
            .collect()
    }
}
