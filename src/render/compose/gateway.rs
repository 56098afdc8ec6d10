//! The ingress gateway as an Envoy of its own, with the routes that the mesh's `VirtualService`s say.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{APPS, PREPARE, TOOLS, asks, common};
use crate::profile::Stack;
use crate::render::Object;

/// Port of the gateway in its container.
const PORT: u16 = 8080;
/// Envoy's own port, inside its container only.
const ADMIN: u16 = 15000;
/// What Istio retries where a route says nothing, as far as Envoy knows it by name.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled";

/// The routes of the gateway, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Routes {
    in_order: Vec<Value>,
    /// Cluster name → host and port.
    targets: BTreeMap<String, (String, u64)>,
    /// What a route says and this gateway does not do.
    pub missing: Vec<String>,
}

impl Routes {
    /// Those of every `VirtualService` that belongs to a gateway.
    pub fn of(stack: &Stack, objects: &[Object]) -> Self {
        let mut routes = Self::default();
        let at_gateway = |value: &&Value| {
            let gateways = value["spec"]["gateways"].as_array().into_iter().flatten();
            value["kind"] == "VirtualService" && gateways.clone().any(|gateway| gateway != "mesh")
        };
        for value in objects.iter().map(Object::value).filter(at_gateway) {
            for route in value["spec"]["http"].as_array().into_iter().flatten() {
                routes.add(stack, objects, route);
            }
        }
        routes.missing.sort();
        routes.missing.dedup();
        routes
    }

    /// Whether there is nothing to serve.
    pub fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    fn add(&mut self, stack: &Stack, objects: &[Object], route: &Value) {
        let Some(action) = self.action(stack, objects, route) else {
            return;
        };
        let everything = [json!({ "uri": { "prefix": "/" } })];
        let matches = route["match"].as_array().map_or(&everything[..], Vec::as_slice);
        for one in matches {
            let Some(matching) = self.matching(one) else {
                continue;
            };
            let mut envoy = json!({ "match": matching });
            for (key, value) in &action {
                envoy[key] = value.clone();
            }
            self.in_order.push(envoy);
        }
    }

    /// What is done with a request: `route` or `direct_response`.
    fn action(&mut self, stack: &Stack, objects: &[Object], route: &Value) -> Option<Map<String, Value>> {
        for (key, about) in [
            ("fault", "injected faults"),
            ("mirror", "mirrored requests"),
            ("corsPolicy", "CORS"),
            ("headers", "changed headers"),
            ("redirect", "redirects"),
            ("delegate", "delegated routes"),
        ] {
            if route.get(key).is_some() {
                self.missing.push(format!("{about} of routes at the gateway"));
            }
        }
        let mut action = Map::new();
        if let Some(response) = route.get("directResponse") {
            let body = response["body"]["string"].as_str().unwrap_or_default();
            let body = json!({ "status": response["status"], "body": { "inline_string": body } });
            action.insert("direct_response".to_owned(), body);
            return Some(action);
        }
        let destinations: Vec<&Value> = route["route"].as_array().into_iter().flatten().collect();
        let mut to = match destinations.as_slice() {
            [] => return None,
            [one] => json!({ "cluster": self.cluster(stack, objects, &one["destination"]) }),
            several => {
                let weighted: Vec<Value> = several
                    .iter()
                    .map(|one| json!({ "name": self.cluster(stack, objects, &one["destination"]), "weight": one["weight"].as_u64().unwrap_or(1) }))
                    .collect();
                json!({ "weighted_clusters": { "clusters": weighted } })
            }
        };
        // Istio knows no timeout unless a route says one; Envoy's own is 15 seconds.
        to["timeout"] = json!(route["timeout"].as_str().map_or("0s".to_owned(), seconds));
        to["retry_policy"] = retries(&route["retries"]);
        if let Some(uri) = route["rewrite"]["uri"].as_str() {
            to["prefix_rewrite"] = json!(uri);
        }
        action.insert("route".to_owned(), to);
        Some(action)
    }

    /// The name of Envoy's cluster for a destination, which is added where it is new.
    fn cluster(&mut self, stack: &Stack, objects: &[Object], destination: &Value) -> String {
        let host = destination["host"].as_str().unwrap_or_default();
        let name = host.split('.').next().unwrap_or_default().to_owned();
        let port = destination["port"]["number"].as_u64().unwrap_or(8080);
        let port = container_port(stack, objects, &name, port);
        self.targets.insert(name.clone(), (name.clone(), port));
        name
    }

    /// Envoy's match; `None` where a condition cannot be said, because a route that takes more than it should is worse than
    /// one that is missing.
    fn matching(&mut self, one: &Value) -> Option<Value> {
        let conditions = one.as_object()?;
        if let Some(unknown) = conditions.keys().find(|key| {
            !["uri", "method", "headers", "name", "ignoreUriCase", "port"].contains(&key.as_str())
        }) {
            self.missing
                .push(format!("routes at the gateway with the condition `{unknown}`"));
            return None;
        }
        let uri = &one["uri"];
        let mut matching = if let Some(path) = uri["exact"].as_str() {
            json!({ "path": path })
        } else if let Some(regex) = uri["regex"].as_str() {
            json!({ "safe_regex": { "regex": regex } })
        } else {
            json!({ "prefix": uri["prefix"].as_str().unwrap_or("/") })
        };
        let method = one.get("method").map(|value| (":method".to_owned(), value));
        let named = one["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value));
        let headers: Vec<Value> = method
            .into_iter()
            .chain(named)
            .map(|(name, value)| header(&name, value))
            .collect();
        if !headers.is_empty() {
            matching["headers"] = json!(headers);
        }
        Some(matching)
    }

    /// Envoy's configuration.
    pub fn envoy(&self) -> Value {
        let clusters: Vec<Value> = self
            .targets
            .iter()
            .map(|(name, (host, port))| upstream(name, host, *port))
            .collect();
        let manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "gateway",
            "use_remote_address": true,
            "generate_request_id": true,
            "access_log": [{
                "name": "envoy.access_loggers.stdout",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" },
            }],
            "route_config": {
                "name": "platform",
                "virtual_hosts": [{ "name": "platform", "domains": ["*"], "routes": self.in_order }],
            },
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
            }],
        });
        json!({
            "admin": { "address": address("127.0.0.1", ADMIN) },
            "static_resources": {
                "listeners": [{
                    "name": "http",
                    "address": address("0.0.0.0", PORT),
                    "filter_chains": [{ "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }],
                }],
                "clusters": clusters,
            },
        })
    }
}

/// The gateway as a service of the Compose file. `config`: Envoy's file, relative to it.
pub fn service(image: &str, config: &str) -> Value {
    let mut service = Map::new();
    common(&mut service);
    let own = json!({
        "image": image,
        "entrypoint": ["/usr/local/bin/envoy", "-c", "/etc/envoy/envoy.yaml", "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"],
        "command": [],
        "user": "1337:1337",
        "read_only": true,
        "volumes": [format!("{TOOLS}:/vadev:ro"), format!("./{config}:/etc/envoy/envoy.yaml:ro")],
        "ports": [format!("127.0.0.1:${{VADEV_HTTP_PORT:-8080}}:{PORT}")],
        "networks": { APPS: {} },
        // It looks for its services again and again: it need not wait for them.
        "depends_on": { PREPARE: { "condition": "service_completed_successfully" } },
        "healthcheck": {
            "test": asks(&format!("http://127.0.0.1:{ADMIN}/ready")),
            "interval": "5s", "timeout": "5s", "retries": 3, "start_period": "30s",
        },
        "mem_limit": "256m",
        "stop_grace_period": "10s",
    });
    service.extend(own.as_object().cloned().unwrap_or_default());
    Value::Object(service)
}

fn upstream(name: &str, host: &str, port: u64) -> Value {
    json!({
        "name": name,
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        // A container that is made again has another address.
        "dns_refresh_rate": "1s",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": { "socket_address": { "address": host, "port_value": port } } } }] }],
        },
    })
}

fn address(host: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": host, "port_value": port } })
}

fn header(name: &str, value: &Value) -> Value {
    let matcher = if let Some(text) = value["exact"].as_str() {
        json!({ "exact": text })
    } else if let Some(text) = value["prefix"].as_str() {
        json!({ "prefix": text })
    } else if let Some(text) = value["regex"].as_str() {
        json!({ "safe_regex": { "regex": text } })
    } else {
        return json!({ "name": name, "present_match": true });
    };
    json!({ "name": name, "string_match": matcher })
}

fn retries(said: &Value) -> Value {
    let mut policy = json!({
        "retry_on": said["retryOn"].as_str().map_or(RETRY_ON.to_owned(), known_conditions),
        "num_retries": said["attempts"].as_u64().unwrap_or(2),
    });
    if let Some(time) = said["perTryTimeout"].as_str() {
        policy["per_try_timeout"] = json!(seconds(time));
    }
    if policy["retry_on"]
        .as_str()
        .is_some_and(|conditions| conditions.contains("retriable-status-codes"))
    {
        policy["retriable_status_codes"] = json!(status_codes(said["retryOn"].as_str().unwrap_or_default()));
    }
    policy
}

/// Istio also takes status codes among the conditions; Envoy has a list of its own for them.
fn known_conditions(said: &str) -> String {
    let mut words: Vec<&str> = said
        .split(',')
        .map(str::trim)
        .filter(|word| word.parse::<u16>().is_err())
        .collect();
    if !status_codes(said).is_empty() && !words.contains(&"retriable-status-codes") {
        words.push("retriable-status-codes");
    }
    words.join(",")
}

fn status_codes(said: &str) -> Vec<u16> {
    said.split(',')
        .filter_map(|word| word.trim().parse().ok())
        .collect()
}

/// Envoy writes durations in seconds only: `1m30s` → `90s`, `250ms` → `0.25s`. A text that is no duration is kept, and Envoy
/// says so when it starts.
fn seconds(text: &str) -> String {
    let mut rest = text;
    let mut millis = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, left) = after.split_at(unit_end);
        let factor = match unit {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1000.0,
            "ms" => 1.0,
            _ => return text.to_owned(),
        };
        let Ok(number) = number.parse::<f64>() else {
            return text.to_owned();
        };
        millis += number * factor;
        rest = left;
    }
    format!("{}s", millis / 1000.0)
}

/// The port that a service's container listens on behind its port `port`.
fn container_port(stack: &Stack, objects: &[Object], name: &str, port: u64) -> u64 {
    let own = stack.services.iter().find(|sized| sized.service.name == name);
    if let Some(sized) = own {
        return u64::from(sized.service.port);
    }
    let service = objects
        .iter()
        .map(Object::value)
        .find(|value| value["kind"] == "Service" && value["metadata"]["name"] == name);
    let ports = service
        .and_then(|value| value["spec"]["ports"].as_array())
        .into_iter()
        .flatten();
    let target = ports
        .filter(|one| one["port"] == port)
        .find_map(|one| one["targetPort"].as_u64());
    target.unwrap_or(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_seconds() {
        for (said, meant) in [
            ("10s", "10s"),
            ("1m30s", "90s"),
            ("250ms", "0.25s"),
            ("0.5s", "0.5s"),
            ("soon", "soon"),
        ] {
            assert_eq!(seconds(said), meant);
        }
    }

    #[test]
    fn status_codes_are_told_apart_from_conditions() {
        let policy =
            retries(&json!({ "attempts": 1, "retryOn": "connect-failure,503", "perTryTimeout": "2s" }));
        assert_eq!(policy["retry_on"], "connect-failure,retriable-status-codes");
        assert_eq!(policy["retriable_status_codes"], json!([503]));
        assert_eq!(
            (&policy["num_retries"], &policy["per_try_timeout"]),
            (&json!(1), &json!("2s"))
        );
    }

    #[test]
    fn a_condition_that_cannot_be_said_takes_its_route_away_and_is_listed() {
        let mut routes = Routes::default();
        assert!(
            routes
                .matching(&json!({ "uri": { "prefix": "/a" }, "queryParams": {} }))
                .is_none()
        );
        assert_eq!(
            routes.missing,
            ["routes at the gateway with the condition `queryParams`"]
        );
        let exact = routes.matching(&json!({ "uri": { "exact": "/a" }, "method": { "exact": "GET" } }));
        assert_eq!(
            exact,
            Some(
                json!({ "path": "/a", "headers": [{ "name": ":method", "string_match": { "exact": "GET" } }] })
            )
        );
    }
}
