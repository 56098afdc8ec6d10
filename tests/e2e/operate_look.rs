//! Looking at the platform: status, logs, describe, exec, top, events.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Platform, eventually, text};

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
#[ignore = "needs a cluster"]
fn restarts_are_counted_and_the_life_before_can_be_read() {
    let platform = Platform::running();
    let redis = || {
        let status = platform.json(&["status", "-o", "json"]);
        let components = status["components"].as_array().expect("components").clone();
        let one = components
            .into_iter()
            .find(|one| one["name"] == "redis")
            .expect("redis");
        assert!(!one["age"].as_str().expect("age").is_empty(), "{one:#}");
        one
    };
    let before = redis()["restarts"].as_u64().expect("restarts");
    // The connection ends with the process that carried it.
    let _cut = platform.run(&["exec", "redis", "--", "sh", "-c", "kill -TERM 1"]);
    eventually("one restart more, and ready again", || {
        let now = redis();
        (now["restarts"].as_u64() == Some(before + 1) && now["ready"] == now["replicas"]).then_some(())
    });
    let previous = platform.succeed(&["logs", "redis", "--previous", "--tail", "20"]);
    assert!(previous.contains("SIGTERM"), "{previous}");
    let page = platform.json(&["describe", "redis", "-o", "json"]);
    assert!(
        page["pods"][0]["containers"][0]["lastEnd"].is_string(),
        "{page:#}"
    );
}

#[test]
#[ignore = "needs a cluster"]
fn logs_of_many_services_come_in_the_order_of_time() {
    let platform = Platform::running();
    let all = lines(&platform.succeed(&[
        "logs",
        "agent-engine",
        "model-adapter",
        "postgres",
        "--tail",
        "200",
        "-o",
        "json",
    ]));
    let names: std::collections::BTreeSet<&str> =
        all.iter().filter_map(|line| line["service"].as_str()).collect();
    assert!(
        names.contains("agent-engine") && names.contains("postgres"),
        "{names:?}"
    );
    let times: Vec<&str> = all.iter().filter_map(|line| line["time"].as_str()).collect();
    let parsed: Vec<k8s_openapi::jiff::Timestamp> =
        times.iter().map(|time| time.parse().expect("time")).collect();
    assert!(parsed.is_sorted(), "lines are in the order of time");
    let sidecar =
        lines(&platform.succeed(&["logs", "agent-engine", "--sidecar", "--tail", "5", "-o", "json"]));
    assert!(sidecar.iter().all(|line| line["container"] == "istio-proxy") && !sidecar.is_empty());
    assert!(
        platform
            .succeed(&["logs", "agent-engine", "--since", "1s", "--tail", "0"])
            .is_empty()
    );
    let wrong = platform.run(&["logs", "agent-engin"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("did you mean `agent-engine`?"));
}

#[test]
#[ignore = "needs a cluster"]
fn silence_is_a_failure_that_says_why() {
    let platform = Platform::running();
    for (args, why) in [
        (&["logs", "postgres", "--sidecar"][..], "istio-proxy"),
        (&["logs", "agent-engine", "-c", "nobody"], "nobody"),
        (
            &["check", "connectivity", "agent-engine", "agent-engine"],
            "nobody else",
        ),
        (
            &["config", "history", "agent-engin"],
            "did you mean `agent-engine`?",
        ),
        (
            &["secret", "history", "agent-engin"],
            "did you mean `agent-engine`?",
        ),
    ] {
        let output = platform.run(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
    let own = platform.succeed(&["logs", "agent-engine", "-c", "agent-engine", "--tail", "1"]);
    assert!(own.contains("agent-engine"), "{own}");
    let page = platform.json(&["describe", "metrics-server", "-o", "json"]);
    assert_eq!(
        page["namespace"], "kube-system",
        "status shows it, so the others know it"
    );
    let events = platform.json(&["events", "postgres", "-o", "json"]);
    let exporters = events.as_array().expect("events").iter();
    assert_eq!(
        exporters
            .filter(|one| one["object"].to_string().contains("exporter"))
            .count(),
        0
    );
}

#[test]
#[ignore = "needs a cluster"]
fn watched_events_are_one_json_object_a_line() {
    let platform = Platform::running();
    let mut child = platform
        .command(&["events", "-w", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("vadev starts");
    let out = BufReader::new(child.stdout.take().expect("stdout"));
    let some: Vec<String> = out.lines().map_while(Result::ok).take(3).collect();
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert!(lines(&some.join("\n")).iter().all(Value::is_object), "{some:?}");
}

#[test]
#[ignore = "needs a cluster"]
fn followed_logs_go_on_in_pods_that_come() {
    let platform = Platform::running();
    let mut child = platform
        .command(&["logs", "voice-engine", "-f", "--tail", "0", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("vadev starts");
    let out = BufReader::new(child.stdout.take().expect("stdout"));
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut pods = std::collections::BTreeSet::new();
    eventually("a line of the new pod", || {
        // The first may come before the follower has looked: then its pod is one of those whose past is left out.
        platform.succeed(&["restart", "voice-engine"]);
        while let Ok(line) = receiver.recv_timeout(std::time::Duration::from_secs(5)) {
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["message"]
                .as_str()
                .is_some_and(|message| message.contains("stand-in starts"))
            {
                pods.insert(line["pod"].to_string());
            }
        }
        (!pods.is_empty()).then_some(())
    });
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
#[ignore = "needs a cluster"]
fn one_page_describes_a_service() {
    let platform = Platform::running();
    let page = platform.json(&["describe", "agent-engine", "-o", "json"]);
    assert_eq!(page["ready"], page["replicas"], "{page:#}");
    assert_eq!(page["config"]["SERVICE_NAME"], "agent-engine");
    assert!(page["secretKeys"].to_string().contains("REDIS_PASSWORD"));
    assert!(
        page["mesh"]["sidecars"].as_u64() >= Some(1) && page["mesh"]["mtls"] == "STRICT",
        "{page:#}"
    );
    assert!(
        page["mesh"]["objects"]
            .to_string()
            .contains("DestinationRule/agent-engine")
    );
    assert!(page["probes"].to_string().contains("/health"));
    assert!(page.get("diagnosis").is_none());
    let shown = platform.succeed(&["describe", "postgres"]);
    assert!(shown.contains("Pods") && shown.contains("postgres-0"), "{shown}");
}

#[test]
#[ignore = "needs a cluster"]
fn exec_passes_input_output_and_exit_code_on() {
    let platform = Platform::running();
    let mut child = platform
        .command(&["exec", "redis", "--", "sh", "-c", "cat; echo oops >&2; exit 7"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vadev starts");
    let payload: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let mut stdin = child.stdin.take().expect("stdin");
    let sent = payload.clone();
    std::thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output().expect("output");
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(
        output.stdout == payload,
        "every byte came back: {} of {}",
        output.stdout.len(),
        payload.len()
    );
    assert!(text(&output.stderr).contains("oops"));
}

/// `script` gives vadev a terminal of its own, as large as it is told.
#[test]
#[ignore = "needs a cluster"]
fn exec_on_a_terminal_gives_the_command_one() {
    let platform = Platform::running();
    // The size follows the command's start.
    let asks = "import os, sys, time\nfor _ in range(100):\n    size = os.get_terminal_size()\n    if size[0] == 97: break\n    time.sleep(0.05)\n\
                print(sys.stdin.isatty(), *size, \"answer:\")\nprint(\"heard\", input())\nsys.exit(5)";
    let line = format!(
        "stty rows 31 cols 97; exec '{}' exec agent-engine -- python3 -c '{asks}'",
        env!("CARGO_BIN_EXE_vadev")
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(&platform.workspace)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let mut stdin = child.stdin.take().expect("stdin");
    let mut shown = String::new();
    let mut screen = BufReader::new(child.stdout.take().expect("stdout"));
    while !shown.contains("answer:") {
        assert!(screen.read_line(&mut shown).expect("a screen") > 0, "{shown}");
    }
    assert!(shown.contains("True 97 31 answer:"), "{shown}");
    stdin.write_all(b"me\n").expect("typed");
    screen.read_to_string(&mut shown).expect("a screen");
    assert!(shown.contains("heard me"), "{shown}");
    assert_eq!(child.wait().expect("ends").code(), Some(5), "{shown}");
}

#[test]
#[ignore = "needs a cluster"]
fn habits_of_kubectl_are_understood() {
    let platform = Platform::running();
    let plain = platform.succeed(&["exec", "redis", "echo", "-n", "hello"]);
    assert_eq!(plain, "hello");
    let flags = platform.succeed(&["exec", "-it", "redis", "--", "echo", "hello"]);
    assert_eq!(flags.trim(), "hello");
    let routes = |args: &[&str]| platform.json(&[&["proxy-config"][..], args, &["-o", "json"]].concat());
    let found = routes(&["routes", "agent-engine"]);
    assert_eq!(
        found.as_array().map(Vec::len),
        routes(&["agent-engine", "routes"]).as_array().map(Vec::len)
    );
    let dump = platform.succeed(&["proxy-config", "agent-engine", "dump", "-o", "yaml"]);
    assert!(dump.starts_with("configs:"), "{}", &dump[..dump.len().min(200)]);
}

#[test]
#[ignore = "needs a cluster"]
fn top_works_with_and_without_metrics_server() {
    let platform = Platform::running();
    let top = eventually("figures of postgres", || {
        let top = platform.json(&["top", "-o", "json"]);
        let usage = top["usage"].as_array().expect("usage").clone();
        usage
            .into_iter()
            .find(|one| one["name"] == "postgres-0" && one["memoryBytes"].as_u64() > Some(1_000_000))
    });
    assert!(
        top["memoryLimitBytes"].as_u64() > top["memoryBytes"].as_u64(),
        "{top:#}"
    );
    let nodes = platform.json(&["top", "nodes", "-o", "json"]);
    assert!(
        nodes["usage"][0]["memoryBytes"].as_u64() > Some(100_000_000),
        "{nodes:#}"
    );
}

#[test]
#[ignore = "needs a cluster"]
fn events_are_newest_first() {
    let platform = Platform::running();
    platform.succeed(&["restart", "multimodal-engine"]);
    let events = platform.json(&["events", "multimodal-engine", "-o", "json"]);
    let events = events.as_array().expect("events");
    assert!(
        events
            .iter()
            .any(|event| event["reason"] == "Started" || event["reason"] == "Created"),
        "{events:#?}"
    );
    let times: Vec<k8s_openapi::jiff::Timestamp> = events
        .iter()
        .map(|event| event["time"].as_str().expect("time").parse().expect("time"))
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b));
}
