//! Services built from source: what a change of the source becomes, what a bad one does not break, and images on their way
//! into nodes.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::Value;
use vadev::image::{Base, Built, Overlay, OverlayKind, Overlays, ship_appended};
use vadev::k8s::{Cluster, Forward, ForwardTarget, Scope, View};
use vadev::reload::Swap;
use vadev::report::Reporter;

use crate::harness::{CLUSTER, PATIENCE, Platform, UP, block_on, docker, eventually, text};
use crate::sample::edit;

const APPS: &str = "voiceassistant-prod";
const GO: (&str, &str, &str) = ("conversation-service", "main.go", "greeting = \"hello\"");
const PYTHON: (&str, &str, &str) = ("agent-engine", "agent_engine/greeting.py", "GREETING = \"hello\"");

/// What the service says of itself, asked in one of its pods; `Null` while none answers.
fn info(platform: &Platform, service: &str) -> Value {
    block_on(async {
        let cluster = platform.connect().await;
        ask_info(&cluster, service).await.unwrap_or(Value::Null)
    })
}

async fn ask_info(cluster: &Cluster, service: &str) -> Option<Value> {
    let target = ForwardTarget {
        namespace: APPS.into(),
        selector: format!("app={service}"),
        port: 8080,
    };
    let local = ([127, 0, 0, 1], 0).into();
    let forward = Forward::open(cluster, target, local, Reporter::silent())
        .await
        .ok()?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .ok()?;
    let answer = client
        .get(format!("http://{}/info", forward.local()))
        .send()
        .await
        .ok()?;
    serde_json::from_str(&answer.text().await.ok()?).ok()
}

fn greeting(platform: &Platform, service: &str, expected: &str) {
    eventually(&format!("{service} saying {expected}"), || {
        (info(platform, service)["greeting"] == *expected).then_some(())
    });
}

fn greet(platform: &Platform, (service, file, old): (&str, &str, &str), word: &str) {
    let new = old.replace("hello", word);
    edit(
        &platform.workspace.join("services").join(service).join(file),
        old,
        &new,
    );
}

/// Pods of a service by name, with their restarts and UIDs.
async fn pods(cluster: &Cluster, service: &str) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), APPS);
    let of_it = ListParams::default().labels(&format!("app={service}"));
    pods.list(&of_it).await.expect("pods").items
}

fn uids(platform: &Platform, service: &str) -> Vec<String> {
    block_on(async {
        let pods = pods(&platform.connect().await, service).await;
        let mut uids: Vec<String> = pods.into_iter().filter_map(|pod| pod.metadata.uid).collect();
        uids.sort();
        uids
    })
}

#[test]
#[ignore = "needs a cluster"]
fn changed_source_is_built_and_served_by_the_same_pods() {
    let platform = Platform::running();
    for what in [GO, PYTHON] {
        let service = what.0;
        greeting(&platform, service, "hello");
        let before = uids(&platform, service);
        greet(&platform, what, "good day");
        let report = platform.up();
        let plan = report["plan"].to_string();
        assert!(
            plan.contains("source changed") && plan.contains(&format!("swap/{service}")),
            "{plan}"
        );
        greeting(&platform, service, "good day");
        assert_eq!(
            uids(&platform, service),
            before,
            "the container alone is started anew"
        );
        let again = platform.up();
        assert_eq!(again["changed"], false, "{again:#}");
    }
    // A pod that is made anew runs the newest image too.
    block_on(async {
        let cluster = platform.connect().await;
        let api: Api<Pod> = Api::namespaced(cluster.client(), APPS);
        for pod in pods(&cluster, PYTHON.0).await {
            let name = pod.metadata.name.expect("name");
            api.delete(&name, &DeleteParams::default())
                .await
                .expect("deleted");
        }
    });
    greeting(&platform, PYTHON.0, "good day");
    // What the tests have changed is undone, and that is a change like any other.
    drop(platform);
    let platform = Platform::running();
    for what in [GO, PYTHON] {
        greeting(&platform, what.0, "hello");
    }
}

#[test]
#[ignore = "needs a cluster"]
fn a_failed_build_and_a_crash_leave_the_old_version_serving() {
    let platform = Platform::running();
    let services = platform.workspace.join("services");
    edit(
        &services.join("conversation-service/main.go"),
        "func main() {",
        "func main() { this is no Go",
    );
    let failed = platform.run(&UP);
    let said = text(&failed.stderr) + &text(&failed.stdout);
    assert_eq!(failed.status.code(), Some(6), "{said}");
    assert!(said.contains("building conversation-service failed"), "{said}");
    assert!(
        said.contains("main.go"),
        "the builder's last lines are there: {said}"
    );
    greeting(&platform, GO.0, "hello");
    drop(platform);

    let platform = Platform::turn();
    edit(
        &services.join("agent-engine/agent_engine/greeting.py"),
        "GREETING =",
        "raise SystemExit(3)\nGREETING =",
    );
    let failed = platform.run(&UP);
    let said = text(&failed.stderr) + &text(&failed.stdout);
    assert_eq!(failed.status.code(), Some(6), "{said}");
    assert!(
        said.contains("agent-engine") && said.contains("the old version serves"),
        "{said}"
    );
    greeting(&platform, PYTHON.0, "hello");
    drop(platform);
    let platform = Platform::running();
    assert_eq!(platform.up()["changed"], false);
}

#[test]
#[ignore = "needs a cluster"]
fn an_image_that_the_workspace_names_and_nobody_has_is_no_stand_in() {
    let platform = Platform::turn();
    platform.add_to_workspace("  rag-engine:\n    image: vadev.local/nobodys/rag-engine:1\n");
    platform.add_to_workspace("  voice-engine:\n    image: vadev.local/nobodys/voice-engine:1\n");
    let failed = platform.run(&["up", "--dry-run"]);
    let said = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(4), "{said}");
    for service in ["rag-engine", "voice-engine"] {
        let missing = format!("the image vadev.local/nobodys/{service}:1 of {service} is neither in Docker");
        assert!(said.contains(&missing), "{said}");
    }
}

#[test]
#[ignore = "needs a cluster"]
fn the_samples_own_tests_pass() {
    let platform = Platform::running();
    let services = platform.workspace.join("services");
    let python = format!("{}:/app/tests:ro", services.join("agent-engine/tests").display());
    let run = ["run", "--rm", "-v", &python, "vadev.local/e2e/agent-engine:dev"];
    docker(
        &[
            &run[..],
            &["python", "-m", "unittest", "discover", "-s", "tests", "-t", "."],
        ]
        .concat(),
    );
    // The Go that builds the service here: the machine's, or the one that vadev got for its own tools.
    let go = which::which("go").unwrap_or_else(|_| own_go());
    let tests = Command::new(go)
        .args(["test", "./..."])
        .current_dir(services.join("conversation-service"))
        .output()
        .expect("go");
    assert!(
        tests.status.success(),
        "{}{}",
        text(&tests.stdout),
        text(&tests.stderr)
    );
}

fn own_go() -> PathBuf {
    let cache = vadev::supply::cache::Cache::open().expect("cache");
    let mut versions = std::fs::read_dir(cache.root().join("go"))
        .expect("a Go of vadev's")
        .flatten();
    versions.next().expect("a version").path().join("bin/go")
}

#[test]
#[ignore = "needs a cluster"]
fn without_a_dockerfile_up_says_what_to_do() {
    let platform = Platform::turn();
    std::fs::remove_file(platform.workspace.join("services/agent-engine/Dockerfile")).expect("there");
    let failed = platform.run(&["up", "--dry-run"]);
    let said = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(6), "{said}");
    assert!(
        said.contains("agent-engine") && said.contains("add a Dockerfile"),
        "{said}"
    );
}

#[test]
#[ignore = "needs a cluster"]
fn two_replicas_are_never_both_down_during_a_swap() {
    let platform = Platform::running();
    let file = platform.workspace.join("vadev.yaml");
    edit(
        &file,
        "    source: services/agent-engine\n",
        "    source: services/agent-engine\n    replicas: 2\n",
    );
    platform.up();
    greet(&platform, PYTHON, "two of us");
    let (over, least) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(usize::MAX)),
    );
    let watcher = {
        let (over, least, platform) = (over.clone(), least.clone(), platform.workspace.clone());
        std::thread::spawn(move || {
            block_on(async {
                let cluster = crate::harness::connect(&platform).await;
                while !over.load(Ordering::Relaxed) {
                    let ready = |pod: &Pod| {
                        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
                        conditions
                            .into_iter()
                            .flatten()
                            .any(|one| one.type_ == "Ready" && one.status == "True")
                    };
                    let count = pods(&cluster, PYTHON.0)
                        .await
                        .iter()
                        .filter(|pod| ready(pod))
                        .count();
                    least.fetch_min(count, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(30)).await;
                }
            });
        })
    };
    platform.up();
    over.store(true, Ordering::Relaxed);
    watcher.join().expect("the watcher");
    assert!(
        least.load(Ordering::Relaxed) >= 1,
        "both replicas were down at once"
    );
    block_on(async {
        let pods = pods(&platform.connect().await, PYTHON.0).await;
        let mut ids: Vec<String> = pods
            .iter()
            .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref())
            .filter_map(|all| Some(all.iter().find(|one| one.name == PYTHON.0)?.image_id.clone()))
            .collect();
        assert_eq!(ids.len(), 2, "{ids:?}");
        ids.dedup();
        assert_eq!(ids.len(), 1, "both run the same image: {ids:?}");
    });
    drop(platform);
    Platform::running();
}

/// The image-based reload, without a build: one layer over the last build, and the container alone starts anew.
#[test]
#[ignore = "needs a cluster"]
fn an_appended_layer_is_served_in_the_running_pod() {
    let platform = Platform::running();
    let record =
        std::fs::read(platform.workspace.join(".vadev/images/agent-engine.json")).expect("the record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    let built: Built = serde_json::from_value(record["built"]["image"].clone()).expect("a build");
    let before = uids(&platform, PYTHON.0);
    let source = platform.workspace.join("greeting.py");
    std::fs::write(&source, "GREETING = \"appended\"\n").expect("a file");
    block_on(async {
        let cluster = platform.connect().await;
        let view = View::open(&cluster, &Scope::Cluster);
        assert!(view.synced(PATIENCE).await);
        let docker = vadev::supply::docker::connect().await.expect("docker");
        let nodes = vec![format!("{CLUSTER}-control-plane")];
        let step = Reporter::silent().step("s", "s", None);
        let base = Base::read(&docker, &nodes[0], &built).await.expect("the base");
        let overlay = |path: &str, what| Overlay {
            path: path.to_owned(),
            what,
            owner: (0, 0),
        };
        let mut overlays = Overlays::default();
        overlays.add([
            overlay(
                "/app/agent_engine/greeting.py",
                OverlayKind::File {
                    source: source.clone(),
                    mode: 0o644,
                },
            ),
            overlay("/app/agent_engine/templates/page.html.j2", OverlayKind::Deleted),
        ]);
        let appended = base.append(&overlays).expect("a layer");
        let shipped = ship_appended(&docker, &nodes, &appended, &step)
            .await
            .expect("shipped");
        assert!(
            shipped[0].sent_bytes < 100_000,
            "one small layer, manifest, configuration: {shipped:?}"
        );
        let swap = Swap {
            cluster: &cluster,
            view: &view,
            namespace: APPS,
            service: PYTHON.0,
            image: &appended.built.reference,
            config: &appended.built.id,
            back: None,
            within: PATIENCE,
            attended: None,
        };
        let told = std::sync::Mutex::new(Vec::new());
        let done = swap
            .run(
                |pod| {
                    told.lock().expect("lock").push(pod);
                    async {}
                },
                &step,
            )
            .await
            .expect("swapped");
        assert_eq!(
            done.len(),
            told.lock().expect("lock").len(),
            "each pod is told before"
        );
        let again = swap.run(|_| async {}, &step).await.expect("nothing to do");
        assert!(again.is_empty());
    });
    greeting(&platform, PYTHON.0, "appended");
    assert_eq!(uids(&platform, PYTHON.0), before);
    let list = "import os; print(os.listdir('/app/agent_engine/templates'))";
    block_on(async {
        let cluster = platform.connect().await;
        let pod = pods(&cluster, PYTHON.0)
            .await
            .remove(0)
            .metadata
            .name
            .expect("name");
        let target = vadev::k8s::ExecTarget {
            namespace: APPS,
            pod: &pod,
            container: Some(PYTHON.0),
        };
        let out = vadev::k8s::exec(&cluster, &target, &["python", "-c", list], None, PATIENCE)
            .await
            .expect("listed");
        assert_eq!(
            text(&out.stdout).trim(),
            "['plan.txt.j2']",
            "what was deleted is gone"
        );
    });
    // The source does not say so: `up` brings back what it says.
    platform.up();
    greeting(&platform, PYTHON.0, "hello");
    assert_eq!(platform.up()["changed"], false);
}

#[test]
#[ignore = "needs a cluster"]
fn load_brings_an_image_once_and_never_half_of_it() {
    let platform = Platform::running();
    let docker = |args: &[&str]| {
        let output = Command::new("docker").args(args).output().expect("docker");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let ctr = |args: &[&str]| {
        let node = format!("{CLUSTER}-control-plane");
        docker(&[&["exec", node.as_str(), "ctr", "-n", "k8s.io", "images"], args].concat())
    };
    let (small, large) = ("vadev.local/e2e/load:small", "vadev.local/e2e/load:large");
    docker(&["tag", "vadev.local/vadev-agent:0.1.0", small]);
    docker(&["tag", "vadev.local/base/golang:1.26", large]);
    for name in [small, large] {
        ctr(&["rm", name]);
    }
    let first = platform.json(&["load", small, "-o", "json"]);
    assert_eq!(first[0]["wasThere"], false, "{first:#}");
    let second = platform.json(&["load", small, "-o", "json"]);
    assert_eq!(
        (&second[0]["wasThere"], &second[0]["sentBytes"]),
        (&Value::Bool(true), &Value::from(0))
    );
    let unknown = platform.run(&["load", "vadev.local/e2e/load:none"]);
    assert_eq!(unknown.status.code(), Some(4), "{}", text(&unknown.stderr));
    let nowhere = platform.run(&["load", small, "--node", "nowhere"]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", text(&nowhere.stderr));

    // Killed on its way: the node has it whole or not at all, and the next one brings it.
    let mut killed = platform
        .command(&["load", large, "--quiet"])
        .spawn()
        .expect("vadev starts");
    std::thread::sleep(Duration::from_millis(1200));
    // It may have been quicker.
    let _ended = killed.kill();
    killed.wait().expect("it ends");
    platform.succeed(&["load", large]);
    let check = ctr(&["check", &format!("name=={large}")]);
    assert!(
        check.contains("complete") || check.contains("incomplete") && check.contains("true"),
        "{check}"
    );
    docker(&["rmi", small, large]);
    for name in [small, large] {
        ctr(&["rm", name]);
    }
}
