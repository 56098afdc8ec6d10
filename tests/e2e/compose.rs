//! The platform without Kubernetes.

use std::path::Path;

use crate::harness::{Platform, get, text};

/// Neither the default port, nor that of the shared cluster.
const PORT: &str = "28090";

/// A workspace of its own: the shared cluster goes on beside it.
fn workspace() -> Platform {
    let mut platform = Platform::turn();
    platform.workspace = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-compose");
    std::fs::create_dir_all(&platform.workspace).expect("workspace folder");
    let file = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: e2e-compose\nprofile: minimal\n";
    std::fs::write(platform.workspace.join("vadev.yaml"), file).expect("workspace file");
    platform
}

#[test]
#[ignore = "needs Docker"]
fn minimal_comes_up_is_healthy_answers_through_its_gateway_and_goes() {
    let platform = workspace();
    let report = platform.json(&[
        "compose",
        "up",
        "--yes",
        "--http-port",
        PORT,
        "-o",
        "json",
        "--quiet",
    ]);
    let containers = report["containers"].as_array().expect("containers");
    for name in [
        "postgres",
        "redis",
        "nacos",
        "milvus",
        "conversation-service",
        "gateway",
    ] {
        let one = containers.iter().find(|one| one["service"] == name);
        assert_eq!(
            one.map(|one| &one["health"]),
            Some(&"healthy".into()),
            "{name}: {report:#}"
        );
    }
    let (status, body) = get(&format!("http://127.0.0.1:{PORT}/api/v1/health?depth=2"));
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains("identity-service"),
        "the service behind the gateway calls on: {body}"
    );
    let (status, body) = get(&format!("http://127.0.0.1:{PORT}/api/v1/agents/health"));
    assert_eq!(status, 200, "a prefix reaches its service: {body}");
    assert!(body.contains("agent-engine"), "{body}");
    assert_eq!(get(&format!("http://127.0.0.1:{PORT}/nowhere")).0, 404);

    let listed = platform.json(&["compose", "ps", "-o", "json"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(containers.len()));
    let logs = platform.succeed(&["compose", "logs", "conversation-service", "--tail", "20"]);
    assert!(logs.contains("stand-in"), "{logs}");
    let config = platform.succeed(&["compose", "config"]);
    let secrets =
        std::fs::read_to_string(platform.workspace.join(".vadev/compose/variables.env")).expect("variables");
    let password = secrets
        .lines()
        .find_map(|line| line.strip_prefix("POSTGRES_PASSWORD="))
        .expect("a password");
    assert!(
        config.contains("<POSTGRES_PASSWORD>") && !config.contains(password),
        "passwords are not printed"
    );

    // A second one finds everything there.
    let again = platform.json(&["compose", "up", "--yes", "-o", "json", "--quiet"]);
    assert_eq!(
        again["url"],
        format!("http://127.0.0.1:{PORT}"),
        "the port is remembered"
    );

    let refused = platform.run(&["compose", "down"]);
    assert_eq!(refused.status.code(), Some(8), "{}", text(&refused.stderr));
    platform.succeed(&["compose", "down", "--volumes", "--yes"]);
    let left = platform.json(&["compose", "ps", "-o", "json"]);
    assert_eq!(left, serde_json::json!([]));
    platform.succeed(&["compose", "down", "--yes"]);
}
