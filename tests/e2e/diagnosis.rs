//! What can never become ready is told early: the cause, the last lines of the log, and the next command. Every wait here may
//! take half an hour; the tests have much less patience.

use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::{Platform, UP, agent, block_on, build, extra_service};

const APPS: &str = "voiceassistant-prod";

/// How one of the platform's Deployments is changed by hand, with kubectl for instance.
fn patch(platform: &Platform, service: &str, container: &Value) {
    use k8s_openapi::api::apps::v1::Deployment;
    let mut container = container.clone();
    container["name"] = json!(service);
    let patch = json!({ "spec": { "template": { "spec": { "containers": [container] } } } });
    block_on(async {
        let deployments: Api<Deployment> = Api::namespaced(platform.connect().await.client(), APPS);
        deployments
            .patch(service, &PatchParams::default(), &Patch::Strategic(patch))
            .await
            .expect("patch");
    });
}

/// Waits for a service's pods, in vain.
fn in_vain(platform: &Platform, verb: &[&str], service: &str) -> Value {
    platform.failure(&[verb, &[service, "--timeout", "30m"]].concat(), 7)
}

/// Brings services of the tests' own up, in vain.
fn up_in_vain(platform: &Platform, services: &[&str]) -> Value {
    let flags = [
        "--yes",
        "--http-port",
        "28080",
        "--https-port",
        "28443",
        "--timeout",
        "30m",
    ];
    platform.failure(&[&UP[..1], services, &flags].concat(), 7)
}

/// What is said, to whom it is put down, and what to do about it.
fn assert_told(failure: &Value, cause: &str, subject: &str, next: &str) {
    let message = failure["message"].as_str().expect("message");
    assert!(message.contains(cause), "{failure:#}");
    let details = failure["details"].as_array().expect("details");
    assert!(
        details[0]
            .as_str()
            .is_some_and(|line| line.starts_with(&format!("Pod {APPS}/{subject}-"))),
        "{failure:#}"
    );
    assert!(
        failure["hint"].as_str().is_some_and(|hint| hint.contains(next)),
        "{failure:#}"
    );
    assert_eq!(failure["family"], "timeout");
}

fn has_log(failure: &Value, line: &str) -> bool {
    let mut details = failure["details"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    details.any(|detail| detail.trim_start().starts_with('│') && detail.contains(line))
}

#[test]
#[ignore = "needs a cluster"]
fn an_image_that_is_nowhere() {
    let platform = Platform::running();
    patch(
        &platform,
        "rag-engine",
        &json!({ "image": "registry.invalid/nobody:1" }),
    );
    let failure = in_vain(&platform, &["rollout", "status"], "rag-engine");
    assert_told(
        &failure,
        "neither on the node nor to be had",
        "rag-engine",
        "vadev up brings missing images",
    );
    assert!(
        failure["message"]
            .to_string()
            .contains("registry.invalid/nobody:1"),
        "{failure:#}"
    );
    let report = platform.restore();
    assert!(
        report["plan"].to_string().contains("registry.invalid/nobody:1"),
        "{:#}",
        report["plan"]
    );
}

#[test]
#[ignore = "needs a cluster"]
fn requests_that_no_node_has() {
    let platform = Platform::running();
    // `up` refuses them before it begins, see capacity; here somebody else has changed them.
    let cpu = json!({ "cpu": "500" });
    patch(
        &platform,
        "voice-engine",
        &json!({ "resources": { "requests": cpu, "limits": cpu } }),
    );
    let failure = in_vain(&platform, &["rollout", "status"], "voice-engine");
    assert_told(
        &failure,
        "no node can take it",
        "voice-engine",
        "vadev up -p minimal",
    );
    assert!(
        failure["message"].to_string().contains("Insufficient cpu"),
        "{failure:#}"
    );
    platform.restore();
}

/// One is killed at its memory limit, the other one ends by itself: who mends the first wants to know of the second.
#[test]
#[ignore = "needs a cluster"]
fn want_of_memory_and_a_crash_are_told_at_once() {
    let platform = Platform::running();
    let status = platform.json(&["status", "-o", "json"]);
    let components = status["components"].as_array().expect("components");
    let python = components
        .iter()
        .find(|one| one["name"] == "agent-engine")
        .expect("agent-engine");
    let python = python["image"].as_str().expect("an image");
    // Bounded: should nothing limit it, it ends by itself, and the test fails.
    let greedy = r#"CMD ["python", "-c", "print('reading all of it', flush=True); b'x' * (1 << 30)"]"#;
    build("vadev.local/e2e/hungry:1", &format!("FROM {python}\n{greedy}\n"));
    build(
        "vadev.local/e2e/ending:1",
        &format!("FROM {}\nCMD [\"nonsense\"]\n", agent()),
    );
    let hungry = extra_service(
        "hungry-service",
        "vadev.local/e2e/hungry",
        "prefixes: [/api/v1/hungry]",
    );
    let ending = extra_service(
        "ending-service",
        "vadev.local/e2e/ending",
        "prefixes: [/api/v1/ending]",
    );
    platform.add_to_workspace(&format!("extraServices:\n{hungry}{ending}"));
    let failure = up_in_vain(&platform, &["hungry-service", "ending-service"]);
    let said = failure.to_string();
    assert!(
        said.contains("it needs more memory than its limit"),
        "{failure:#}"
    );
    assert!(
        said.contains("raise the memory limit of hungry-service"),
        "{failure:#}"
    );
    assert!(said.contains("its process ends again and again"), "{failure:#}");
    assert!(said.contains("also: "), "both in one run: {failure:#}");
    assert!(has_log(&failure, "reading all of it"), "{failure:#}");
    assert!(has_log(&failure, "unknown command"), "{failure:#}");
    platform.restore();
}

#[test]
#[ignore = "needs a cluster"]
fn a_probe_that_fails() {
    let platform = Platform::running();
    let serves = format!(
        "FROM {}\nENV VADEV_SERVICE=probed VADEV_PORT=8080\nCMD [\"serve\"]\n",
        agent()
    );
    build("vadev.local/e2e/probed:1", &serves);
    let probed = |probes: &str| {
        crate::sample::lay_out(&platform.workspace, "e2e");
        let rest = format!("prefixes: [/api/v1/probed]\n    probes: {{ {probes} }}");
        let entry = extra_service("probed-service", "vadev.local/e2e/probed", &rest);
        platform.add_to_workspace(&format!("extraServices:\n{entry}"));
        up_in_vain(&platform, &["probed-service"])
    };
    let unready = probed("liveness: /health, readiness: /nowhere");
    assert_told(
        &unready,
        "it runs, but its probe fails: Readiness probe failed",
        "probed-service",
        "vadev logs probed-service",
    );
    assert!(unready["message"].to_string().contains("404"), "{unready:#}");
    assert!(has_log(&unready, "/nowhere"), "{unready:#}");
    // Here the kubelet ends it again and again: that is no crash.
    let killed = probed("liveness: /nowhere, startupSeconds: 10");
    assert_told(
        &killed,
        "it runs, but its probe fails: Startup probe failed",
        "probed-service",
        "vadev logs probed-service",
    );
    platform.restore();
}

#[test]
#[ignore = "needs a cluster"]
fn a_listener_that_the_sidecar_rejects() {
    let platform = Platform::running();
    // Istio passes it on, and Envoy takes no script that is none.
    let script = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": { "inline_string": "this is no Lua" },
    });
    let manager = json!({ "name": "envoy.filters.network.http_connection_manager" });
    let filter = json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": { "name": "e2e-broken", "namespace": APPS },
        "spec": {
            "workloadSelector": { "labels": { "app": "voice-engine" } },
            "configPatches": [{
                "applyTo": "HTTP_FILTER",
                "match": { "context": "SIDECAR_INBOUND", "listener": { "filterChain": { "filter": manager } } },
                "patch": { "operation": "INSERT_FIRST", "value": { "name": "e2e.broken", "typed_config": script } },
            }],
        },
    });
    let id = vadev::k8s::ObjectRef::of(&filter).expect("reference");
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::apply_one(&cluster, &filter, vadev::k8s::ApplyOptions::default())
            .await
            .expect("apply");
    });
    let failure = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        in_vain(&platform, &["restart"], "voice-engine")
    }));
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::delete_all(&cluster, &[id], vadev::k8s::DeleteOptions::default())
            .await
            .expect("delete");
    });
    let failure = failure.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert_told(
        &failure,
        "its sidecar rejected a listener that istiod sent",
        "voice-engine",
        "vadev proxy-status",
    );
    assert!(has_log(&failure, ".Listener rejected:"), "{failure:#}");
    platform.restore();
}
