//! What `up` promises: every component of the profile runs, and can be reached.

use std::collections::BTreeSet;

use serde_json::Value;
use vadev::k8s::{Forward, ForwardTarget, MANAGED_BY, observe};
use vadev::report::Reporter;

use crate::harness::{HTTP_PORT, Platform, block_on, eventually, get};

const SERVICES: [&str; 14] = [
    "identity-service",
    "conversation-service",
    "knowledge-service",
    "ai-orchestrator",
    "notification-service",
    "analytics-service",
    "agent-engine",
    "rag-engine",
    "voice-engine",
    "model-adapter",
    "retrieval-service",
    "indexing-service",
    "multimodal-engine",
    "vector-store-adapter",
];

/// Those that the sample workspace has the source of.
const BUILT: [&str; 2] = ["conversation-service", "agent-engine"];

#[test]
#[ignore = "needs a cluster"]
fn all_services_and_the_core_systems_are_ready() {
    let platform = Platform::running();
    let status = platform.json(&["status", "-o", "json"]);
    let components = status["components"].as_array().expect("components");
    let ready: BTreeSet<&str> = components
        .iter()
        .filter(|c| c["ready"] == c["replicas"] && c["ready"] != 0)
        .filter_map(|c| c["name"].as_str())
        .collect();
    for name in SERVICES.iter().chain(&["postgres", "redis", "nacos", "milvus"]) {
        assert!(ready.contains(name), "{name} is not ready: {status:#}");
    }
    for component in components
        .iter()
        .filter(|c| c["namespace"] == "voiceassistant-prod")
    {
        let built = BUILT.contains(&component["name"].as_str().unwrap_or_default());
        let source = if built { "built" } else { "stand-in" };
        assert_eq!(
            component["source"], source,
            "nobody is to take a stand-in for the service: {component:#}"
        );
    }
    let table = platform.succeed(&["status"]);
    assert!(
        table.contains("stand-in") && table.contains("postgres"),
        "{table}"
    );
}

#[test]
#[ignore = "needs a cluster"]
fn health_is_served_through_the_ingress() {
    let _platform = Platform::running();
    for path in ["/health", "/api/v1/health"] {
        let url = format!("http://127.0.0.1:{HTTP_PORT}{path}");
        let body = eventually(&url, || {
            Some(get(&url))
                .filter(|(status, _)| *status == 200)
                .map(|(_, body)| body)
        });
        assert!(serde_json::from_str::<Value>(&body).is_ok(), "{path}: {body}");
    }
}

#[test]
#[ignore = "needs a cluster"]
fn every_service_answers_on_its_prefix() {
    let platform = Platform::running();
    let status = platform.json(&["status", "-o", "json"]);
    let mut asked = BTreeSet::new();
    for component in status["components"].as_array().expect("components") {
        let (Some(name), Some(url)) = (component["name"].as_str(), component["url"].as_str()) else {
            continue;
        };
        let url = format!("{url}/health");
        let body = eventually(&url, || {
            Some(get(&url))
                .filter(|(status, _)| *status == 200)
                .map(|(_, body)| body)
        });
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["service"], name, "{url} is answered by the service itself");
        asked.insert(name.to_owned());
    }
    assert_eq!(asked, SERVICES.iter().map(ToString::to_string).collect());
}

/// Asks `/info` of each pod, past its sidecar, and finds every dependency of platform.md really checked.
#[test]
#[ignore = "needs a cluster"]
fn every_service_checks_its_dependencies_for_real() {
    let platform = Platform::running();
    block_on(async {
        let cluster = platform.connect().await;
        let client = reqwest::Client::builder().no_proxy().build().expect("client");
        let mut checked = BTreeSet::new();
        for service in SERVICES {
            let target = ForwardTarget {
                namespace: "voiceassistant-prod".into(),
                selector: format!("app={service}"),
                port: 8080,
            };
            let forward = Forward::open(&cluster, target, ([127, 0, 0, 1], 0).into(), Reporter::silent())
                .await
                .expect("forward");
            let ready = client
                .get(format!("http://{}/ready", forward.local()))
                .send()
                .await
                .expect("answer");
            let status = ready.status();
            let body: Value = serde_json::from_str(&ready.text().await.expect("body")).expect("JSON");
            assert_eq!(status, 200, "{service}: {body:#}");
            let dependencies = body["dependencies"].as_array().expect("dependencies");
            for dependency in dependencies.iter().filter(|d| d["optional"] != true) {
                assert_eq!(dependency["up"], true, "{service}: {dependency:#}");
                checked.insert(dependency["name"].as_str().expect("name").to_owned());
            }
        }
        for system in [
            "postgres",
            "redis",
            "nacos",
            "milvus",
            "model-adapter",
            "vector-store-adapter",
        ] {
            assert!(
                checked.contains(system),
                "{system} was checked by nobody: {checked:?}"
            );
        }
    });
}

#[test]
#[ignore = "needs a cluster"]
fn verify_passes_and_says_what_it_checked() {
    let platform = Platform::running();
    let report = platform.json(&["verify", "-o", "json"]);
    assert_eq!(report["ok"], true, "{report:#}");
    let count = |group: &str| {
        report["checks"]
            .as_array()
            .expect("checks")
            .iter()
            .filter(|c| c["group"] == group)
            .count()
    };
    assert!(
        count("ingress") >= 16 && count("dependencies") == 14 && count("workload") >= 18,
        "{report:#}"
    );
}

#[test]
#[ignore = "needs a cluster"]
fn a_second_up_changes_nothing() {
    let platform = Platform::running();
    let versions = || {
        block_on(async {
            let cluster = platform.connect().await;
            let snapshot = observe(&cluster, MANAGED_BY).await.expect("snapshot");
            // A workload's status moves by itself; its generation only when somebody changes it.
            let stamp = |value: &Value| {
                value["metadata"]["generation"].as_u64().map_or_else(
                    || value["metadata"]["resourceVersion"].to_string(),
                    |g| g.to_string(),
                )
            };
            snapshot
                .iter()
                .map(|(id, value)| (id.to_string(), value["metadata"]["uid"].to_string(), stamp(value)))
                .collect::<Vec<_>>()
        })
    };
    let before = versions();
    let report = platform.up();
    assert_eq!(report["changed"], false, "{report:#}");
    assert_eq!(report["steps"], Value::Array(Vec::new()));
    assert_eq!(versions(), before);
    assert!(
        before.len() > 60,
        "a snapshot that sees everything: {}",
        before.len()
    );
}
