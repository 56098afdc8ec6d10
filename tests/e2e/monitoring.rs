//! Metrics, alerts, traces and dashboards, on the shared cluster with the monitoring group added to it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use vadev::k8s::{Cluster, Forward, ForwardTarget};
use vadev::profile::stack::Namespaces;
use vadev::render::dashboards;
use vadev::report::Reporter;

use crate::harness::{PATIENCE, Platform, block_on, eventually};
use crate::policy::{ask, token};

/// The monitoring group beside what runs already: nothing is removed for it.
fn monitored() -> Platform {
    let platform = Platform::running();
    platform.succeed(&[
        "up",
        "--yes",
        "-p",
        "demo",
        "--only",
        "monitoring",
        "--quiet",
        "--timeout",
        "420s",
    ]);
    platform
}

/// A way to a system's port.
async fn way_to(cluster: &Cluster, app: &str, port: u16) -> Forward {
    let target = ForwardTarget {
        namespace: Namespaces::default().infra,
        selector: format!("app={app}"),
        port,
    };
    Forward::open(cluster, target, ([127, 0, 0, 1], 0).into(), Reporter::silent())
        .await
        .expect("a way")
}

/// GET, as JSON.
async fn json(url: &str, query: &[(&str, &str)]) -> Value {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .expect("client");
    let url = reqwest::Url::parse_with_params(url, query).expect("URL");
    let Ok(response) = client.get(url).send().await else {
        return Value::Null;
    };
    let text = response.text().await.unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Asks until `good` says yes, and gives the last answer whatever came.
async fn poll(url: &str, query: &[(&str, &str)], good: impl Fn(&Value) -> bool) -> (bool, Value) {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = json(url, query).await;
        if good(&answer) {
            return (true, answer);
        }
        if tokio::time::Instant::now() >= end {
            return (false, answer);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

fn series(answer: &Value) -> usize {
    answer["data"]["result"].as_array().map_or(0, Vec::len)
}

/// Requests three services deep, so that there is something to count and to trace: rag-engine, retrieval-service and
/// vector-store-adapter are stand-ins, which call what their service calls.
fn traffic(token: &str) {
    for path in ["/api/v1/health", "/api/v1/rag?depth=3"].repeat(10) {
        let (status, body) = ask(path, Some(token));
        assert!(status == 200 || status == 502, "{status}: {body}");
    }
}

#[test]
#[ignore = "needs a cluster"]
fn prometheus_scrapes_services_sidecars_and_systems() {
    let platform = monitored();
    traffic(&token(&platform, &[]));
    block_on(async {
        let cluster = platform.connect().await;
        let prometheus = way_to(&cluster, "prometheus", 9090).await;
        let url = format!("http://{}/api/v1/query", prometheus.local());
        let up = [("query", "up{job=\"kubernetes-pods\"} == 1")];
        let (all, answer) = poll(&url, &up, |answer| {
            let names = apps(answer);
            [
                "identity-service",
                "agent-engine",
                "istiod",
                "milvus",
                "nacos",
                "alertmanager",
                "postgres-exporter",
                "redis-exporter",
            ]
            .iter()
            .all(|name| names.contains(*name))
        })
        .await;
        assert!(all, "up: {:?}", apps(&answer));
        let requests = [(
            "query",
            "sum by (destination_service_name) (istio_requests_total{reporter=\"destination\"})",
        )];
        let (counted, answer) = poll(&url, &requests, |answer| {
            answer.to_string().contains("conversation-service")
        })
        .await;
        assert!(counted, "no proxy counts requests: {answer}");
        for job in ["kubernetes-nodes", "kubernetes-containers"] {
            let query = format!("up{{job=\"{job}\"}} == 1");
            assert!(
                poll(&url, &[("query", &query)], |answer| series(answer) > 0)
                    .await
                    .0,
                "{job}"
            );
        }
    });
}

fn apps(answer: &Value) -> BTreeSet<String> {
    let results = answer["data"]["result"].as_array().into_iter().flatten();
    results
        .filter_map(|one| Some(one["metric"]["app"].as_str()?.to_owned()))
        .collect()
}

#[test]
#[ignore = "needs a cluster"]
fn alerts_reach_the_alertmanager() {
    let platform = monitored();
    block_on(async {
        let cluster = platform.connect().await;
        let alertmanager = way_to(&cluster, "alertmanager", 9093).await;
        let url = format!("http://{}/api/v2/alerts", alertmanager.local());
        let (there, answer) = poll(&url, &[], |answer| answer.to_string().contains("Watchdog")).await;
        assert!(there, "{answer}");
        let prometheus = way_to(&cluster, "prometheus", 9090).await;
        let rules = json(&format!("http://{}/api/v1/rules", prometheus.local()), &[]).await;
        let text = rules.to_string();
        assert!(
            !text.contains("\"health\":\"err\"") && text.contains("ServiceFails"),
            "{rules:#}"
        );
    });
}

#[test]
#[ignore = "needs a cluster"]
fn questions_are_answered_with_their_source() {
    let platform = monitored();
    traffic(&token(&platform, &[]));
    // Proxies made from packages have no filters of Istio's; those of a registry's images do.
    let page = platform.json(&["describe", "agent-engine", "-o", "json"]);
    let own = page["mesh"]["proxy"]
        .as_str()
        .is_some_and(|image| image.starts_with("vadev.local/"));
    let counted = if own {
        "the proxies' own counters"
    } else {
        "Istio's telemetry"
    };
    let ask = |what: &str, range: &[&str]| -> Option<Value> {
        let output = platform.run(&[&["query", what, "-o", "json"][..], range].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).ok()?;
        let full = answer["series"]
            .as_array()
            .is_some_and(|series| !series.is_empty());
        full.then_some(answer)
    };
    for (named, source) in [
        ("targets", "Prometheus' scrapes"),
        ("errors", counted),
        ("latency", counted),
    ] {
        let now = eventually(&format!("an answer to {named}"), || ask(named, &[]));
        assert_eq!(now["source"], source, "{named}: {}", now["query"]);
        let over = eventually(&format!("{named} over time"), || ask(named, &["--range", "10m"]));
        assert_eq!(over["source"], source, "{named} --range");
        let samples = over["series"][0]["samples"].as_array().map_or(0, Vec::len);
        assert!(samples >= 1, "{named} --range: {over:#}");
        let table = platform.succeed(&["query", named]);
        assert!(table.contains(&format!("from {source}")), "{table}");
    }
    let free = eventually("an answer to an expression", || {
        ask("sum by (app) (up{job=\"kubernetes-pods\"})", &[])
    });
    assert!(free.get("source").is_none(), "{free:#}");
    let wrong = platform.run(&["query", "latencyy"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("did you mean `latency`?"), "{said}");
}

/// Grafana itself comes from a container registry only; what its panels ask is asked here.
#[test]
#[ignore = "needs a cluster"]
fn every_panel_of_every_dashboard_has_data() {
    let platform = monitored();
    traffic(&token(&platform, &[]));
    let status = platform.json(&["status", "-o", "json"]);
    let components = status["components"].as_array().expect("components");
    let runs = |name: &str| components.iter().any(|one| one["name"] == name);
    block_on(async {
        let cluster = platform.connect().await;
        let prometheus = way_to(&cluster, "prometheus", 9090).await;
        let url = format!("http://{}/api/v1/query", prometheus.local());
        let mut asked = 0;
        for (name, dashboard) in dashboards::all().expect("dashboards") {
            for panel in &dashboard.panels {
                for query in &panel.queries {
                    let expression = query.within(&Namespaces::default());
                    let at = format!("{name}, {}: {expression}", panel.title);
                    let answer = json(&url, &[("query", &expression)]).await;
                    assert_eq!(answer["status"], "success", "{at}: {answer}");
                    asked += 1;
                    let expected = match query.needs.as_deref() {
                        None => true,
                        Some("errors") => false,
                        Some(workload) => runs(workload),
                    };
                    if expected {
                        let (data, answer) =
                            poll(&url, &[("query", &expression)], |answer| series(answer) > 0).await;
                        assert!(data, "{at} has no data: {answer}");
                    }
                }
            }
        }
        assert!(asked >= 40, "{asked}");
    });
}

#[test]
#[ignore = "needs a cluster"]
fn a_trace_crosses_three_services() {
    let platform = monitored();
    let bearer = token(&platform, &[]);
    block_on(async {
        let cluster = platform.connect().await;
        let jaeger = way_to(&cluster, "jaeger", 16686).await;
        let url = format!("http://{}/api/traces", jaeger.local());
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            // A trace is sampled by chance where the profile says so.
            let bearer = bearer.clone();
            tokio::task::spawn_blocking(move || traffic(&bearer))
                .await
                .expect("traffic");
            let query = [("service", "rag-engine.voiceassistant-prod"), ("limit", "50")];
            let answer = json(&url, &query).await;
            let deepest = answer["data"]
                .as_array()
                .into_iter()
                .flatten()
                .map(services)
                .max()
                .unwrap_or(0);
            if deepest >= 3 {
                return;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "the deepest trace crosses {deepest} services: {answer:#}"
            );
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
}

/// How many services a trace crosses.
fn services(trace: &Value) -> usize {
    let processes = trace["processes"].as_object().into_iter().flatten();
    let names: BTreeSet<&str> = processes
        .filter_map(|(_, process)| process["serviceName"].as_str())
        .collect();
    names.len()
}
