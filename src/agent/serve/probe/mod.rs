//! Asks a dependency whether it works, in its own protocol.

mod grpc;
mod kafka;
mod postgres;
mod redis;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::config::{Dependency, Kind};
use crate::agent::client;

/// Nacos moved its readiness path with each major version; the newest is tried first.
const NACOS_PATHS: [&str; 3] = [
    "/nacos/v3/admin/core/state/readiness",
    "/nacos/v2/console/health/readiness",
    "/nacos/v1/console/health/readiness",
];

/// Asks once. `Ok` is a short phrase for people (a version, a state), `Err` says what failed. The caller sets the
/// time-out.
pub async fn check(dependency: &Dependency) -> Result<String, String> {
    match dependency.kind {
        Kind::Http => healthy(&url(dependency, "/health")?).await,
        Kind::Postgres => {
            let (host, port) = host_and_port(dependency)?;
            postgres::check(client::connect(&host, port).await?, dependency).await
        }
        Kind::Redis => {
            let (host, port) = host_and_port(dependency)?;
            redis::check(client::connect(&host, port).await?, dependency).await
        }
        Kind::Kafka => {
            let (host, port) = host_and_port(dependency)?;
            kafka::check(client::connect(&host, port).await?).await
        }
        Kind::Nacos => nacos(dependency).await,
        Kind::Milvus => {
            let (host, port) = host_and_port(dependency)?;
            let health = match &dependency.url {
                Some(url) => url.clone(),
                None => format!("http://{host}:9091/healthz"),
            };
            let healthy = healthy(&health).await?;
            // That is another port than the one that is used.
            let stream = client::connect(&host, port).await?;
            grpc::check(stream, &format!("{host}:{port}")).await?;
            Ok(healthy)
        }
        Kind::Clickhouse => healthy(&url(dependency, "/ping")?).await,
        Kind::Minio => healthy(&url(dependency, "/minio/health/live")?).await,
        Kind::Elasticsearch => elasticsearch(dependency).await,
    }
}

async fn healthy(url: &str) -> Result<String, String> {
    let (status, _) = client::get(url, HeaderMap::new()).await?;
    good(status).map_err(|e| format!("{url} {e}"))
}

fn good(status: StatusCode) -> Result<String, String> {
    if status.is_success() {
        Ok(format!("answered {status}"))
    } else {
        Err(format!("answered {status}"))
    }
}

async fn nacos(dependency: &Dependency) -> Result<String, String> {
    if dependency.url.is_some() {
        return healthy(&url(dependency, "")?).await;
    }
    let mut last = String::new();
    for path in NACOS_PATHS {
        match healthy(&url(dependency, path)?).await {
            Ok(phrase) => return Ok(phrase),
            Err(what) => last = what,
        }
    }
    Err(last)
}

async fn elasticsearch(dependency: &Dependency) -> Result<String, String> {
    let mut headers = HeaderMap::new();
    if let Some(secret) = &dependency.secret {
        let user = dependency.user.as_deref().unwrap_or("elastic");
        let token = crate::agent::base64::encode(format!("{user}:{}", secret.reveal()).as_bytes());
        let mut value = HeaderValue::from_str(&format!("Basic {token}")).map_err(|e| e.to_string())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let (status, body) = client::get(&url(dependency, "/_cluster/health")?, headers).await?;
    good(status)?;
    cluster_state(&body)
}

/// `green` and `yellow` (replicas missing, as on every single node) work; `red` has lost data.
fn cluster_state(body: &Bytes) -> Result<String, String> {
    let health: serde_json::Value =
        serde_json::from_slice(body).map_err(|e| format!("strange answer: {e}"))?;
    match health.get("status").and_then(serde_json::Value::as_str) {
        Some("red") => Err("cluster is red".into()),
        Some(state) => Ok(format!("cluster is {state}")),
        None => Err("strange answer: no status".into()),
    }
}

/// The configured URL, or the usual path at the configured address.
fn url(dependency: &Dependency, path: &str) -> Result<String, String> {
    if let Some(url) = &dependency.url {
        return Ok(url.clone());
    }
    let (host, port) = host_and_port(dependency)?;
    Ok(format!("http://{host}:{port}{path}"))
}

fn host_and_port(dependency: &Dependency) -> Result<(String, u16), String> {
    let address = dependency.address.as_deref().ok_or("no address configured")?;
    match address.rsplit_once(':') {
        None => Ok((address.to_owned(), dependency.kind.port())),
        Some((host, port)) => {
            let port = port.parse().map_err(|_| format!("bad address {address:?}"))?;
            Ok((host.to_owned(), port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let at = |address: &str| {
            let text = format!(r#"{{"name": "r", "kind": "redis", "address": "{address}"}}"#);
            host_and_port(&serde_json::from_str(&text).unwrap())
        };
        assert_eq!(at("redis.infra").unwrap(), ("redis.infra".into(), 6379));
        assert_eq!(at("redis.infra:7000").unwrap(), ("redis.infra".into(), 7000));
        assert!(at("redis:port").is_err());
    }

    #[test]
    fn a_red_cluster_is_down() {
        assert!(cluster_state(&Bytes::from_static(br#"{"status":"yellow"}"#)).is_ok());
        assert!(cluster_state(&Bytes::from_static(br#"{"status":"red"}"#)).is_err());
        assert!(cluster_state(&Bytes::from_static(b"<html>")).is_err());
    }
}
