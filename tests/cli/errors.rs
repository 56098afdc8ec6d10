//! Errors say what, why and the next command, and exit with the code of their family.

use super::{Place, stderr, stdout};

#[test]
fn misspelt_names_are_answered_with_the_nearest() {
    let place = Place::new();
    for (arguments, meant) in [
        (&["doctr"][..], "doctor"),
        (&["render", "--ouptut", "json"], "--output"),
        (&["profile", "show", "minimul"], "minimal"),
        (&["render", "-p", "minimul"], "minimal"),
        (&["render", "--only", "agent-engin"], "agent-engine"),
        (&["render", "rag-engin"], "rag-engine"),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(meant),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}

/// What is misspelt is told before there is a cluster that could be asked for it.
#[test]
fn a_misspelt_service_is_told_without_a_cluster() {
    let place = Place::new();
    for arguments in [
        &["logs", "agent-engin"][..],
        &["describe", "agent-engin"],
        &["exec", "agent-engin", "--", "true"],
        &["events", "agent-engin"],
        &["restart", "redis", "agent-engin"],
        &["rollout", "status", "agent-engin"],
        &["rollout", "undo", "agent-engin"],
        &["scale", "agent-engin", "2", "--no-save"],
        &["hpa", "show", "agent-engin"],
        &["secret", "list", "agent-engin"],
        &["config", "get", "agent-engin"],
        &["proxy-config", "agent-engin"],
        &["check", "connectivity", "redis", "agent-engin"],
    ] {
        let output = place.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("did you mean `agent-engine`?"),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
    // A good name is none of this, and neither is what only the cluster can know.
    let output = place.run(&["logs", "istiod"]);
    assert_ne!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn an_error_for_people_and_the_same_for_programs() {
    let place = Place::new();
    insta::assert_snapshot!(
        "unknown-profile",
        stderr(&place.run(&["profile", "show", "minimul"]))
    );
    let output = place.run(&["profile", "show", "minimul", "-o", "json"]);
    assert_eq!(stdout(&output), "");
    insta::assert_snapshot!("unknown-profile-json", stderr(&output));
    let error: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(error["error"]["exitCode"], 2);
}

#[test]
fn a_wrong_workspace_file_is_shown_with_its_place() {
    let place = Place::with("apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\nservces: {}\n");
    let output = place.run(&["render"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("vadev.yaml:4:") && text.contains("servces"),
        "{text}"
    );
}

#[test]
fn a_missing_workspace_file_is_named() {
    let output = Place::new().run(&["-f", "shop.yaml", "render"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("shop.yaml"), "{}", stderr(&output));
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
}

#[test]
fn without_a_terminal_nothing_is_asked_and_nothing_done() {
    let output = Place::new().run(&["supply", "prune", "--all"]);
    assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
    assert!(stderr(&output).contains("--yes"), "{}", stderr(&output));
}

#[test]
fn without_an_engine_the_cause_is_told() {
    let output = Place::new().run(&["supply", "build", "redis"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("/nonexistent/docker.sock"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
}

#[test]
fn contradicting_flags_are_refused() {
    let place = Place::new();
    for arguments in [
        &["-q", "-v", "profile", "list"][..],
        &["render", "--out", "x", "-o", "json"],
    ] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let output = place.run(&["doctor", "--http-port", "8443"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("8443"), "{}", stderr(&output));
}

#[test]
fn looking_without_an_engine_says_why_and_writes_nothing() {
    let place = Place::new();
    for arguments in [
        &["status"][..],
        &["verify"],
        &["down", "--yes"],
        &["up", "--dry-run"],
    ] {
        let output = place.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(3),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains("/nonexistent/docker.sock"),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            !place.path().join(".vadev").exists(),
            "{arguments:?} left a state folder"
        );
    }
}

#[test]
fn a_profile_that_cannot_fit_is_refused_with_a_table() {
    let place = Place::new();
    let output = place.run(&[
        "up",
        "-p",
        "prod",
        "--dry-run",
        "--cpus",
        "1",
        "--set",
        "postgres.requests.memory=9Ti",
    ]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("available") && stderr(&output).contains("postgres"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_command_line_that_is_wrong_is_told_to_programs_as_json() {
    let place = Place::new();
    for (arguments, hint) in [
        (&["statuss", "-o", "json"][..], "'status'"),
        (&["status", "--nope", "--output=json"], "--help"),
        (&["scale", "agent-engine", "-1", "-ojson"], "--help"),
        (&["verify", "--msh", "-o", "yaml"], "'--mesh'"),
    ] {
        let output = place.run(arguments);
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            (Some(2), ""),
            "{arguments:?}"
        );
        let error: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
        assert_eq!(error["error"]["family"], "usage", "{error}");
        assert!(error["error"]["hint"].as_str().unwrap().contains(hint), "{error}");
        assert!(
            !error["error"]["message"].as_str().unwrap().starts_with("error"),
            "{error}"
        );
    }
    let output = place.run(&["exec", "--nope", "agent-engine", "--", "x", "-o", "json"]);
    assert!(stderr(&output).starts_with("error: "), "{}", stderr(&output));
}

#[test]
fn amounts_that_cannot_be_meant_are_refused_with_what_probably_is() {
    let place = Place::new();
    for (arguments, told) in [
        (
            &["profile", "show", "minimal", "--memory", "24"][..],
            "write 24Mi or 24Gi",
        ),
        (
            &["profile", "show", "minimal", "--memory", "24GB"],
            "did you mean 24Gi?",
        ),
        (
            &["profile", "show", "minimal", "--memory", "-1"],
            "`-1` is not an amount of memory",
        ),
        (&["render", "--cpus", "0"], "no CPU at all"),
        (
            &["render", "--set", "agent-engine.limits.memory=24"],
            "write 24Mi or 24Gi",
        ),
        (
            &["render", "--set", "agent-engine.image=Not an image"],
            "is no image such as",
        ),
        (&["scale", "agent-engine", "-1"], "-1 is not in 0..=50"),
        (&["token", "--ttl", "0"], "never good"),
    ] {
        let output = place.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(told),
            "{arguments:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn every_problem_of_a_file_comes_at_once() {
    let place = Place::with(
        "\u{feff}apiVersion: vadev.dev/v1\r\nkind: Workspace\r\nname: My_Shop\r\nprofle: dev\r\nservices:\r\n  \
         agent-engine: &a { replicas: 1.5, config: { A: 1 } }\r\n  rag-engine: *a\r\n  voice-engine:\r\n",
    );
    let output = place.run(&["render"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    let shown = stderr(&output).replace(&place.path().display().to_string(), "SHOP");
    insta::assert_snapshot!("every-problem-of-a-file", shown);
}

#[test]
fn an_environment_that_a_cluster_would_refuse_is_told_with_its_places() {
    let place = Place::new();
    let text = "apiVersion: vadev.dev/v1\nkind: Environment\nname: production\nhosts: ['https://api.example.com']\n\
                images: { agent-engin: 'x' }\noverrides: { redis: { replicas: 2 } }\n";
    std::fs::write(place.path().join("prod.yaml"), text).unwrap();
    let output = place.run(&["promote", "-p", "prod", "--env", "prod.yaml", "--check"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    for told in [
        "prod.yaml:4:9",
        "write api.example.com",
        "prod.yaml:5:11",
        "did you mean `agent-engine`?",
    ] {
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    }
    let output = place.run(&["promote", "--env", "none.yaml", "--check"]);
    assert!(
        stderr(&output).contains("the folder that you are in"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_folder_is_checked_as_it_is_on_disk() {
    let place = Place::new();
    let file = place.path().join("k8s/mine/x.yaml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { DEBUG: '*' }\n---\n\
                apiVersion: v1\nkind: List\nitems: [{ apiVersion: v1, kind: Secret, metadata: { name: b } }]\n";
    std::fs::write(&file, text).unwrap();
    let output = place.run(&["promote", "--check", "k8s"]);
    assert_eq!(output.status.code(), Some(9), "{}", stderr(&output));
    for told in ["mine/x.yaml: ConfigMap/a: data.DEBUG", "mine/x.yaml: Secret/b"] {
        assert!(stdout(&output).contains(told), "{told}: {}", stdout(&output));
    }
    let output = place.run(&["promote", "--check", "k8s", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&report["folder"], &report["ok"]), (&"k8s".into(), &false.into()));
    for (arguments, told) in [
        (
            &["promote", "--check", "nowhere"][..],
            "there is no folder nowhere",
        ),
        (&["promote", "--check", "--out", "k8s"], "cannot be used with"),
        (
            &["promote", "--check", "--kube-version", "99.1"],
            "Kubernetes 99.1 is unknown",
        ),
        (
            &["promote", "--env", "k8s", "--check"],
            "it is a folder: name a file in it",
        ),
    ] {
        let output = place.run(arguments);
        assert_eq!(
            output.status.code().filter(|code| *code != 8),
            (!told.contains("unknown")).then_some(2)
        );
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    }
    std::fs::write(&file, "metadata: [\n").unwrap();
    let output = place.run(&["promote", "--check", "k8s"]);
    assert!(stderr(&output).contains("k8s/mine/x.yaml"), "{}", stderr(&output));
}

#[test]
fn dev_without_a_source_leaves_nothing_behind() {
    let place = Place::new();
    let output = place.run(&["dev"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(!place.path().join(".vadev").exists());
}

#[test]
fn an_empty_bundle_is_not_written() {
    let place = Place::new();
    let output = place.run(&["bundle", "create", "x.bundle"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("nothing to write"),
        "{}",
        stderr(&output)
    );
    assert!(!place.path().join("x.bundle").exists());
}

#[test]
fn a_database_is_not_run_several_times() {
    let place = Place::with(
        "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\ninfrastructure: { postgres: { replicas: 3 } }\n",
    );
    let output = place.run(&["render"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("vadev.yaml:4:41"), "{}", stderr(&output));
    let place = Place::new();
    for arguments in [
        &["render", "--set", "postgres.replicas=3"][..],
        &["scale", "postgres", "3", "--no-save"],
        &["hpa", "set", "redis", "--max", "3"],
    ] {
        let output = place.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(stderr(&output).contains("it runs once"), "{}", stderr(&output));
    }
}

#[test]
fn an_engine_of_ones_own_is_not_vadevs_to_mend() {
    let output = Place::new().run(&["status"]);
    assert!(!stderr(&output).contains("doctor --fix"), "{}", stderr(&output));
}

#[test]
fn habits_of_kubectl_are_no_usage_errors() {
    let place = Place::new();
    for habit in [
        &["exec", "-it", "redis", "--", "sh"][..],
        &["exec", "redis", "redis-cli", "-n", "1", "info"],
        &["rollout", "restart", "agent-engine"],
        &["proxy-config", "routes", "agent-engine"],
    ] {
        let output = place.run(habit);
        assert_ne!(output.status.code(), Some(2), "{habit:?}: {}", stderr(&output));
    }
    let alone = place.run(&["proxy-config", "routes"]);
    assert!(
        stderr(&alone).contains("proxy-config agent-engine routes"),
        "{}",
        stderr(&alone)
    );
}
