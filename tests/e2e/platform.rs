//! What `up` promises: every component of the profile runs, and can be reached.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
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

/// By what a write is known. The resource version, where an object has no status that moves by itself; elsewhere everything but
/// the status, with the account that the API server keeps of vadev's writes, and when they were.
fn stamp(value: &Value) -> Value {
    if value["metadata"]["generation"].is_null() {
        return value["metadata"]["resourceVersion"].clone();
    }
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    let Some(metadata) = value["metadata"].as_object_mut() else {
        return value;
    };
    metadata.remove("resourceVersion");
    if let Some(writes) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        writes.retain(|write| write["manager"] == "vadev");
    }
    value
}

#[test]
fn a_stamp_sees_every_write_but_those_of_the_status() {
    let object = json!({
        "metadata": {
            "name": "a", "generation": 3, "resourceVersion": "70", "labels": { "app": "a" },
            "managedFields": [
                { "manager": "vadev", "operation": "Apply", "time": "2026-01-01T00:00:00Z" },
                { "manager": "kube-controller-manager", "subresource": "status", "time": "2026-01-01T00:00:00Z" },
            ],
        },
        "spec": { "replicas": 1 },
        "status": { "readyReplicas": 0 },
    });
    let with = |pointer: &str, to: &str| {
        let mut changed = object.clone();
        *changed.pointer_mut(pointer).expect(pointer) = json!(to);
        stamp(&changed)
    };
    for written in [
        "/metadata/labels/app",
        "/metadata/managedFields/0/time",
        "/spec/replicas",
    ] {
        assert_ne!(with(written, "other"), stamp(&object), "{written}");
    }
    for own in [
        "/status/readyReplicas",
        "/metadata/resourceVersion",
        "/metadata/managedFields/1/time",
    ] {
        assert_eq!(with(own, "other"), stamp(&object), "{own}");
    }
    let plain = |version: &str| stamp(&json!({ "metadata": { "resourceVersion": version } }));
    assert_ne!(plain("1"), plain("2"));
}

#[test]
#[ignore = "needs a cluster"]
fn a_second_up_changes_nothing() {
    let platform = Platform::running();
    let versions = || {
        block_on(async {
            let cluster = platform.connect().await;
            let snapshot = observe(&cluster, MANAGED_BY).await.expect("snapshot");
            let stamps = snapshot.iter().map(|(id, value)| (id.to_string(), stamp(value)));
            stamps.collect::<BTreeMap<_, _>>()
        })
    };
    let before = versions();
    let report = platform.up();
    assert_eq!(report["changed"], false, "{report:#}");
    assert_eq!(report["steps"], Value::Array(Vec::new()));
    let after = versions();
    let written: Vec<_> = after
        .iter()
        .filter(|(id, stamp)| before.get(*id) != Some(*stamp))
        .collect();
    assert!(
        written.is_empty() && after.len() == before.len(),
        "written: {written:#?}"
    );
    assert!(
        before.len() > 60,
        "a snapshot that sees everything: {}",
        before.len()
    );
}
