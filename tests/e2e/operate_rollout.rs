//! Rolling out, going back, scaling, configuring: what changed is really in the pods, and `up` keeps it.

use std::process::Command;

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Platform, agent, build, text};

/// An image that runs as a service by itself: the stand-in with its settings in the image.
fn image(tag: &str, command: &str) -> String {
    let reference = format!("vadev.local/e2e/rag-engine:{tag}");
    let agent = agent();
    let file = format!(
        "FROM {agent}\nENV VADEV_SERVICE=rag-engine VADEV_PORT=8080 VADEV_VERSION={tag}\nCMD [{command}]\n"
    );
    build(&reference, &file);
    reference
}

fn workspace(platform: &Platform) -> String {
    std::fs::read_to_string(platform.workspace.join("vadev.yaml")).expect("vadev.yaml")
}

#[test]
#[ignore = "needs a cluster"]
fn an_upgrade_lands_in_the_workspace_and_can_be_undone() {
    let platform = Platform::running();
    let good = image("good", "\"serve\"");
    let done = platform.json(&["upgrade", "rag-engine", &good, "-o", "json"]);
    assert_eq!(done[0]["image"], good.as_str(), "{done:#}");
    assert!(workspace(&platform).contains(&good));
    assert_eq!(platform.up()["changed"], false, "up keeps the image");
    let history = platform.json(&["rollout", "history", "rag-engine", "-o", "json"]);
    assert!(history.as_array().expect("history").len() >= 2, "{history:#}");
    platform.succeed(&["rollout", "undo", "rag-engine"]);
    assert!(
        !workspace(&platform).contains(&good),
        "the workspace follows: {}",
        workspace(&platform)
    );
    let page = platform.json(&["describe", "rag-engine", "-o", "json"]);
    assert!(
        page["image"].as_str().expect("image").contains("vadev-agent"),
        "{page:#}"
    );
    let again = platform.up();
    let components = again["status"]["components"].as_array();
    assert!(components.is_some_and(|all| !all.is_empty()), "{again:#}");
}

#[test]
#[ignore = "needs a cluster"]
fn an_upgrade_that_can_not_finish_is_diagnosed_and_undone() {
    let platform = Platform::running();
    let before = platform.json(&["describe", "rag-engine", "-o", "json"])["image"].clone();
    let file = workspace(&platform);
    let bad = image("bad", "\"nonsense\"");
    let output = platform.run(&["upgrade", "rag-engine", &bad, "--auto-undo", "--timeout", "120s"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert!(said.contains("its process ends again and again"), "{said}");
    assert!(
        said.contains("unknown command \"nonsense\""),
        "the log's last lines are there: {said}"
    );
    let page = platform.json(&["describe", "rag-engine", "-o", "json"]);
    assert_eq!(page["image"], before);
    assert_eq!(page["ready"], page["replicas"]);
    assert_eq!(workspace(&platform), file);
    let missing = platform.run(&["upgrade", "rag-engine", "vadev.local/e2e/nobody:1"]);
    assert_eq!(missing.status.code(), Some(4), "{}", text(&missing.stderr));
    assert_eq!(workspace(&platform), file, "nothing was changed");
}

#[test]
#[ignore = "needs a cluster"]
fn a_paused_rollout_waits_for_resume() {
    let platform = Platform::running();
    platform.succeed(&["rollout", "pause", "voice-engine"]);
    let refused = platform.run(&["restart", "voice-engine"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("vadev rollout resume voice-engine"));
    platform.succeed(&["rollout", "resume", "voice-engine"]);
    platform.succeed(&["rollout", "status", "voice-engine"]);
}

#[test]
#[ignore = "needs a cluster"]
fn scaling_lands_in_the_workspace_and_autoscalers_speak_up() {
    let platform = Platform::running();
    let done = platform.json(&["scale", "voice-engine", "2", "-o", "json"]);
    assert_eq!(done[0]["detail"], "2/2 pods ready");
    assert!(workspace(&platform).contains("replicas: 2"));
    assert_eq!(platform.up()["changed"], false);
    // A target that no start of a pod reaches: the number of replicas is to stay what this test makes it.
    let hpa = platform.json(&[
        "hpa",
        "set",
        "voice-engine",
        "--min",
        "1",
        "--max",
        "3",
        "--cpu",
        "1000",
        "-o",
        "json",
    ]);
    assert_eq!(
        (&hpa[0]["min"], &hpa[0]["max"], &hpa[0]["cpuTargetPercent"]),
        (&1.into(), &3.into(), &1000.into())
    );
    let replicas = || {
        platform.json(&["describe", "voice-engine", "-o", "json"])["replicas"]
            .as_u64()
            .expect("replicas")
    };
    let output = platform.run(&["scale", "voice-engine", "1", "--no-save", "--timeout", "90s"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("voice-engine-hpa"),
        "{}",
        text(&output.stderr)
    );
    // vadev.yaml says 2; what the autoscaler keeps is not fought over.
    assert_eq!(
        platform.up()["changed"],
        false,
        "up leaves the number to the autoscaler"
    );
    assert_eq!(replicas(), 1);
    assert!(
        platform
            .json(&["hpa", "list", "-o", "json"])
            .to_string()
            .contains("voice-engine-hpa")
    );
    platform.succeed(&["exec", "postgres", "--", "true"]);
    let removed = platform.json(&["hpa", "remove", "voice-engine", "-o", "json"]);
    assert_eq!(removed[0]["name"], "voice-engine-hpa", "{removed:#}");
    let none = platform.run(&["hpa", "remove", "voice-engine"]);
    assert_eq!(none.status.code(), Some(5), "{}", text(&none.stderr));
    assert_eq!(
        platform.up()["changed"],
        true,
        "without it the workspace counts again"
    );
    assert_eq!(replicas(), 2);
}

/// What a stand-in says it is configured with.
fn config(platform: &Platform, key: &str) -> Value {
    platform.json(&["config", "get", "analytics-service", "-o", "json"])[key].clone()
}

#[test]
#[ignore = "needs a cluster"]
fn configuration_is_set_kept_and_undone() {
    let platform = Platform::running();
    let before = config(&platform, "LOG_LEVEL");
    platform.succeed(&[
        "config",
        "set",
        "analytics-service",
        "LOG_LEVEL=debug",
        "E2E_NEW=a \"b\": c",
    ]);
    assert_eq!(config(&platform, "LOG_LEVEL"), "debug");
    assert_eq!(config(&platform, "E2E_NEW"), "a \"b\": c");
    assert_eq!(platform.up()["changed"], false, "up keeps what was set");
    let history = platform.succeed(&["config", "history", "analytics-service"]);
    assert!(
        history.contains("E2E_NEW") && history.contains("debug"),
        "{history}"
    );
    platform.succeed(&["config", "undo", "analytics-service"]);
    assert_eq!(config(&platform, "LOG_LEVEL"), before);
    assert_eq!(config(&platform, "E2E_NEW"), Value::Null);
    assert_eq!(platform.up()["changed"], false);
}

#[test]
#[ignore = "needs a cluster"]
fn configuration_that_breaks_a_service_is_taken_back() {
    let platform = Platform::running();
    let set = |pair: &str| {
        platform.run(&[
            "config",
            "set",
            "analytics-service",
            pair,
            "--auto-undo",
            "--timeout",
            "120s",
        ])
    };
    let broken = set("VADEV_CONFIG=/nowhere");
    let said = text(&broken.stderr);
    assert_eq!(broken.status.code(), Some(7), "{said}");
    assert!(said.contains("cannot read /nowhere"), "why it failed: {said}");
    assert_eq!(config(&platform, "VADEV_CONFIG"), Value::Null);
    assert!(!workspace(&platform).contains("/nowhere"));
    assert_eq!(platform.up()["changed"], false);
    // A revision has a digest of the configuration, and not the values.
    assert!(set("LOG_LEVEL=debug").status.success());
    let undone = platform.run(&["rollout", "undo", "analytics-service"]);
    let said = text(&undone.stderr);
    assert!(undone.status.success(), "{said}");
    assert!(said.contains("vadev config undo analytics-service"), "{said}");
    assert_eq!(config(&platform, "LOG_LEVEL"), "debug");
    platform.succeed(&["config", "undo", "analytics-service"]);
    platform.up();
}

#[test]
#[ignore = "needs a cluster"]
fn a_workload_of_a_system_is_upgraded_under_either_name() {
    let platform = Platform::running();
    let runs = || platform.json(&["describe", "minio", "-o", "json"])["image"].clone();
    let before = runs();
    let tagged = "vadev.local/e2e/minio:again";
    let image = before.as_str().expect("image");
    let docker = Command::new("docker")
        .args(["tag", image, tagged])
        .output()
        .expect("docker");
    assert!(docker.status.success(), "{}", text(&docker.stderr));
    let done = platform.json(&["upgrade", "minio", tagged, "-o", "json"]);
    assert_eq!(done[0]["image"], tagged, "{done:#}");
    assert_eq!(runs(), tagged);
    assert_eq!(platform.up()["changed"], false, "up keeps it");
    platform.succeed(&["upgrade", "minio-standalone", image]);
    assert_eq!(runs(), before);
}

#[test]
#[ignore = "needs a cluster"]
fn nothing_is_restarted_where_one_of_several_is_paused() {
    let platform = Platform::running();
    let pods = || platform.json(&["describe", "rag-engine", "-o", "json"])["pods"][0]["name"].clone();
    let before = pods();
    platform.succeed(&["rollout", "pause", "voice-engine"]);
    let refused = platform.run(&["rollout", "restart", "rag-engine", "voice-engine"]);
    platform.succeed(&["rollout", "resume", "voice-engine"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert_eq!(pods(), before);
}

#[test]
#[ignore = "needs a cluster"]
fn secrets_come_from_stdin_are_never_shown_and_can_be_undone() {
    let platform = Platform::running();
    let set = |value: &str| {
        let mut child = platform
            .command(&["secret", "set", "analytics-service", "E2E_TOKEN"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vadev starts");
        child
            .stdin
            .take()
            .expect("stdin")
            .write_all(value.as_bytes())
            .expect("write");
        let output = child.wait_with_output().expect("output");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains(value.trim()), "{said}");
    };
    set("first-value-7311\n");
    set("second-value-77111\n");
    let list = platform.succeed(&["secret", "list", "analytics-service"]);
    assert!(
        list.contains("E2E_TOKEN") && list.contains("18") && !list.contains("value-7"),
        "{list}"
    );
    assert_eq!(platform.up()["changed"], false, "up keeps the secret");
    let history = platform.succeed(&["secret", "history", "analytics-service", "-o", "json"]);
    assert!(
        history.contains("E2E_TOKEN") && !history.contains("value-7"),
        "{history}"
    );
    platform.succeed(&["secret", "undo", "analytics-service"]);
    let list = platform.json(&["secret", "list", "analytics-service", "-o", "json"]);
    assert_eq!(
        list[0]["keys"]["E2E_TOKEN"], 16,
        "the first value is back: {list:#}"
    );
    platform.succeed(&["secret", "undo", "analytics-service"]);
    let list = platform.json(&["secret", "list", "analytics-service", "-o", "json"]);
    assert_eq!(list[0]["keys"]["E2E_TOKEN"], Value::Null);
    let refused = platform.run(&["secret", "set", "agent-engine", "REDIS_PASSWORD"]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "it is redis's: {}",
        text(&refused.stderr)
    );
}
