//! What a sidecar has been told, asked of it itself.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::k8s::{ExecTarget, exec};
use crate::operate::error::OperateError;
use crate::operate::logs::SIDECAR;
use crate::operate::site::Site;

/// A part of a proxy's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Whom it can call.
    Clusters,
    /// Where it listens.
    Listeners,
    /// Which requests go where.
    Routes,
    /// The addresses behind its clusters.
    Endpoints,
    /// Its certificates.
    Secrets,
    /// Everything, as Envoy tells it.
    Dump,
}

/// One entry of a part, in the words that matter most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What kind it is, or where it is.
    pub kind: String,
    /// What it leads to, or its state.
    pub detail: String,
}

/// Envoy's own dump of the sidecar of a service, keys only instead of secrets (Envoy takes those out itself).
pub async fn dump(site: &Site, name: &str) -> Result<Value, Failure> {
    let workload = site.workload(name).await?;
    let pod = site.running_pod(&workload).await?;
    let spec = pod.spec.as_ref();
    let containers = spec.iter().flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    });
    // A gateway is a proxy and nothing else.
    if !containers.map(|one| one.name.as_str()).any(|one| one == SIDECAR) {
        let hint = "only services in the mesh have one: vadev proxy-status lists them";
        return Err(OperateError::unfit(name, "its pod has no sidecar", hint).into());
    }
    let target = ExecTarget {
        container: Some(SIDECAR),
        ..workload.target(&pod)
    };
    let ask = ["pilot-agent", "request", "GET", "config_dump?include_eds"];
    let answer = exec(&site.cluster, &target, &ask, None, Duration::from_secs(30)).await?;
    let dump = serde_json::from_slice(&answer.stdout);
    Ok(dump.map_err(|error| OperateError::unreadable(format!("the proxy of {name}"), error))?)
}

/// A part of a dump as entries, sorted by name.
pub fn entries(dump: &Value, part: Part) -> Vec<Entry> {
    type Reading<'a> = (&'a str, &'a [&'a str], fn(&Value) -> Vec<Entry>);
    let (kind, lists, read): Reading<'_> = match part {
        Part::Clusters => (
            "Clusters",
            &[
                "static_clusters",
                "dynamic_active_clusters",
                "dynamic_warming_clusters",
            ],
            cluster,
        ),
        Part::Listeners => ("Listeners", &["static_listeners", "dynamic_listeners"], listener),
        Part::Routes => (
            "Routes",
            &["static_route_configs", "dynamic_route_configs"],
            route,
        ),
        Part::Endpoints => (
            "Endpoints",
            &["static_endpoint_configs", "dynamic_endpoint_configs"],
            endpoint,
        ),
        Part::Secrets => (
            "Secrets",
            &[
                "static_secrets",
                "dynamic_active_secrets",
                "dynamic_warming_secrets",
            ],
            secret,
        ),
        Part::Dump => return Vec::new(),
    };
    let wanted = format!(".{kind}ConfigDump");
    let configs = dump["configs"].as_array().into_iter().flatten();
    let configs = configs.filter(|config| {
        config["@type"]
            .as_str()
            .is_some_and(|kind| kind.ends_with(&wanted))
    });
    let mut found: Vec<Entry> = configs
        .flat_map(|config| {
            lists.iter().flat_map(|list| {
                let entries = config[*list].as_array().into_iter().flatten();
                let warming = list.contains("warming");
                entries.flat_map(move |entry| warm(read(entry), warming))
            })
        })
        .collect();
    found.sort_by(|a, b| (&a.name, &a.detail).cmp(&(&b.name, &b.detail)));
    found
}

/// What Envoy was told and does not use yet says so: most often it waits for endpoints or a certificate that do not come.
fn warm(mut entries: Vec<Entry>, warming: bool) -> Vec<Entry> {
    for entry in entries.iter_mut().filter(|_| warming) {
        entry.detail += WARMING;
    }
    entries
}

/// How that is told.
const WARMING: &str = ", warming: not used yet";

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn address(socket: &Value) -> String {
    format!(
        "{}:{}",
        text(socket, "/socket_address/address"),
        socket["socket_address"]["port_value"]
    )
}

fn cluster(value: &Value) -> Vec<Entry> {
    let cluster = &value["cluster"];
    let tls = cluster.get("transport_socket").is_some()
        || cluster["transport_socket_matches"]
            .as_array()
            .is_some_and(|matches| matches.iter().any(|one| one["name"] == "tlsMode-istio"));
    let kind = cluster["type"].as_str().unwrap_or("EDS");
    vec![Entry {
        name: text(cluster, "/name").to_owned(),
        kind: kind.to_owned(),
        detail: if tls { "mutual TLS" } else { "plaintext" }.to_owned(),
    }]
}

fn listener(value: &Value) -> Vec<Entry> {
    let active = value.pointer("/active_state/listener").or(value.get("listener"));
    let waiting = value.pointer("/warming_state/listener");
    let inner = active.or(waiting).unwrap_or(value);
    let rejected = text(value, "/error_state/details");
    let chains = inner["filter_chains"].as_array().map_or(0, Vec::len);
    vec![Entry {
        name: inner["name"]
            .as_str()
            .or(value["name"].as_str())
            .unwrap_or_default()
            .to_owned(),
        kind: address(&inner["address"]),
        detail: if rejected.is_empty() {
            let warming = if waiting.is_some() { WARMING } else { "" };
            format!("{chains} filter chains{warming}")
        } else {
            format!("rejected: {rejected}")
        },
    }]
}

fn route(value: &Value) -> Vec<Entry> {
    let config = &value["route_config"];
    let hosts = config["virtual_hosts"].as_array().into_iter().flatten();
    hosts
        .flat_map(|host| {
            let domains: Vec<&str> = host["domains"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let domains = domains.first().copied().unwrap_or("*").to_owned();
            let routes = host["routes"].as_array().cloned().unwrap_or_default();
            routes.into_iter().map(move |route| {
                let matching = &route["match"];
                let path = ["path", "path_separated_prefix", "prefix"]
                    .iter()
                    .find_map(|field| matching[*field].as_str())
                    .unwrap_or("(other)");
                let to = route["route"]["cluster"]
                    .as_str()
                    .unwrap_or("(weighted or direct)");
                Entry {
                    name: text(config, "/name").to_owned(),
                    kind: format!("{domains}{path}"),
                    detail: to.to_owned(),
                }
            })
        })
        .collect()
}

fn endpoint(value: &Value) -> Vec<Entry> {
    let config = &value["endpoint_config"];
    let groups = config["endpoints"].as_array().into_iter().flatten();
    let all = groups.flat_map(|group| group["lb_endpoints"].as_array().into_iter().flatten());
    all.map(|one| Entry {
        name: text(config, "/cluster_name").to_owned(),
        kind: address(&one["endpoint"]["address"]),
        detail: one["health_status"].as_str().unwrap_or("UNKNOWN").to_owned(),
    })
    .collect()
}

fn secret(value: &Value) -> Vec<Entry> {
    vec![Entry {
        name: text(value, "/name").to_owned(),
        kind: if value["secret"].get("validation_context").is_some() {
            "authority"
        } else {
            "certificate"
        }
        .to_owned(),
        detail: format!("since {}", text(value, "/last_updated")),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_warming_is_shown_as_that() {
        let dump = json!({"configs": [
            {"@type": "x/envoy.admin.v3.ClustersConfigDump", "dynamic_warming_clusters": [{"cluster": {"name": "c"}}]},
            {"@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [
                {"name": "l", "warming_state": {"listener": {"name": "l", "filter_chains": [{}]}}}]},
        ]});
        for (part, name) in [(Part::Clusters, "c"), (Part::Listeners, "l")] {
            let entries = entries(&dump, part);
            assert_eq!(entries[0].name, name);
            assert!(entries[0].detail.ends_with(WARMING), "{}", entries[0].detail);
        }
    }

    #[test]
    fn a_dump_is_read_part_by_part() {
        let dump = json!({"configs": [
            {"@type": "x/envoy.admin.v3.ClustersConfigDump", "dynamic_active_clusters": [
                {"cluster": {"name": "outbound|8080||a", "transport_socket": {}}}]},
            {"@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [
                {"name": "virtualInbound", "error_state": {"details": "bad"}}]},
            {"@type": "x/envoy.admin.v3.EndpointsConfigDump", "dynamic_endpoint_configs": [
                {"endpoint_config": {"cluster_name": "c", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 8080}}}, "health_status": "HEALTHY"}]}]}}]},
            {"@type": "x/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [
                {"route_config": {"name": "8080", "virtual_hosts": [{"domains": ["a.b"], "routes": [
                    {"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}}]},
        ]});
        assert_eq!(entries(&dump, Part::Clusters)[0].detail, "mutual TLS");
        assert_eq!(entries(&dump, Part::Listeners)[0].detail, "rejected: bad");
        assert_eq!(entries(&dump, Part::Endpoints)[0].kind, "10.0.0.1:8080");
        assert_eq!(entries(&dump, Part::Routes)[0].kind, "a.b/");
        assert!(entries(&dump, Part::Secrets).is_empty());
    }
}
