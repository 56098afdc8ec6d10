//! Calls on to the services that the real one would call, so that traces, graphs and rules of the mesh show the
//! platform's shape. Depth is counted down with each hop and capped: services that call each other cannot ring for ever.

use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use super::config::{Dependency, Kind};
use crate::agent::client;

/// The platform's longest chain of calls is five services long.
pub const DEEPEST: u32 = 5;
/// The whole fan-out below one service.
const PATIENCE: Duration = Duration::from_secs(5);

/// Headers that join the next hop to this request's trace (Istio's list), and the caller's identity.
const FORWARDED: [&str; 12] = [
    "x-request-id",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "traceparent",
    "tracestate",
    "baggage",
    "x-ot-span-context",
    "authorization",
];

/// One hop's result.
#[derive(Debug, Serialize)]
pub struct Call {
    /// The service called.
    pub name: String,
    /// Where.
    pub url: String,
    /// The service may be missing.
    pub optional: bool,
    /// Its status, when it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What failed, when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    pub millis: u64,
    /// What it answered, when that was JSON.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub answer: Value,
}

impl Call {
    /// Whether the caller's own answer has to be an error.
    pub fn failed(&self) -> bool {
        !self.optional && self.status.is_none_or(|status| status >= 500)
    }
}

/// The depth that a request asks for by `?depth=N`.
pub fn depth(query: Option<&str>) -> u32 {
    let pairs = query.unwrap_or_default().split('&');
    let depth = pairs.filter_map(|pair| pair.strip_prefix("depth=")).next_back();
    depth
        .and_then(|value| value.parse::<u32>().ok())
        .unwrap_or(0)
        .min(DEEPEST)
}

/// The headers that every hop passes on.
pub fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in FORWARDED.map(HeaderName::from_static) {
        for value in headers.get_all(&name) {
            passed.append(&name, value.clone());
        }
    }
    passed
}

/// Calls every service among `dependencies` side by side, each with the depth left.
pub async fn call(dependencies: &[Dependency], headers: &HeaderMap, depth: u32) -> Vec<Call> {
    let passed = forwarded(headers);
    let mut hops = JoinSet::new();
    for dependency in dependencies
        .iter()
        .filter(|dependency| dependency.kind == Kind::Http)
    {
        let (name, optional) = (dependency.name.clone(), dependency.optional);
        let url = target(dependency, depth.saturating_sub(1));
        let passed = passed.clone();
        hops.spawn(async move {
            let start = Instant::now();
            let outcome = tokio::time::timeout(PATIENCE, client::get(&url, passed)).await;
            let outcome =
                outcome.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
            let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            let (status, error, answer) = match outcome {
                // A body that is no JSON is not shown: its status says enough.
                Ok((status, body)) => (
                    Some(status.as_u16()),
                    None,
                    serde_json::from_slice(&body).unwrap_or_default(),
                ),
                Err(what) => (None, Some(what), Value::Null),
            };
            Call {
                name,
                url,
                optional,
                status,
                error,
                millis,
                answer,
            }
        });
    }
    let mut calls = hops.join_all().await;
    calls.sort_by(|a, b| a.name.cmp(&b.name));
    calls
}

/// The service's own address with the fan-out path in place of the health path.
fn target(dependency: &Dependency, depth: u32) -> String {
    let path = dependency.path.as_deref().unwrap_or("/api/v1/health");
    let origin = match (&dependency.url, &dependency.address) {
        (Some(url), _) => {
            let start = url.find("://").map_or(0, |place| place + 3);
            let end = url[start..].find('/').map_or(url.len(), |place| start + place);
            url[..end].to_owned()
        }
        (None, address) => format!("http://{}", address.as_deref().unwrap_or_default()),
    };
    format!("{origin}{path}?depth={depth}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_capped() {
        assert_eq!(depth(None), 0);
        assert_eq!(depth(Some("a=1&depth=3")), 3);
        assert_eq!(depth(Some("depth=4000000")), DEEPEST);
        assert_eq!(depth(Some("depth=-1")), 0);
    }

    #[test]
    fn passes_on_the_trace_and_nothing_else() {
        let mut headers = HeaderMap::new();
        for name in ["traceparent", "authorization", "cookie", "host"] {
            headers.insert(name, hyper::header::HeaderValue::from_static("v"));
        }
        let passed = forwarded(&headers);
        assert_eq!(passed.len(), 2);
        assert!(passed.contains_key("traceparent") && passed.contains_key("authorization"));
    }

    #[test]
    fn aims_at_the_service_not_its_health() {
        let text =
            r#"{"name": "s", "kind": "http", "url": "http://s.prod:8080/health", "path": "/api/v1/s"}"#;
        assert_eq!(
            target(&serde_json::from_str(text).unwrap(), 1),
            "http://s.prod:8080/api/v1/s?depth=1"
        );
        let text = r#"{"name": "s", "kind": "http", "address": "s:8080"}"#;
        assert_eq!(
            target(&serde_json::from_str(text).unwrap(), 0),
            "http://s:8080/api/v1/health?depth=0"
        );
    }
}
