//! The mesh: sidecars everywhere, mutual TLS and nothing else.

use std::time::Duration;

use vadev::k8s::{ExecTarget, exec};

use crate::harness::{HTTPS_PORT, Platform, block_on, eventually, text};

#[test]
#[ignore = "needs a cluster"]
fn plaintext_to_a_meshed_pod_is_refused() {
    let platform = Platform::running();
    block_on(async {
        let cluster = platform.connect().await;
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(cluster.client(), "voiceassistant-infra");
        let postgres = pods
            .list(&kube::api::ListParams::default().labels("app=postgres"))
            .await
            .expect("pods");
        let pod = postgres
            .items
            .first()
            .and_then(|pod| pod.metadata.name.clone())
            .expect("a postgres pod");
        let ask = async |url: &str| {
            let target = ExecTarget {
                namespace: "voiceassistant-infra",
                pod: &pod,
                container: None,
            };
            // What the client says when it is refused is what is looked for, not its exit code.
            let line = format!("busybox wget -q -O - {url} 2>&1 || true");
            let command = ["sh", "-c", &line];
            let asked = exec(&cluster, &target, &command, None, Duration::from_secs(30)).await;
            text(&asked.expect("exec").stdout)
        };
        // The same request reaches a system outside the mesh: it is the mesh that refuses.
        assert_eq!(ask("http://milvus.voiceassistant-infra:9091/healthz").await, "OK");
        let refusal = ask("http://identity-service.voiceassistant-prod:8080/health").await;
        assert!(
            refusal.contains("reset by peer"),
            "refused, but not by the sidecar: {refusal}"
        );
    });
}

#[test]
#[ignore = "needs a cluster"]
fn every_sidecar_is_ready_and_connected() {
    let platform = Platform::running();
    block_on(async {
        let cluster = platform.connect().await;
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(cluster.client(), "voiceassistant-prod");
        let listed = pods.list(&kube::api::ListParams::default()).await.expect("pods");
        let running: Vec<_> = listed
            .items
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect();
        assert!(running.len() >= 14, "{} pods", running.len());
        for pod in running {
            let status = pod.status.as_ref().expect("status");
            let sidecars = status
                .init_container_statuses
                .iter()
                .chain(&status.container_statuses)
                .flatten();
            let sidecar = sidecars.into_iter().find(|one| one.name == "istio-proxy");
            // The sidecar's readiness is Envoy's own: configuration received from istiod and accepted.
            assert!(
                sidecar.is_some_and(|one| one.ready),
                "{:?} has no ready sidecar",
                pod.metadata.name
            );
        }
    });
}

#[test]
#[ignore = "needs a cluster"]
fn the_gateway_serves_https_with_a_certificate_of_this_machine() {
    let _platform = Platform::running();
    let url = format!("https://localhost:{HTTPS_PORT}/health");
    let status = eventually("https through the gateway", || {
        block_on(async {
            let client = reqwest::Client::builder()
                .no_proxy()
                .danger_accept_invalid_certs(true)
                .build()
                .expect("client");
            client
                .get(&url)
                .send()
                .await
                .ok()
                .map(|response| response.status().as_u16())
                .filter(|status| *status == 200)
        })
    });
    assert_eq!(status, 200);
}
