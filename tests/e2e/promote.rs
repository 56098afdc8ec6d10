//! What promotion writes is taken by a real API server and found sound by istioctl, and what runs here differs from it for
//! known reasons only.

use std::path::{Path, PathBuf};
use std::process::Command;

use indexmap::IndexMap;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use vadev::k8s::rehearse;
use vadev::profile::{Sources, load_all};
use vadev::promote::{Environment, Target, Version, production_stack, tree};

use crate::harness::{Platform, block_on, docker, eventually, get, text, tool};

/// An environment file with everything that nobody can guess; digests of no image, which no API server looks at.
fn environment(folder: &Path) -> PathBuf {
    let loaded = load_all(&Sources::default(), "e2e").expect("what is built in");
    let workloads = loaded
        .catalog
        .infrastructure
        .values()
        .flat_map(|system| &system.workloads);
    let systems = workloads.map(|workload| (workload.name.clone(), workload.image.official.clone()));
    let services = loaded.catalog.services.values();
    let services = services.map(|service| {
        (
            service.name.clone(),
            format!("{}:{}", service.image.repository, service.image.version),
        )
    });
    let mut lines = vec![
        "apiVersion: vadev.dev/v1\nkind: Environment\nname: production".to_owned(),
        "hosts: [api.voiceassistant.example]".to_owned(),
        "tokens: { issuer: https://login.example, jwksUri: https://login.example/keys }".to_owned(),
        "overrides: { identity-service: { config: { LOG_LEVEL: info } } }".to_owned(),
        "images:".to_owned(),
    ];
    lines.extend(
        systems
            .chain(services)
            .map(|(name, image)| format!("  {name}: \"{image}@sha256:{}\"", "0".repeat(64))),
    );
    let file = folder.join("prod.yaml");
    std::fs::write(&file, lines.join("\n") + "\n").expect("environment file");
    file
}

/// vadev in a folder of its own: the shared workspace switches faults on, which production refuses.
struct Shop(tempfile::TempDir);

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(
            folder.path().join("vadev.yaml"),
            "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n",
        )
        .expect("workspace");
        environment(folder.path());
        Self(folder)
    }

    fn promote(&self, args: &[&str]) -> (i32, Value, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_vadev"))
            .current_dir(self.0.path())
            .args(["promote", "--env", "prod.yaml", "-o", "json"])
            .args(args)
            .output()
            .expect("vadev starts");
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code().unwrap_or(-1), report, text(&output.stderr))
    }
}

#[test]
#[ignore = "needs a cluster"]
fn every_profiles_tree_is_taken_by_the_api_server_and_by_istioctl() {
    let platform = Platform::running();
    let shop = Shop::new();
    let text = std::fs::read_to_string(shop.0.path().join("prod.yaml")).expect("environment");
    let loaded = load_all(&Sources::default(), "e2e").expect("what is built in");
    let environment = Environment::read(&("prod.yaml".to_owned(), text), &loaded.catalog).expect("reads");
    let newest =
        Target::new(Version { major: 1, minor: 34 }, Version { major: 1, minor: 31 }).expect("supported");
    let istioctl = tool("istioctl");
    for profile in ["minimal", "dev", "demo", "full", "prod"] {
        for target in [Target::default(), newest] {
            let mut stack = production_stack(
                &loaded.catalog,
                &loaded.profiles[profile],
                &loaded.workspace,
                &environment,
                &[],
            )
            .expect("resolves");
            // Namespaces of its own: the shared platform's volumes have other sizes, which nobody may change.
            stack.namespaces.apps = "promoted-apps".into();
            stack.namespaces.infra = "promoted-infra".into();
            let tree = tree(&stack, &environment, target, &IndexMap::new());
            let objects: Vec<&Value> = tree.objects().map(|(_, object)| object).collect();
            block_on(async {
                let cluster = platform.connect().await;
                rehearse(&cluster, &objects).await.unwrap_or_else(|error| {
                    panic!(
                        "{profile}: {error}: {:#?}",
                        vadev::failure::Diagnose::details(&error)
                    )
                });
            });
        }
        let folder = shop.0.path().join(profile);
        let out = folder.display().to_string();
        let (code, report, err) = shop.promote(&["-p", profile, "--out", &out]);
        assert_eq!((code, &report["ok"]), (0, &json!(true)), "{err}");
        let (_, again, _) = shop.promote(&["-p", profile, "--out", &out]);
        assert_eq!(
            again["written"]["written"],
            json!([]),
            "{profile} is the same to the byte"
        );
        let analysis = Command::new(&istioctl)
            .args([
                "analyze",
                "--use-kube=false",
                "--color=false",
                "--failure-threshold",
                "Warning",
            ])
            .arg(&folder)
            .output()
            .expect("istioctl starts");
        let said = text_of(&analysis);
        assert!(
            analysis.status.success() && said.contains("No validation issues found"),
            "{profile}: {said}"
        );
    }
}

fn text_of(output: &std::process::Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
#[ignore = "needs a cluster"]
fn what_runs_here_differs_from_production_by_size_and_environment_until_somebody_changes_it() {
    let platform = Platform::running();
    let file = environment(&platform.workspace);
    let compare = || {
        platform.json(&[
            "promote",
            "-p",
            "dev",
            "--env",
            &file.display().to_string(),
            "--diff",
            "-o",
            "json",
        ])
    };
    // Switched on for the tests, and nowhere else.
    let own = |field: &Value| {
        field["path"]
            .as_str()
            .is_some_and(|path| path.contains("VADEV_FAULTS"))
    };
    let drifted = |report: &Value| -> Vec<String> {
        let all = report["differences"].as_array().expect("differences");
        let drifted = all.iter().filter(|one| one["explanation"] == "drift");
        drifted
            .filter(|one| {
                // A whole object that nothing explains has no fields.
                !one["fields"].as_array().is_some_and(|fields| {
                    !fields.is_empty()
                        && fields
                            .iter()
                            .all(|field| own(field) || field["explanation"] != "drift")
                })
            })
            .map(|one| format!("{} {}: {}", one["object"], one["change"], one["fields"]))
            .collect()
    };
    let before = compare();
    assert!(
        before["differences"].as_array().expect("differences").len() > 40,
        "production is not a laptop"
    );
    assert_eq!(drifted(&before), Vec::<String>::new());
    block_on(async {
        let maps: Api<ConfigMap> = Api::namespaced(platform.connect().await.client(), "voiceassistant-prod");
        let patch = Patch::Merge(json!({ "data": { "LOG_FORMAT": "text" } }));
        maps.patch("rag-engine-config", &PatchParams::default(), &patch)
            .await
            .expect("patch");
    });
    let after = drifted(&compare());
    assert!(
        after.len() == 1 && after[0].contains("rag-engine-config"),
        "{after:#?}"
    );
    platform.up();
}

/// A registry on a port of its own, which ends with this. The Docker engine takes plain http on the loopback.
pub struct Registry(std::process::Child, pub String);

impl Registry {
    fn start(folder: &Path) -> Self {
        Self::on(folder, "127.0.0.1")
    }

    /// On all addresses of the machine, for nodes that have a network of their own.
    pub fn for_nodes(folder: &Path) -> Self {
        Self::on(folder, "0.0.0.0")
    }

    fn on(folder: &Path, listen: &str) -> Self {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = free.local_addr().expect("address").port();
        let address = format!("127.0.0.1:{port}");
        drop(free);
        let config = json!({
            "version": 0.1,
            "storage": { "filesystem": { "rootdirectory": folder.join("registry") } },
            "http": { "addr": format!("{listen}:{port}") },
        });
        let file = folder.join("registry.json");
        std::fs::write(&file, config.to_string()).expect("configuration");
        let child = Command::new(tool("registry"))
            .arg("serve")
            .arg(file)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("the registry starts");
        let registry = Self(child, address);
        eventually("the registry", || {
            (get(&format!("http://{}/v2/", registry.1)).0 == 200).then_some(())
        });
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Takes names off images again that the test gave them.
pub struct Names(pub Vec<String>);

impl Drop for Names {
    fn drop(&mut self) {
        for name in &self.0 {
            let _gone = Command::new("docker").args(["rmi", name]).output();
        }
    }
}

#[test]
#[ignore = "needs Docker and the stand-in's image"]
fn a_locally_built_image_goes_to_a_registry_and_is_named_by_its_digest() {
    let platform = Platform::running();
    let shop = Shop::new();
    let folder = shop.0.path();
    let registry = Registry::start(folder);
    // Any image will do for the service's own, under the name that production runs.
    let local = "ghcr.io/voiceassistant/agent-engine:1.1.0";
    docker(&["tag", "vadev.local/redis:7.0", local]);
    let remote = format!("{}/team/agent-engine:1.1.0", registry.1);
    let _names = Names(vec![local.to_owned(), remote.clone()]);
    let text = std::fs::read_to_string(folder.join("prod.yaml")).expect("environment");
    let without: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("agent-engine:"))
        .collect();
    std::fs::write(folder.join("prod.yaml"), without.join("\n") + "\n").expect("environment");

    let (code, report, err) = shop.promote(&["-p", "minimal", "--check"]);
    assert_eq!(code, 9, "{err}");
    assert_eq!(report["findings"][0]["rule"], "image-not-pinned", "{report:#}");

    let host = format!("{}/team", registry.1);
    let out = folder.join("k8s").display().to_string();
    let (code, report, err) = shop.promote(&["-p", "minimal", "--registry", &host, "--out", &out]);
    assert_eq!(code, 0, "{err} {report:#}");
    let manifest =
        std::fs::read_to_string(folder.join("k8s/services/python/agent-engine.yaml")).expect("manifest");
    let pinned = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("image: "))
        .expect("an image")
        .trim_matches('"')
        .to_owned();
    let digest = pinned
        .strip_prefix(&format!("{remote}@"))
        .unwrap_or_else(|| panic!("{pinned}"));
    // The registry has exactly this one.
    let (status, body) = get(&format!(
        "http://{}/v2/team/agent-engine/manifests/{digest}",
        registry.1
    ));
    assert!(
        status == 200 || body.contains("OCI index found"),
        "{status} {body}"
    );
    drop(platform);
}
