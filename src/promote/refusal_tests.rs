//! What the checks refuse, and what they let pass.

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::check::Known;
use super::tests::{environment, stack_of, tree_of};
use super::*;

/// Changes one object of the tree and returns the rules that find something.
fn refused(kind: &str, change: impl Fn(&mut Value)) -> Vec<&'static str> {
    let mut tree = tree_of("minimal");
    let object = tree
        .files
        .values_mut()
        .flatten()
        .find(|object| object["kind"] == kind)
        .expect("an object");
    change(object);
    let known = Known {
        development_secrets: vec!["0123456789abcdef".to_owned()],
        development_issuer: "vadev.dev/development".to_owned(),
        registry: None,
    };
    let findings = check(&tree, &known);
    assert!(
        findings
            .iter()
            .all(|one| !one.file.is_empty() && !one.field.is_empty() && !one.remedy.is_empty())
    );
    assert!(
        !format!("{findings:?}").contains("0123456789abcdef"),
        "a value is shown"
    );
    findings.iter().map(|finding| finding.rule).collect()
}

/// As [`refused`], of a service's container.
fn container(change: fn(&mut Value)) -> Vec<&'static str> {
    refused("Deployment", |object| {
        change(&mut object["spec"]["template"]["spec"]["containers"][0]);
    })
}

#[test]
fn what_must_not_reach_production_is_refused_one_by_one() {
    assert_eq!(
        container(|c| c["image"] = json!("ghcr.io/x/y:1.0.0")),
        ["image-not-pinned"]
    );
    assert_eq!(
        container(|c| c["image"] = json!("ghcr.io/x/y")),
        ["image-not-pinned"]
    );
    assert_eq!(
        container(|c| c["image"] = json!("ghcr.io/x/y:latest")),
        ["image-not-pinned"]
    );
    assert_eq!(
        container(|c| c["image"] = json!(format!("ghcr.io/x/y:dev@sha256:{}", "0".repeat(64)))),
        ["development-tag"]
    );
    assert_eq!(
        container(|c| c["image"] = json!("vadev.local/redis:7.0")),
        ["local-image"]
    );
    assert_eq!(
        container(|c| c["image"] = json!("vadev.local/vadev-agent:0.1.0")),
        ["stand-in"]
    );
    assert_eq!(
        container(|c| c["securityContext"]["privileged"] = json!(true)),
        ["privileged"]
    );
    assert_eq!(
        container(|c| c["env"] = json!([{ "name": "DB_PASSWORD", "value": "hush" }])),
        ["password-in-tree"]
    );
    assert_eq!(
        container(|c| c["env"] = json!([{ "name": "X", "value": "y0123456789abcdefz" }])),
        ["development-password"]
    );
    assert_eq!(
        container(|c| c["env"] = json!([{ "name": "VADEV_FAULTS", "value": "1" }])),
        ["development-setting"]
    );
    assert_eq!(container(|c| c["resources"] = json!({})).len(), 3);
    assert_eq!(
        refused("Deployment", |o| o["spec"]["template"]["spec"]["volumes"] =
            json!([{ "name": "h", "hostPath": { "path": "/" } }])),
        ["host-path"]
    );
    assert_eq!(
        refused("Deployment", |o| o["spec"]["template"]["spec"]["hostNetwork"] =
            json!(true)),
        ["host-access"]
    );
    assert_eq!(
        refused("Service", |o| o["spec"]["type"] = json!("NodePort")),
        ["open-service"]
    );
    assert_eq!(
        refused("ConfigMap", |o| o["data"]["LOG_LEVEL"] = json!("debug")),
        ["debug-setting"]
    );
    assert_eq!(
        refused("ConfigMap", |o| o["data"]["k"] =
            json!("-----BEGIN PRIVATE KEY-----\nx")),
        ["private-key"]
    );
    assert_eq!(
        refused("ConfigMap", |o| o["kind"] = json!("Secret")),
        ["secret-in-tree"]
    );
    assert_eq!(
        refused("RequestAuthentication", |o| o["spec"]["jwtRules"][0] =
            json!({ "issuer": "vadev.dev/development", "jwks": "{}" })),
        ["development-key", "development-key"]
    );
    assert_eq!(
        refused("PeerAuthentication", |o| o["spec"]["mtls"]["mode"] =
            json!("PERMISSIVE")),
        ["mtls-not-strict"]
    );
    assert_eq!(
        refused("Gateway", |o| o["spec"]["servers"][0]["hosts"] = json!(["*"])),
        ["any-host"]
    );
}

#[test]
fn without_an_issuer_the_tree_is_refused() {
    let mut environment = environment();
    environment.tokens = None;
    let stack = stack_of("minimal", None, &[]);
    let tree = tree(&stack, &environment, Target::default(), &IndexMap::new());
    let rules: Vec<_> = check(&tree, &Known::default())
        .into_iter()
        .map(|finding| finding.rule)
        .collect();
    assert_eq!(rules, ["no-token-issuer"]);
}

#[test]
fn passwords_and_debugging_are_found_wherever_they_stand() {
    assert_eq!(
        container(|c| c["env"] = json!([{ "name": "DATABASE_URL", "value": "postgres://u:p@h/db" }])),
        ["password-in-tree"]
    );
    assert_eq!(
        container(|c| c["env"] = json!([{ "name": "SIGNING_SEED", "value": "abc" }])),
        ["password-in-tree"]
    );
    assert_eq!(
        container(|c| c["args"] = json!(["serve", "--requirepass", "hush"])),
        ["password-in-tree"]
    );
    assert_eq!(
        container(|c| c["command"] = json!(["serve", "--db-password=hush"])),
        ["password-in-tree"]
    );
    assert_eq!(
        container(|c| c["env"] = json!([{ "name": "FLASK_DEBUG", "value": "1" }])),
        ["debug-setting"]
    );
    assert_eq!(
        container(|c| c["args"] = json!(["serve", "--log-level=debug"])),
        ["debug-setting"]
    );
    assert_eq!(
        container(|c| c["args"] = json!(["serve", "--log.level", "trace"])),
        ["debug-setting"]
    );
    assert_eq!(
        container(|c| c["env"] =
            json!([{ "name": "JAVA_TOOL_OPTIONS", "value": "-agentlib:jdwp=transport=dt_socket" }])),
        ["debug-setting"]
    );
    assert_eq!(
        container(|c| c["image"] = json!(format!("ghcr.io/x/y:1.1.0-SNAPSHOT@sha256:{}", "0".repeat(64)))),
        ["development-tag"]
    );
    // References, figures and switches are no secrets, and a level that is fit for production is no finding.
    assert_eq!(
        container(|c| {
            c["args"] = json!([
                "serve",
                "--requirepass",
                "$(P)",
                "--log-level=info",
                "--token-ttl",
                "1h"
            ]);
            c["env"] = json!([
                { "name": "URL", "value": "redis://:$(P)@redis:6379" }, { "name": "RANDOM_SEED", "value": "42" },
                { "name": "APP_DEBUG", "value": "false" }, { "name": "TOKEN_TTL", "value": "1h" },
                { "name": "P_PASSWORD", "valueFrom": { "secretKeyRef": { "name": "a-secret", "key": "password" } } },
            ]);
        }),
        Vec::<&str>::new()
    );
    assert_eq!(
        refused("ConfigMap", |o| o["data"]["etc__alertmanager.yml"] =
            json!("global:\n  smtp_auth_password: hush\n")),
        ["password-in-tree"]
    );
}

#[test]
fn an_object_is_in_the_tree_once() {
    let mut tree = tree_of("minimal");
    let mut again = tree.files["deploy-all.yaml"][0].clone();
    again["apiVersion"] = json!("v1");
    tree.files["istio/gateway.yaml"].push(again);
    let findings = check(&tree, &Known::default());
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        (findings[0].rule, findings[0].file.as_str()),
        ("object-twice", "istio/gateway.yaml")
    );
    assert!(findings[0].problem.contains("deploy-all.yaml"), "{findings:?}");
}

#[test]
fn settings_tell_by_name_and_value_whether_they_are_for_production() {
    let of = |key: &str, value: &str| refused("ConfigMap", |object| object["data"][key] = json!(value));
    for (key, value, rule) in [
        ("DEBUG", "app:*", "debug-setting"),
        ("DEBUG", "verbose", "debug-setting"),
        ("APP_DEBUG", "2", "debug-setting"),
        ("LOG", "app=debug", "debug-setting"),
        ("LOG", "trace", "debug-setting"),
        ("GODEBUG", "gctrace=1", "debug-setting"),
        ("PROFILE", "dev", "debug-setting"),
        ("APP_PROFILE", "development", "debug-setting"),
        ("STRIPE_KEY", "a1b2c3d4e5f6", "password-in-tree"),
        (
            "SENDER",
            "SG.abcdefghijklmnop.qrstuvwxyz0123456789",
            "password-in-tree",
        ),
        ("CONNECTION", "Server=db;Uid=sa;Pwd=hush;", "password-in-tree"),
        ("PGP", "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx", "private-key"),
    ] {
        assert_eq!(of(key, value), [rule], "{key}={value}");
    }
    for (key, value) in [
        ("DEBUG", "false"),
        ("DEBUG", "0"),
        ("DEBUG_PORT", "9229"),
        ("LOG", "info"),
        ("GODEBUG", "http2client=0,netdns=go"),
        ("GODEBUG", "gctrace=0"),
        ("PROFILE", "prod"),
        ("CACHE_KEY", "sessions-v2"),
    ] {
        assert_eq!(of(key, value), Vec::<&str>::new(), "{key}={value}");
    }
}
