//! What only Envoy's own configuration can say: how often a route may be asked, and that a missing token is 401.
//!
//! Both are for the ingress gateway. A limit is counted by each gateway replica for itself: it needs no service that all of
//! them would have to ask first, and a fleet of N lets N times as much through.

use serde_json::{Value, json};

use super::Mesh;
use crate::catalog::service::RateLimit;

/// Where Envoy's filters are registered under these types.
const RATE_LIMIT: &str =
    "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
const CONNECTION_MANAGER: &str =
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const MANAGER_NAME: &str = "envoy.filters.network.http_connection_manager";
/// Beginning of the filter's name.
const RATE_LIMIT_NAME: &str = "envoy.filters.http.local_ratelimit";

impl Mesh<'_> {
    /// The two `EnvoyFilter`s of the gateway.
    pub(super) fn limits(&self) -> Vec<Value> {
        vec![
            self.envoy_filter("rate-limits", &self.rate_limits()),
            self.envoy_filter("unauthenticated", &[self.unauthenticated()]),
        ]
    }

    fn envoy_filter(&self, name: &str, patches: &[Value]) -> Value {
        let name = format!("{}-{name}", self.apps());
        let spec = json!({
            "workloadSelector": { "labels": self.policy.ingress.selector },
            "configPatches": patches,
        });
        // The kind has no other version in any Istio.
        let mut filter = Self::object(
            "networking.istio.io/v1alpha3",
            "EnvoyFilter",
            &self.stack.namespaces.mesh,
            &name,
            spec,
        );
        // istioctl analyze says of every EnvoyFilter that it is one. There is no other way to say these two things.
        filter["metadata"]["annotations"] = json!({ "galley.istio.io/analyze-suppress": "IST0133" });
        filter
    }

    /// The filter itself limits nothing; each route that it finds by name brings its own bucket. Health has none. The
    /// filter's name is the platform's own: of two with the same name both would take from a route's bucket.
    fn rate_limits(&self) -> Vec<Value> {
        let filter = format!("{RATE_LIMIT_NAME}.{}", self.apps());
        let mut patches = vec![json!({
            "applyTo": "HTTP_FILTER",
            "match": { "context": "GATEWAY", "listener": { "filterChain": { "filter": { "name": MANAGER_NAME } } } },
            "patch": {
                "operation": "INSERT_FIRST",
                "value": { "name": filter, "typed_config": { "@type": RATE_LIMIT, "stat_prefix": "rate_limit" } },
            },
        })];
        for (prefix, sized) in self.prefixes() {
            let own = sized.service.traffic.rate_limits.get(prefix);
            let limit = own.copied().unwrap_or(self.policy.rate_limit);
            patches.push(json!({
                "applyTo": "HTTP_ROUTE",
                "match": {
                    "context": "GATEWAY",
                    "routeConfiguration": { "vhost": { "route": { "name": self.name(sized, prefix) } } },
                },
                "patch": { "operation": "MERGE", "value": { "typed_per_filter_config": { &filter: bucket(limit) } } },
            }));
        }
        patches
    }

    /// Whether a request is to one of the platform's hosts, with or without a port; `None` where it answers for every host.
    fn under_hosts(&self) -> Option<Value> {
        let one = |host: &str| {
            let matched = match host.strip_prefix('*') {
                Some(domain) => json!({ "contains": domain }),
                None => json!({ "prefix": host }),
            };
            json!({ "header_filter": { "header": { "name": ":authority", "string_match": matched } } })
        };
        match self.hosts().as_slice() {
            hosts if hosts.contains(&"*") => None,
            [host] => Some(one(host)),
            hosts => Some(
                json!({ "or_filter": { "filters": hosts.iter().map(|host| one(host)).collect::<Vec<_>>() } }),
            ),
        }
    }

    /// Istio answers 403 to a request without a token, as to one with the wrong role. A client can mend the first by logging
    /// in, and HTTP has 401 for saying so. Under the platform's own hosts only.
    fn unauthenticated(&self) -> Value {
        let denied = json!({ "status_code_filter": { "comparison": {
            "op": "EQ", "value": { "default_value": 403, "runtime_key": "vadev.denied_status" },
        } } });
        let nobody = json!({ "header_filter": { "header": { "name": "authorization", "present_match": true, "invert_match": true } } });
        let mut filters = vec![denied, nobody];
        filters.extend(self.under_hosts());
        json!({
            "applyTo": "NETWORK_FILTER",
            "match": { "context": "GATEWAY", "listener": { "filterChain": { "filter": { "name": MANAGER_NAME } } } },
            "patch": {
                "operation": "MERGE",
                "value": { "name": MANAGER_NAME, "typed_config": {
                    "@type": CONNECTION_MANAGER,
                    "local_reply_config": { "mappers": [{
                        "filter": { "and_filter": { "filters": filters } },
                        "status_code": 401,
                        "headers_to_add": [{ "header": { "key": "www-authenticate", "value": "Bearer" } }],
                        "body": { "inline_string": "a token is needed\n" },
                    }] },
                } },
            },
        })
    }
}

fn bucket(limit: RateLimit) -> Value {
    let all = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    json!({
        "@type": RATE_LIMIT,
        "stat_prefix": "rate_limit",
        "token_bucket": {
            "max_tokens": limit.requests,
            "tokens_per_fill": limit.requests,
            "fill_interval": format!("{}s", limit.per_seconds),
        },
        "filter_enabled": all,
        "filter_enforced": all,
    })
}
