//! What the mesh refuses, limits, waits for and tries again, seen from outside and from inside the pods.

use std::time::Duration;

use serde_json::{Value, json};
use vadev::k8s::{Forward, ForwardTarget};
use vadev::report::Reporter;

use crate::harness::{HTTP_PORT, Platform, block_on, eventually};

/// A path of the service that can be told to fail, which needs a token of any role.
const PATH: &str = "/api/v1/users";

pub fn token(platform: &Platform, args: &[&str]) -> String {
    let mut all = vec!["token"];
    all.extend(args);
    platform.succeed(&all).trim().to_owned()
}

/// GET through the gateway: status and body. 0 where there was no answer.
pub fn ask(path: &str, token: Option<&str>) -> (u16, String) {
    block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(1))
            .build()
            .expect("client");
        let mut request = client.get(format!("http://127.0.0.1:{HTTP_PORT}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        match request.send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        }
    })
}

/// Until the gateway has the newest configuration, an answer may be an older one's.
fn comes_to(status: u16, path: &str, token: Option<&str>) {
    let mut last = (0, String::new());
    eventually(&format!("{status} at {path}"), || {
        last = ask(path, token);
        (last.0 == status).then_some(())
    });
}

/// Tells the identity service's stand-in to fail, past its sidecar; `None` ends all faults. What is in force then.
fn fault(platform: &Platform, fault: Option<&Value>) -> Value {
    block_on(async {
        let target = ForwardTarget {
            namespace: "voiceassistant-prod".into(),
            selector: "app=identity-service".into(),
            port: 8080,
        };
        let cluster = platform.connect().await;
        let forward = Forward::open(&cluster, target, ([127, 0, 0, 1], 0).into(), Reporter::silent())
            .await
            .expect("forward");
        let url = format!("http://{}/_vadev/fault", forward.local());
        let client = reqwest::Client::builder().no_proxy().build().expect("client");
        let request = match fault {
            Some(fault) => client.post(url).body(fault.to_string()),
            None => client.delete(url),
        };
        let answer = request.send().await.expect("answer");
        let (status, body) = (answer.status(), answer.text().await.expect("body"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    })
}

/// Ends all faults, whatever becomes of the test.
struct Faults<'a>(&'a Platform);

impl Drop for Faults<'_> {
    fn drop(&mut self) {
        fault(self.0, None);
    }
}

#[test]
#[ignore = "needs a cluster"]
fn tokens_decide_who_comes_in() {
    let platform = Platform::running();
    let anybody = token(&platform, &[]);
    let admin = token(&platform, &["--sub", "root", "--role", "admin"]);
    for path in [
        "/health",
        "/api/v1/health",
        "/api/v1/users/health",
        "/api/v1/auth",
    ] {
        comes_to(200, path, None);
    }
    comes_to(401, PATH, None);
    comes_to(401, PATH, Some("nonsense"));
    // Of the right form, and signed by nobody.
    comes_to(401, PATH, Some(&format!("{}x", &anybody[..anybody.len() - 6])));
    comes_to(200, PATH, Some(&anybody));
    comes_to(200, "/api/v1/users/42/sessions", Some(&anybody));
    comes_to(403, "/api/v1/tenants", Some(&anybody));
    comes_to(403, "/api/v1/analytics/reports", Some(&anybody));
    comes_to(200, "/api/v1/tenants", Some(&admin));
    comes_to(401, "/api/v1/tenants", None);
    comes_to(404, "/no/such/prefix", Some(&admin));
    // The same over https, and no way around by writing the path differently.
    for path in ["/api/v1/auth/../tenants", "//api/v1/tenants", "/api/v1/tenants/"] {
        let (status, body) = ask(path, None);
        assert!(matches!(status, 400 | 401 | 403 | 404), "{path}: {status} {body}");
    }
}

#[test]
#[ignore = "needs a cluster"]
fn the_matrix_is_the_catalogs_call_graph() {
    let platform = Platform::running();
    let report = platform.json(&["verify", "--mesh", "-o", "json"]);
    assert_eq!(report["ok"], true, "{report:#}");
    let pairs = report["pairs"].as_array().expect("pairs");
    assert_eq!(
        pairs.len(),
        14 * 13 + 2 * 14,
        "every pair, and the gateway with and without a token"
    );
    let measured = |from: &str, to: &str| {
        let pair = pairs.iter().find(|pair| pair["from"] == from && pair["to"] == to);
        pair.map(|pair| pair["measured"].clone()).unwrap_or_default()
    };
    assert_eq!(measured("agent-engine", "model-adapter"), "allowed");
    assert_eq!(measured("model-adapter", "agent-engine"), "denied");
    assert_eq!(measured("identity-service", "vector-store-adapter"), "denied");
    assert_eq!(measured("ingress", "model-adapter"), "denied");
    assert_eq!(measured("ingress+token", "model-adapter"), "allowed");
    let allowed = pairs.iter().filter(|pair| {
        pair["measured"] == "allowed"
            && !pair["from"]
                .as_str()
                .is_some_and(|from| from.starts_with("ingress"))
    });
    assert_eq!(allowed.count(), 20, "the edges of platform.md");
    let square = platform.succeed(&["verify", "--mesh"]);
    assert!(square.contains("0 not as expected"), "{square}");
}

#[test]
#[ignore = "needs a cluster"]
fn one_failure_is_hidden_by_a_second_attempt() {
    let platform = Platform::running();
    let token = token(&platform, &[]);
    comes_to(200, PATH, Some(&token));
    let _end = Faults(&platform);
    fault(
        &platform,
        Some(&json!({ "mode": "fail", "count": 1, "status": 503, "path": PATH })),
    );
    let (status, body) = ask(PATH, Some(&token));
    assert_eq!(status, 200, "{body}");
    let left = fault(&platform, None);
    assert_eq!(left["faults"], json!([]), "the failure did happen");
    // One that is the service's own answer is told as it is.
    fault(
        &platform,
        Some(&json!({ "mode": "fail", "count": 1, "status": 500, "path": PATH })),
    );
    assert_eq!(ask(PATH, Some(&token)).0, 500);
}

#[test]
#[ignore = "needs a cluster"]
fn what_takes_too_long_ends_at_the_timeout() {
    let platform = Platform::running();
    let token = token(&platform, &[]);
    comes_to(200, PATH, Some(&token));
    let _end = Faults(&platform);
    // Six times the service's timeout.
    fault(
        &platform,
        Some(&json!({ "mode": "delay", "millis": 30_000, "path": PATH })),
    );
    let (status, body) = ask(PATH, Some(&token));
    assert_eq!(status, 504, "{body}");
}

#[test]
#[ignore = "needs a cluster"]
fn the_circuit_opens_and_closes_again() {
    let platform = Platform::running();
    let token = token(&platform, &[]);
    comes_to(200, PATH, Some(&token));
    let ended = Faults(&platform);
    fault(
        &platform,
        Some(&json!({ "mode": "fail", "status": 500, "path": PATH })),
    );
    eventually("an open circuit", || {
        let (status, body) = ask(PATH, Some(&token));
        (status == 503 && body.contains("no healthy upstream")).then_some(())
    });
    drop(ended);
    comes_to(200, PATH, Some(&token));
}

#[test]
#[ignore = "needs a cluster"]
fn more_than_the_limit_is_refused_and_health_is_not() {
    let platform = Platform::running();
    comes_to(200, "/api/v1/auth/health", None);
    // The bucket of 60 a minute refills all at once, so twice as many and one cannot all fit, however slow they come.
    let statuses: Vec<u16> = (0..121).map(|_| ask("/api/v1/auth", None).0).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 429)),
        "{statuses:?}"
    );
    assert_eq!(ask("/api/v1/auth/health", None).0, 200);
    drop(platform);
}
