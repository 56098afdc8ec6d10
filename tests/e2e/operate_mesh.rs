//! The mesh, the gateway's certificate, the audit log, pages and policies, as the verbs show them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{HTTPS_PORT, Platform, block_on, eventually, get, text};

#[test]
#[ignore = "needs a cluster"]
fn proxies_show_what_they_were_told() {
    let platform = Platform::running();
    let endpoints = platform.json(&["proxy-config", "agent-engine", "endpoints", "-o", "json"]);
    let to_adapter = endpoints.as_array().expect("endpoints").iter().find(|one| {
        one["name"]
            .as_str()
            .is_some_and(|name| name.contains("|8080||model-adapter."))
    });
    assert_eq!(to_adapter.expect("model-adapter")["detail"], "HEALTHY");
    for part in ["clusters", "listeners", "routes", "secrets"] {
        let found = platform.json(&["proxy-config", "agent-engine", part, "-o", "json"]);
        assert!(!found.as_array().expect("entries").is_empty(), "{part}");
    }
    assert!(platform.json(&["proxy-config", "agent-engine", "dump"])["configs"].is_array());
    // What was changed just now is on its way for a moment.
    let proxies = eventually("every proxy has everything that istiod sent it", || {
        let proxies = platform.json(&["proxy-status", "-o", "json"]);
        let proxies = proxies.as_array().expect("proxies").clone();
        let synced = |proxy: &Value| {
            let parts = proxy["parts"].as_array().expect("parts");
            parts.len() == 4 && parts.iter().all(|part| part["state"] == "synced")
        };
        proxies.iter().all(synced).then_some(proxies)
    });
    let status = platform.json(&["status", "-o", "json"]);
    let components = status["components"].as_array().expect("components");
    let services = components
        .iter()
        .filter(|one| one["namespace"] == "voiceassistant-prod");
    let names: Vec<&str> = proxies
        .iter()
        .filter_map(|proxy| proxy["name"].as_str())
        .collect();
    for service in services.filter_map(|one| one["name"].as_str()) {
        let own = names.iter().any(|name| name.starts_with(&format!("{service}-")));
        assert!(own, "{service} has a sidecar that istiod knows: {names:?}");
    }
    assert!(
        names.iter().any(|name| name.starts_with("istio-ingressgateway-")),
        "{names:?}"
    );
    assert!(names.len() >= 15, "14 sidecars and a gateway: {names:?}");
    let none = platform.run(&["proxy-config", "postgres"]);
    assert_eq!(none.status.code(), Some(2), "{}", text(&none.stderr));
}

#[test]
#[ignore = "needs a cluster"]
fn every_call_of_the_catalog_gets_through() {
    let platform = Platform::running();
    let all = platform.json(&["check", "connectivity", "-o", "json"]);
    let all = all.as_array().expect("pairs");
    assert_eq!(all.len(), 14 * 13);
    for pair in all.iter().filter(|pair| pair["called"] == true) {
        assert!(pair["ok"] == true && pair["tried"] == true, "{pair:#}");
    }
}

#[test]
#[ignore = "needs a cluster"]
fn a_closed_door_is_seen_from_inside() {
    let platform = Platform::running();
    let door = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "e2e-closed", "namespace": "voiceassistant-prod"},
        "spec": {"selector": {"matchLabels": {"app": "model-adapter"}}, "action": "DENY", "rules": [
            {"from": [{"source": {"namespaces": ["voiceassistant-prod"]}}]}]},
    });
    let id = vadev::k8s::ObjectRef::of(&door).expect("reference");
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::apply_one(&cluster, &door, vadev::k8s::ApplyOptions::default())
            .await
            .expect("apply");
    });
    let try_it = || {
        let args = [
            "check",
            "connectivity",
            "agent-engine",
            "model-adapter",
            "-o",
            "json",
        ];
        platform.run(&args)
    };
    let closed = eventually("the door is closed", || {
        let output = try_it();
        (output.status.code() == Some(9)).then(|| text(&output.stdout))
    });
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::delete_all(&cluster, &[id], vadev::k8s::DeleteOptions::default())
            .await
            .expect("delete");
    });
    assert!(closed.contains("403"), "{closed}");
    eventually("the door is open again", || {
        try_it().status.success().then_some(())
    });
}

#[test]
#[ignore = "needs a cluster"]
fn the_audit_log_names_who_changed_what() {
    let platform = Platform::running();
    platform.succeed(&["restart", "voice-engine"]);
    eventually("the patch is in the log", || {
        let out = platform.succeed(&[
            "audit-log",
            "--verb",
            "patch",
            "--resource",
            "deployments",
            "--tail",
            "20",
            "-o",
            "json",
        ]);
        let mut lines = out
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| {
            line["object"] == "voiceassistant-prod/voice-engine" && line["user"] == "kubernetes-admin"
        })
    });
    assert!(
        platform
            .succeed(&["audit-log", "--user", "nobody-of-that-name"])
            .is_empty()
    );
}

#[test]
#[ignore = "needs a cluster"]
fn a_certificate_is_served_to_a_real_client_at_once() {
    let platform = Platform::running();
    let served = platform.json(&["tls", "create", "--host", "shop.localhost", "-o", "json"]);
    assert_eq!(served["hosts"], json!(["shop.localhost"]), "{served:#}");
    let authority = std::fs::read(platform.workspace.join(".vadev/tls/ca.pem")).expect("authority");
    // A client that trusts the authority and nothing else.
    let ask = |host: &str| {
        block_on(async {
            let root = reqwest::Certificate::from_pem(&authority).expect("certificate");
            let client = reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([root])
                .resolve(host, ([127, 0, 0, 1], HTTPS_PORT).into())
                .build()
                .expect("client");
            let answer = client
                .get(format!("https://{host}:{HTTPS_PORT}/health"))
                .send()
                .await;
            answer
                .map(|answer| answer.status().as_u16())
                .map_err(|error| format!("{error:?}"))
        })
    };
    assert_eq!(ask("shop.localhost"), Ok(200));
    assert!(ask("other.localhost").is_err(), "it is for that host alone");
    let renewed = platform.json(&["tls", "renew", "-o", "json"]);
    assert_eq!(renewed["hosts"], served["hosts"]);
    assert_eq!(ask("shop.localhost"), Ok(200), "by the same authority");
    assert_eq!(platform.json(&["tls", "show", "-o", "json"])["development"], true);
    platform.succeed(&["tls", "create"]);
}

#[test]
#[ignore = "needs a cluster"]
fn pages_come_back_after_their_pod() {
    let platform = Platform::running();
    let mut child = platform
        .command(&["dashboard", "nacos", "-o", "json", "--progress", "plain"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vadev starts");
    let said = BufReader::new(child.stderr.take().expect("stderr"));
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let url = "http://127.0.0.1:8848/v3/console/health/readiness";
    let open = || eventually("the page", || (get(url).0 == 200).then_some(()));
    open();
    block_on(async {
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-infra");
        let found = pods
            .list(&kube::api::ListParams::default().labels("app=nacos"))
            .await
            .expect("list");
        let name = found.items[0].metadata.name.clone().expect("name");
        pods.delete(&name, &kube::api::DeleteParams::default().grace_period(0))
            .await
            .expect("delete");
    });
    let mut heard = String::new();
    eventually("it is said to be down and back", || {
        while let Ok(line) = receiver.try_recv() {
            heard = heard.clone() + &line + "\n";
        }
        (heard.contains("nacos is down since") && heard.contains("nacos is back after")).then_some(())
    });
    open();
    child.kill().expect("kill");
    child.wait().expect("wait");
    std::net::TcpListener::bind("127.0.0.1:8848").expect("the port is free again");
    let absent = platform.run(&["dashboard", "grafana"]);
    let line = text(&absent.stderr);
    assert!(
        !absent.status.success() && line.contains("grafana is not deployed"),
        "{line}"
    );
}

#[test]
#[ignore = "needs a cluster"]
fn policies_are_computed_against_the_call_graph() {
    let platform = Platform::running();
    let found = platform.json(&["netpol", "show", "-o", "json"]);
    // On nodes of vadev's own making it is known either way.
    assert!(
        found["enforcedBy"].is_string() || found["ignoredBy"].is_string(),
        "{}",
        found["policies"]
    );
    let pairs = found["pairs"].as_array().expect("pairs");
    let one = |from: &str, to: &str| {
        pairs
            .iter()
            .find(|pair| pair["from"] == from && pair["to"] == to)
            .expect("pair")
    };
    assert_eq!(one("agent-engine", "model-adapter")["needed"], true);
    assert_eq!(one("agent-engine", "redis")["needed"], true);
    assert_eq!(one("model-adapter", "agent-engine")["needed"], false);
}

#[test]
#[ignore = "needs a cluster"]
fn analyze_finds_a_route_to_nowhere() {
    let platform = Platform::running();
    let clean = platform.run(&["analyze", "-o", "json"]);
    assert!(clean.status.success(), "{}", text(&clean.stderr));
    let route = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "e2e-nowhere", "namespace": "voiceassistant-prod"},
        "spec": {"hosts": ["nowhere.example.org"], "gateways": ["no-such-gateway"], "http": [
            {"route": [{"destination": {"host": "agent-engine"}}]}]},
    });
    let id = vadev::k8s::ObjectRef::of(&route).expect("reference");
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::apply_one(&cluster, &route, vadev::k8s::ApplyOptions::default())
            .await
            .expect("apply");
    });
    let found = platform.run(&["analyze", "-o", "json"]);
    block_on(async {
        let cluster = platform.connect().await;
        vadev::k8s::delete_all(&cluster, &[id], vadev::k8s::DeleteOptions::default())
            .await
            .expect("delete");
    });
    assert_eq!(found.status.code(), Some(9), "{}", text(&found.stderr));
    assert!(text(&found.stdout).contains("IST0101"), "{}", text(&found.stdout));
}
