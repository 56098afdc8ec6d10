//! The strict loader: everything wrong at once, each in its place.

use proptest::prelude::*;

use super::*;
use crate::failure::Diagnose;

const SERVICE: &str = "apiVersion: vadev.dev/v1
kind: Service
name: one
summary: A service
language: go
source: services/one
image: { repository: ghcr.io/x/one, version: 1.0.0 }
calls: [two]
stores: [postgre]
resources:
  requests: { cpu: 200m, memory: 256Mi }
  limits: { cpu: 100m, memory: 256Mi }
replicas: 2
autoscaling: { min: 2, max: 6, cpuPercent: 70 }
";

fn problems(text: &str) -> String {
    let files = overlay(
        embedded_files(),
        vec![("mine/services/one.yaml".into(), text.into())],
    );
    load(&files).expect_err("wrong").details().join("\n")
}

#[test]
fn names_and_figures_are_checked_in_their_places() {
    insta::assert_snapshot!(problems(SERVICE), @r"
    error: no service is called `two`
     --> mine/services/one.yaml:8:9
      |
    8 | calls: [two]
      |         ^^^
      = help: there are: agent-engine, ai-orchestrator, analytics-service, conversation-service, identity-service, indexing-service, knowledge-service, model-adapter, multimodal-engine, notification-service, one, rag-engine, retrieval-service, vector-store-adapter, voice-engine

    error: no system is called `postgre`
     --> mine/services/one.yaml:9:10
      |
    9 | stores: [postgre]
      |          ^^^^^^^
      = help: did you mean `postgres`?

    error: the cpu limit 100m is below the request 200m
      --> mine/services/one.yaml:12:18
       |
    12 |   limits: { cpu: 100m, memory: 256Mi }
       |                  ^^^^
    ");
}

#[test]
fn fields_and_types_come_all_at_once() {
    let text = SERVICE
        .replace("summary:", "sumary:")
        .replace("language: go", "language: golang")
        .replace("replicas: 2", "replicas: two\nport: 70000\nreplicas: 3")
        .replace("200m", "lots");
    insta::assert_snapshot!(problems(&text), @r"
    error: the file lacks the field `summary`
     --> mine/services/one.yaml:1:1
      |
    1 | apiVersion: vadev.dev/v1
      | ^
      = help: One line for people

    error: unknown field `sumary`
     --> mine/services/one.yaml:4:1
      |
    4 | sumary: A service
      | ^^^^^^
      = help: did you mean `summary`?

    error: `language` must be one of go, python, and is `golang`
     --> mine/services/one.yaml:5:11
      |
    5 | language: golang
      |           ^^^^^^
      = help: did you mean `go`?

    error: `cpu`: `lots` is not an amount of CPU such as 250m or 2
      --> mine/services/one.yaml:11:20
       |
    11 |   requests: { cpu: lots, memory: 256Mi }
       |                    ^^^^

    error: `replicas` must be a whole number, and is the text `two`
      --> mine/services/one.yaml:13:11
       |
    13 | replicas: two
       |           ^^^

    error: `port` is 70000, and must be at most 65535
      --> mine/services/one.yaml:14:7
       |
    14 | port: 70000
       |       ^^^^^

    error: `replicas` appears twice; first in line 13
      --> mine/services/one.yaml:15:1
       |
    15 | replicas: 3
       | ^^^^^^^^
    ");
}

#[test]
fn what_is_no_yaml_or_no_entry_says_where() {
    for (text, expected) in [
        ("", "one.yaml:1:1: the file is empty"),
        ("a: [1", "one.yaml:1:"),
        ("a: 1\n---\nb: 2\n", "a second YAML document"),
        (
            "kind: Servce\n",
            "`kind` must be one of Service, Infrastructure, Mesh, and is `Servce`",
        ),
        ("kind: &a Service\n", "anchors and aliases are not allowed here"),
        ("[]", "the field `kind` is missing"),
    ] {
        let error = load(&[("one.yaml".into(), text.into())]).expect_err(text);
        let shown = format!("{error}\n{}", error.details().join("\n"));
        assert!(shown.contains(expected), "{text:?}:\n{shown}");
    }
}

#[test]
fn carets_stand_under_wide_characters() {
    let text = SERVICE.replace("image: { repository", "image: { 仓库: x, repository");
    let shown = problems(&text);
    assert!(shown.contains("\n  |          ^^^^\n"), "{shown}");
}

#[test]
fn a_deep_file_is_refused_not_followed() {
    let error = load(&[("deep.yaml".into(), "[".repeat(100_000))]).expect_err("deep");
    assert!(error.to_string().contains("deep.yaml:1:"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        drop(load(&[("x.yaml".into(), text)]));
    }

    #[test]
    fn no_change_of_a_good_file_makes_it_panic(at in 0usize..400, with in "[-\\[\\]{}:,&*!|>'\"%@`#a0 \n\t~é]{0,4}") {
        let mut text = SERVICE.to_owned();
        let at = at.min(text.len());
        text.replace_range(at..(at + 1).min(text.len()), &with);
        if let Err(problems) = load(&[("x.yaml".into(), text)]) {
            drop(problems.details());
        }
    }
}
