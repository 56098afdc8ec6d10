//! Data on stdout, progress on stderr, colour only where it is wanted, pipes that close, Ctrl+C.

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;

use super::{Place, stderr, stdout};

#[test]
fn colour_only_where_it_is_wanted() {
    let place = Place::new();
    let wrong = ["profile", "show", "x"];
    assert!(!stderr(&place.run(&wrong)).contains('\u{1b}'));
    let always = place.vadev(&wrong).env("VADEV_COLOR", "always").output().unwrap();
    assert!(stderr(&always).contains("\u{1b}[31merror:\u{1b}[0m"));
    let never = place
        .vadev(&["--color", "never", "profile", "list"])
        .env("VADEV_COLOR", "always")
        .output()
        .unwrap();
    assert!(!stdout(&never).contains('\u{1b}'));
    let no_color = place
        .vadev(&["profile", "list"])
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(!stdout(&no_color).contains('\u{1b}'));
}

#[test]
fn flags_have_environment_variables() {
    let place = Place::new();
    let output = place
        .vadev(&["render", "-o", "json"])
        .env("VADEV_PROFILE", "minimal")
        .output()
        .unwrap();
    let objects: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(objects[0]["metadata"]["labels"]["vadev.dev/profile"], "minimal");
    let output = place
        .vadev(&["supply", "prune", "--all"])
        .env("VADEV_YES", "0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(8));
}

#[test]
fn data_can_be_read_by_programs() {
    let place = Place::new();
    let profiles: serde_json::Value =
        serde_json::from_str(&stdout(&place.run(&["profile", "list", "-o", "json"]))).unwrap();
    assert!(
        profiles
            .as_array()
            .unwrap()
            .iter()
            .any(|profile| profile["name"] == "dev")
    );
    let schema: serde_json::Value =
        serde_json::from_str(&stdout(&place.run(&["schema", "workspace"]))).unwrap();
    assert!(schema["properties"]["extraServices"].is_object(), "{schema}");
    assert!(place.run(&["schema"]).status.success());
}

#[test]
fn render_writes_files_and_tells_on_stderr() {
    let place = Place::with("apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n");
    let output = place.run(&["render", "--out", "manifests", "--only", "postgres"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).contains("files in manifests"));
    let written = std::fs::read_to_string(place.path().join("manifests/postgres.yaml")).unwrap();
    assert!(
        written.contains("kind: StatefulSet") && written.contains("vadev.dev/workspace: shop"),
        "{written}"
    );
}

#[test]
fn progress_as_json_lines() {
    let output = Place::new().run(&["--progress", "json", "doctor"]);
    let text = stderr(&output);
    let first = text.lines().next().unwrap_or_default();
    let event: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(
        (&event["event"], &event["id"]),
        (&"started".into(), &"doctor".into()),
        "{text}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("vadev"))
        .args(["render"])
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut byte = [0];
    child.stdout.take().unwrap().read_exact(&mut byte).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

/// An engine that accepts connections and never answers keeps the doctor busy for as long as the test needs.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_cleanly_and_says_so() {
    let place = Place::new();
    let engine = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("tcp://{}", engine.local_addr().unwrap());
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("vadev"))
        .args(["doctor", "--progress", "plain"])
        .current_dir(place.path())
        .env("DOCKER_HOST", host)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _connection = engine.accept().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(
        text.contains("✘ Look the machine over") && text.contains("interrupted: "),
        "{text}"
    );
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_failure_in_json_is_the_last_line_after_progress() {
    let place = Place::new();
    let output = place.run(&["doctor", "-o", "json"]);
    let text = stderr(&output);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap();
    assert_eq!(last["error"]["exitCode"], 9, "{text}");
    // Data that there is comes whole, failure or not.
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["healthy"], false);
}
