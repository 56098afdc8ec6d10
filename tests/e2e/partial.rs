//! Less than the whole: flags that leave parts of the platform alone, and verbs that take only some of it away.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::data;
use crate::harness::{HTTP_PORT, PATIENCE, Platform, UP, block_on, get, text};

const APPS: &str = "voiceassistant-prod";
const INFRA: &str = "voiceassistant-infra";

/// `up` with more flags; its report.
fn up(platform: &Platform, flags: &[&str]) -> Value {
    platform.json(&[&UP[..1], flags, &UP[1..]].concat())
}

/// One drifted object on either side, which harms nobody.
fn disturb(platform: &Platform) {
    block_on(async {
        let client = platform.connect().await.client();
        for (namespace, name) in [(APPS, "rag-engine"), (INFRA, "redis")] {
            let services: Api<Service> = Api::namespaced(client.clone(), namespace);
            let patch = Patch::Merge(json!({ "metadata": { "labels": { "app": "disturbed" } } }));
            services
                .patch(name, &PatchParams::default(), &patch)
                .await
                .expect("patch");
        }
    });
}

fn steps(report: &Value) -> Vec<String> {
    let plan = report["plan"].as_array().expect("plan");
    plan.iter()
        .map(|step| step["id"].as_str().expect("id").to_owned())
        .collect()
}

#[test]
#[ignore = "needs a cluster"]
fn a_part_is_mended_and_the_rest_left_alone() {
    let platform = Platform::running();
    disturb(&platform);
    let report = up(&platform, &["--only", "core-storage"]);
    assert_eq!(steps(&report), ["apply/redis"], "{:#}", report["plan"]);
    assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
    disturb(&platform);
    let report = up(&platform, &["--skip-infra"]);
    assert_eq!(steps(&report), ["apply/rag-engine"], "{:#}", report["plan"]);
    assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
    let report = up(&platform, &["--only", "rag-engine", "--only", "redis"]);
    assert_eq!(steps(&report), ["apply/redis"], "{:#}", report["plan"]);
    assert_eq!(platform.up()["changed"], false);
}

#[test]
#[ignore = "needs a cluster"]
fn an_istio_that_is_there_stays_as_it_is_when_it_is_skipped() {
    let platform = Platform::running();
    let report = up(&platform, &["--skip-istio"]);
    assert_eq!(report["changed"], false, "{:#}", report["plan"]);
    assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
    assert_eq!(
        get(&format!("http://127.0.0.1:{HTTP_PORT}/health")).0,
        200,
        "routes and gateway are there"
    );
    assert_eq!(platform.up()["changed"], false);
}

#[test]
#[ignore = "needs a cluster"]
fn without_waiting_things_are_applied_and_nothing_more() {
    let platform = Platform::running();
    disturb(&platform);
    let report = up(&platform, &["--no-wait"]);
    assert_eq!(report["changed"], true);
    assert!(report["verify"].is_null(), "{:#}", report["verify"]);
    let report = platform.up();
    assert_eq!(report["changed"], false, "{:#}", report["plan"]);
}

#[test]
#[ignore = "needs a cluster"]
fn verifying_alone_changes_nothing_whatever_it_finds() {
    let platform = Platform::running();
    let report = up(&platform, &["--verify-only"]);
    assert_eq!(
        (&report["changed"], &report["verify"]["ok"]),
        (&json!(false), &json!(true)),
        "{report:#}"
    );
    platform.succeed(&["scale", "voice-engine", "0", "--no-save"]);
    let replicas = || {
        block_on(async {
            let deployments: Api<Deployment> = Api::namespaced(platform.connect().await.client(), APPS);
            let found = deployments.get("voice-engine").await.expect("voice-engine");
            found.spec.and_then(|spec| spec.replicas)
        })
    };
    let args = [
        "up",
        "--verify-only",
        "--http-port",
        "28080",
        "--https-port",
        "28443",
        "--timeout",
        "15s",
    ];
    let output = platform.run(&args);
    assert_eq!(output.status.code(), Some(9), "{}", text(&output.stderr));
    assert_eq!(replicas(), Some(0), "it is found, and left");
    assert_eq!(platform.up()["verify"]["ok"], true);
    assert_eq!(replicas(), Some(1));
}

#[test]
#[ignore = "needs a cluster"]
fn down_apps_leaves_the_infrastructure_running_with_its_data() {
    let platform = Platform::running();
    let mark = data::put(&platform);
    let store = || {
        block_on(async {
            let pods: Api<Pod> = Api::namespaced(platform.connect().await.client(), INFRA);
            pods.get("postgres-0").await.expect("postgres-0").metadata.uid
        })
    };
    let before = store();
    platform.succeed(&["down", "--apps", "--yes"]);
    let left = block_on(async {
        let deployments: Api<Deployment> = Api::namespaced(platform.connect().await.client(), APPS);
        let left = deployments
            .list(&kube::api::ListParams::default())
            .await
            .expect("list");
        left.items
            .into_iter()
            .filter_map(|one| one.metadata.name)
            .collect::<Vec<_>>()
    });
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(store(), before, "the same pod runs on");
    data::is_there(&platform, &mark);
    assert_eq!(platform.up()["verify"]["ok"], true);
    assert_eq!(store(), before);
    data::is_there(&platform, &mark);
}

#[test]
#[ignore = "needs a cluster"]
fn a_watched_status_shows_what_changes() {
    let platform = Platform::running();
    let mut child = platform
        .command(&["status", "--watch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("vadev starts");
    let (sender, shown) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let sees = |ready: &str| {
        let row = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some("voice-engine") && words.next() == Some(ready)
        };
        while let Ok(line) = shown.recv_timeout(PATIENCE) {
            if row(&line) {
                return true;
            }
        }
        false
    };
    let first = sees("1/1");
    platform.succeed(&["scale", "voice-engine", "0", "--no-save"]);
    let second = sees("0/0");
    child.kill().expect("kill");
    child.wait().expect("wait");
    platform.restore();
    assert!(first && second, "first: {first}, then: {second}");
}

#[test]
#[ignore = "needs a container engine"]
fn the_doctor_mends_what_a_killed_program_left_behind() {
    let platform = Platform::running();
    let folder = tempfile::tempdir().expect("folder");
    let kubeconfig = folder.path().join("config");
    let lock = kubeconfig.with_extension("lock");
    let old = std::fs::File::create(&lock).expect("lock");
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    old.set_modified(hour_ago).expect("time");
    let doctor = |flags: &[&str]| {
        let mut command = platform.command(
            &[
                &[
                    "doctor",
                    "-o",
                    "json",
                    "--http-port",
                    "28080",
                    "--https-port",
                    "28443",
                ],
                flags,
            ]
            .concat(),
        );
        // Nothing else is to be mended here: what asks, is answered no.
        let output = command
            .env("KUBECONFIG", &kubeconfig)
            .output()
            .expect("vadev starts");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let checks = report["checks"].as_array().expect("checks").clone();
        let check = checks
            .into_iter()
            .find(|check| check["id"] == "kubeconfig")
            .expect("check");
        (check["state"] != "problem", report["fixes"].clone())
    };
    assert!(!doctor(&[]).0 && lock.exists(), "looking changes nothing");
    let (well, fixes) = doctor(&["--fix"]);
    assert!(well && !lock.exists(), "{fixes:#}");
    assert!(fixes.to_string().contains("kubeconfig"), "{fixes:#}");
}

#[test]
#[ignore = "needs a container engine"]
fn pruning_takes_what_a_killed_run_left_and_nothing_that_is_needed() {
    let platform = Platform::running();
    let cache = tempfile::tempdir().expect("folder");
    let blobs = cache.path().join("vadev/blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("folder");
    let stray = blobs.join("0".repeat(64));
    std::fs::write(&stray, "stray").expect("stray");
    let prune = |flags: &[&str]| {
        // A cache of its own, and no engine: the images on this machine are others' too.
        let mut command = platform.command(&[&["supply", "prune", "-o", "json"], flags].concat());
        command
            .env("XDG_CACHE_HOME", cache.path())
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        let output = command.output().expect("vadev starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(prune(&["--dry-run"]).contains(&"0".repeat(64)) && stray.exists());
    assert!(prune(&[]).contains("nothing refers to it") && !stray.exists());
    assert!(
        !prune(&[]).contains("nothing refers to it"),
        "a second time there is nothing"
    );
    // On this machine's own, what runs is needed.
    let doomed = platform
        .json(&["supply", "prune", "--dry-run", "-o", "json"])
        .to_string();
    let status = platform.json(&["status", "-o", "json"]);
    let packages = status["components"]
        .as_array()
        .expect("components")
        .iter()
        .filter(|one| one["source"] == "packages");
    for image in packages.filter_map(|one| one["image"].as_str()) {
        assert!(!doomed.contains(image), "{image} is in use: {doomed}");
    }
}
