//! A promoted tree on a cluster of three nodes that is not vadev's: applied wave by wave, verified, compared, broken and mended,
//! and taken by `kubectl apply` as it is.

use std::process::{Command, Output};

use indexmap::IndexMap;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;
use vadev::profile::{Sources, load_all};
use vadev::promote::{Environment, images::images, production_stack, secrets::needed};

use crate::elsewhere::{CONTEXT, Developer, Elsewhere};
use crate::harness::{Platform, agent, block_on, build, docker, text, tool};
use crate::promote::{Names, Registry};

const APPS: &str = "voiceassistant-prod";
const HOST: &str = "api.voiceassistant.example";
/// Production's own replicas are more than two cores hold; two of one service show that replicas work.
const SIZES: [&str; 10] = [
    "--set",
    "identity-service.replicas=2",
    "--set",
    "conversation-service.replicas=1",
    "--set",
    "ai-orchestrator.replicas=1",
    "--set",
    "agent-engine.replicas=1",
    "--set",
    "model-adapter.replicas=1",
];

/// Two nodes share two cores.
const SMALL: &str = "{ resources: { requests: { cpu: 100m } } }";

/// Somebody who operates production, in a folder of their own.
struct Operator<'a> {
    elsewhere: &'a Elsewhere<'a>,
    folder: TempDir,
    registry: String,
}

impl<'a> Operator<'a> {
    fn new(elsewhere: &'a Elsewhere<'a>, registry: &str) -> Self {
        let folder = TempDir::new().expect("folder");
        let workspace = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";
        std::fs::write(folder.path().join("vadev.yaml"), workspace).expect("workspace");
        let operator = Self {
            elsewhere,
            folder,
            registry: format!("{registry}/team"),
        };
        operator.environment("");
        operator
    }

    fn environment(&self, more: &str) {
        let text = format!(
            "apiVersion: vadev.dev/v1\nkind: Environment\nname: production\nhosts: [{HOST}]\n\
             mesh: {{ istioFilters: false }}\n\
             overrides: {{ milvus: {SMALL}, postgres: {SMALL}, nacos: {SMALL} }}\n\
             tokens: {{ issuer: https://login.example, jwksUri: https://login.example/keys }}\n{more}"
        );
        std::fs::write(self.folder.path().join("prod.yaml"), text).expect("environment");
    }

    fn vadev(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vadev"))
            .current_dir(self.folder.path())
            .args(args)
            .env("KUBECONFIG", self.elsewhere.kubeconfig())
            .env("NO_COLOR", "1")
            .output()
            .expect("vadev starts")
    }

    fn promote(&self, args: &[&str]) -> (i32, Value, String) {
        let usual = [
            "promote",
            "-p",
            "minimal",
            "--env",
            "prod.yaml",
            "--registry",
            &self.registry,
            "-o",
            "json",
        ];
        let output = self.vadev(&[&usual, &SIZES[..], args].concat());
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap_or(-1), report, text(&output.stderr))
    }

    fn apply(&self, more: &[&str]) -> (i32, Value, String) {
        self.promote(&[&["--apply", "--context", CONTEXT, "--yes"], more].concat())
    }

    /// kubectl, as the control plane's node has it.
    fn kubectl(&self, args: &[&str]) -> Output {
        Command::new("docker")
            .args([
                "exec",
                &self.elsewhere.nodes[0],
                "kubectl",
                "--kubeconfig",
                "/etc/kubernetes/admin.conf",
            ])
            .args(args)
            .output()
            .expect("docker")
    }

    /// What the tree refers to and never contains.
    fn make_secrets(&self) {
        let loaded = load_all(&Sources::default(), "shop").expect("what is built in");
        let file = std::fs::read_to_string(self.folder.path().join("prod.yaml")).expect("environment");
        let environment = Environment::read(&("prod.yaml".to_owned(), file), &loaded.catalog).expect("reads");
        let profile = &loaded.profiles["minimal"];
        let stack = production_stack(&loaded.catalog, profile, &loaded.workspace, &environment, &[])
            .expect("resolves");
        let mut wanted: IndexMap<(String, String), Vec<String>> = IndexMap::new();
        for key in needed(&stack).into_iter().filter(|key| key.component != "istio") {
            wanted
                .entry((key.namespace, key.secret))
                .or_default()
                .push(key.key);
        }
        block_on(async {
            let cluster = self.elsewhere.connect().await;
            for ((namespace, name), keys) in wanted {
                let secrets: Api<Secret> = Api::namespaced(cluster.client(), &namespace);
                let secret = Secret {
                    metadata: ObjectMeta {
                        name: Some(name),
                        ..ObjectMeta::default()
                    },
                    // One value for all: a service's copy of a store's password has to be that password.
                    string_data: Some(
                        keys.into_iter()
                            .map(|key| {
                                (
                                    key,
                                    "cHJvZHVjdGlvbi1wYXNzd29yZC1vZi10aGUtdGVzdHMtMDAwMQ==".to_owned(),
                                )
                            })
                            .collect(),
                    ),
                    ..Secret::default()
                };
                secrets
                    .create(&PostParams::default(), &secret)
                    .await
                    .expect("a Secret is made");
            }
        });
        let made = self.vadev(&["tls", "create", "--host", HOST, "--context", CONTEXT, "--yes"]);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
}

/// Every image of production under the name that production runs it by: what is built here, the systems from packages, and
/// for a service without source an image whose program answers as the service.
fn images_of_production() -> Names {
    let loaded = load_all(&Sources::default(), "shop").expect("what is built in");
    let environment = Environment::unnamed();
    let profile = &loaded.profiles["minimal"];
    let stack =
        production_stack(&loaded.catalog, profile, &loaded.workspace, &environment, &[]).expect("resolves");
    let here = docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let local = |name: &str| {
        let prefix = format!("vadev.local/{name}:");
        let found = here.lines().find(|image| image.starts_with(&prefix));
        found
            .unwrap_or_else(|| panic!("no {prefix} in the engine"))
            .to_owned()
    };
    let mut names = Names(Vec::new());
    for (name, image) in images(&stack, &IndexMap::new()) {
        let service = stack.services.iter().find(|sized| sized.service.name == name);
        let source = match (service, name.as_str()) {
            (_, "conversation-service" | "agent-engine") => local(&format!("e2e/{name}")),
            (None, _) => local(&name),
            (Some(sized), _) => {
                let calls = sized
                    .service
                    .calls
                    .iter()
                    .filter(|call| !sized.absent.contains(call));
                let calls: Vec<Value> = calls
                    .map(|call| json!({ "name": call, "kind": "http", "url": format!("http://{call}.{APPS}:8080/health") }))
                    .collect();
                let file = format!(
                    "FROM {}\nENV VADEV_SERVICE={name} VADEV_PREFIXES={}\nENV VADEV_DEPENDENCIES='{}'\nCMD [\"serve\"]\n",
                    agent(),
                    sized.service.prefixes.join(","),
                    Value::Array(calls),
                );
                let tag = format!("vadev.local/production/{name}:1");
                build(&tag, &file);
                names.0.push(tag.clone());
                tag
            }
        };
        docker(&["tag", &source, &image.reference]);
        names.0.push(image.reference);
    }
    names
}

#[test]
#[ignore = "needs a cluster"]
fn the_promoted_tree_is_applied_verified_broken_and_mended() {
    let shared = Platform::running();
    let elsewhere = Elsewhere::start(&shared);
    let registry = Registry::for_nodes(elsewhere.folder.path());
    elsewhere.introduce(&registry.1);
    // Production brings no Istio along. A developer next door has it installed.
    let neighbour = Developer::new(&elsewhere, "alice");
    let team = format!("{}/team", registry.1);
    neighbour.vadev(&[
        "up",
        "identity-service",
        "-p",
        "minimal",
        "--skip-infra",
        "--install-istio",
        "--registry",
        &team,
        "--timeout",
        "900s",
    ]);
    let operator = Operator::new(&elsewhere, &registry.1);
    let _names = images_of_production();

    // Without its Secrets nothing but the base is applied, and every key is named.
    let (code, _, err) = operator.apply(&[]);
    assert_ne!(code, 0, "{err}");
    for wanted in [
        "postgres-secret",
        "redis-secret",
        "voiceassistant-tls-cert",
        "later waves were not begun",
        "go back",
        "nothing enforces them here",
    ] {
        assert!(err.contains(wanted), "{wanted}: {err}");
    }
    let pods = operator.kubectl(&["get", "pods", "-A", "-l", "app=postgres", "-o", "name"]);
    assert_eq!(text(&pods.stdout).matches("voiceassistant").count(), 0);

    operator.make_secrets();
    let (code, report, err) = operator.apply(&[]);
    assert_eq!(code, 0, "{err}");
    assert_ne!(report["applied"]["created"], 0, "{report:#}");
    assert_eq!(report["applied"]["verify"]["ok"], true, "{report:#}");

    is_what_the_tree_says(&elsewhere, &operator);
    stops_at_what_cannot_finish(&operator, &team);
}

/// The cluster is: by vadev, by kubectl, by istioctl.
fn is_what_the_tree_says(elsewhere: &Elsewhere, operator: &Operator) {
    let (code, report, err) = operator.promote(&["--diff", "--context", CONTEXT]);
    assert_eq!(
        (code, &report["differences"]),
        (0, &json!([])),
        "{err} {report:#}"
    );
    let out = operator.folder.path().join("k8s");
    let (code, _, err) = operator.promote(&["--out", &out.display().to_string()]);
    assert_eq!(code, 0, "{err}");
    docker(&[
        "cp",
        &out.display().to_string(),
        &format!("{}:/k8s", elsewhere.nodes[0]),
    ]);
    let diff = operator.kubectl(&["diff", "--server-side", "--force-conflicts", "-R", "-f", "/k8s"]);
    assert!(
        diff.status.success(),
        "{}{}",
        text(&diff.stdout),
        text(&diff.stderr)
    );
    let applied = operator.kubectl(&["apply", "--server-side", "--force-conflicts", "-R", "-f", "/k8s"]);
    assert!(applied.status.success(), "{}", text(&applied.stderr));
    let analysis = Command::new(tool("istioctl"))
        .args([
            "analyze",
            "-n",
            APPS,
            "--failure-threshold",
            "Warning",
            "--kubeconfig",
        ])
        .arg(elsewhere.kubeconfig())
        .output()
        .expect("istioctl starts");
    assert!(
        analysis.status.success(),
        "{}{}",
        text(&analysis.stdout),
        text(&analysis.stderr)
    );
}

/// A rollout that can't finish stops there, says why and how to go back, and the old pods serve on.
fn stops_at_what_cannot_finish(operator: &Operator, team: &str) {
    let nowhere = format!("{team}/agent-engine:9@sha256:{}", "0".repeat(64));
    operator.environment(&format!("images: {{ agent-engine: \"{nowhere}\" }}\n"));
    let (code, _, err) = operator.apply(&["--timeout", "240s"]);
    assert_ne!(code, 0, "{err}");
    for wanted in ["agent-engine", "go back", "before-"] {
        assert!(err.contains(wanted), "{wanted}: {err}");
    }
    let ready = operator.kubectl(&[
        "get",
        "deployment",
        "agent-engine",
        "-n",
        APPS,
        "-o",
        "jsonpath={.status.readyReplicas}",
    ]);
    assert_eq!(text(&ready.stdout), "1", "the old pod serves on");
    operator.environment("");
    let (code, report, err) = operator.apply(&[]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(report["applied"]["verify"]["ok"], true, "{report:#}");
}
