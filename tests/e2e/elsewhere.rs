//! A cluster that is not vadev's, and two developers in it at once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use vadev::k8s::{self, Cluster, PODS, Target};
use vadev::render::kind::KindCluster;

use crate::harness::{CLUSTER, PATIENCE, Platform, block_on, docker, eventually, text, tool};
use crate::promote::Registry;
use crate::sample;

const NAME: &str = "e2e-elsewhere";
pub const CONTEXT: &str = "kind-e2e-elsewhere";
/// Where the cluster's ingress gateway is on this machine.
const GATEWAY: u16 = 28083;

/// Three nodes that kind makes without vadev, beside the shared cluster, which is frozen meanwhile.
pub struct Elsewhere<'a> {
    shared: &'a Platform,
    pub folder: TempDir,
    pub nodes: Vec<String>,
}

impl<'a> Elsewhere<'a> {
    pub fn start(shared: &'a Platform) -> Self {
        let shared_node = format!("{CLUSTER}-control-plane");
        let node_image = docker(&["inspect", "--format", "{{.Config.Image}}", &shared_node]);
        shared.run(&["pause"]);
        let config = KindCluster {
            name: NAME.to_owned(),
            nodes: 3,
            node_image,
            http_port: GATEWAY,
            https_port: 28446,
            cgroup_v1: docker(&["info", "--format", "{{.CgroupVersion}}"]) == "1",
            audit_folder: None,
        };
        let elsewhere = Self {
            shared,
            folder: TempDir::new().expect("folder"),
            nodes: ["control-plane", "worker", "worker2"]
                .map(|role| format!("{NAME}-{role}"))
                .into(),
        };
        let file = elsewhere.folder.path().join("kind.yaml");
        std::fs::write(&file, config.render().to_string()).expect("configuration");
        let made = Command::new(tool("kind"))
            .args(["create", "cluster", "--name", NAME, "--config"])
            .arg(&file)
            .arg("--kubeconfig")
            .arg(elsewhere.kubeconfig())
            .output()
            .expect("kind starts");
        assert!(made.status.success(), "{}", text(&made.stderr));
        elsewhere
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// To the nodes the registry is at the other end of their network; they call it as Docker here does.
    pub fn introduce(&self, registry: &str) {
        let port = registry.rsplit_once(':').expect("a port").1;
        for node in &self.nodes {
            let route = docker(&["exec", node, "ip", "-4", "route", "show", "default"]);
            let host = route.split_whitespace().nth(2).expect("default via ADDRESS");
            let hosts = format!("[host.\"http://{host}:{port}\"]\ncapabilities = [\"pull\", \"resolve\"]\n");
            let folder = format!("/etc/containerd/certs.d/{registry}");
            let write = format!("mkdir -p '{folder}' && printf '%s' \"$0\" > '{folder}/hosts.toml'");
            docker(&["exec", node, "sh", "-c", &write, &hosts]);
        }
    }

    /// A connection lives as long as the runtime that it was made in.
    pub async fn connect(&self) -> Cluster {
        let target = Target::new(self.kubeconfig(), CONTEXT);
        Cluster::connect(&target, PATIENCE)
            .await
            .expect("the cluster answers")
    }

    /// How many objects a selector finds.
    fn count(&self, selector: &str) -> usize {
        block_on(async {
            k8s::observe(&self.connect().await, selector)
                .await
                .expect("objects")
                .len()
        })
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        let _gone = Command::new(tool("kind"))
            .args(["delete", "cluster", "--name", NAME, "--kubeconfig"])
            .arg(self.kubeconfig())
            .output();
        self.shared.run(&["resume"]);
    }
}

/// Somebody with a workspace of their own, called as everybody's is.
pub struct Developer<'a> {
    elsewhere: &'a Elsewhere<'a>,
    name: &'static str,
    workspace: PathBuf,
}

impl<'a> Developer<'a> {
    pub fn new(elsewhere: &'a Elsewhere<'a>, name: &'static str) -> Self {
        let workspace = elsewhere.folder.path().join(name);
        sample::lay_out(&workspace, "shop");
        Self {
            elsewhere,
            name,
            workspace,
        }
    }

    pub fn vadev(&self, args: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_vadev"))
            .current_dir(&self.workspace)
            .args(args)
            .args(["--context", CONTEXT, "--namespace-prefix", self.name])
            .args(["--yes", "-o", "json"])
            .stdin(Stdio::null())
            .env("KUBECONFIG", self.elsewhere.kubeconfig())
            .env("NO_COLOR", "1")
            .output()
            .expect("vadev starts");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{} {args:?}\n{out}\n{err}", self.name);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{} {args:?}: {error}\n{out}", self.name))
    }

    fn up(&self, registry: &str) -> Value {
        let report = self.vadev(&[
            "up",
            "-p",
            "minimal",
            "--install-istio",
            "--registry",
            &format!("{registry}/team"),
            "--timeout",
            "900s",
        ]);
        assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
        report
    }

    fn host(&self) -> String {
        format!("{}.voiceassistant.local", self.name)
    }

    /// What the shared gateway answers under this developer's host.
    fn asked(&self) -> u16 {
        block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().expect("client");
            let request = client.get(format!("http://127.0.0.1:{GATEWAY}/api/v1/health"));
            let answer = request.header("Host", self.host()).send().await;
            answer.map_or(0, |answer| answer.status().as_u16())
        })
    }

    /// Every object and pod with its UID, and what counts the changes of its specification.
    fn fingerprints(&self) -> BTreeMap<String, Value> {
        let selector = format!("vadev.dev/workspace={}-shop", self.name);
        let (objects, pods) = block_on(async {
            let cluster = self.elsewhere.connect().await;
            tokio::join!(
                k8s::observe(&cluster, &selector),
                k8s::observe_kinds(&cluster, "app", PODS)
            )
        });
        let (objects, pods) = (objects.expect("objects"), pods.expect("pods"));
        let own = |namespace: Option<&String>| {
            namespace.is_some_and(|one| one.starts_with(&format!("{}-", self.name)))
        };
        let pods = pods.iter().filter(|(id, _)| own(id.namespace.as_ref()));
        let mark = |value: &Value| {
            let metadata = &value["metadata"];
            serde_json::json!([metadata["uid"], metadata["generation"]])
        };
        objects
            .iter()
            .chain(pods)
            .map(|(id, value)| (id.to_string(), mark(value)))
            .collect()
    }
}

fn steps(report: &Value) -> Vec<&str> {
    let plan = report["plan"].as_array().into_iter().flatten();
    plan.filter_map(|step| step["id"].as_str()).collect()
}

#[test]
#[ignore = "needs a cluster"]
fn two_developers_share_a_cluster_that_is_not_vadevs() {
    let shared = Platform::running();
    let elsewhere = Elsewhere::start(&shared);
    let registry = Registry::for_nodes(elsewhere.folder.path());
    elsewhere.introduce(&registry.1);
    let (alice, bob) = (
        Developer::new(&elsewhere, "alice"),
        Developer::new(&elsewhere, "bob"),
    );

    let report = alice.up(&registry.1);
    assert!(steps(&report).contains(&"mesh"), "{:?}", steps(&report));
    assert_eq!(report["host"], alice.host().as_str());
    let components = report["status"]["components"].as_array().expect("components");
    let built = components
        .iter()
        .find(|one| one["name"] == "conversation-service")
        .expect("it is there");
    let image = built["image"].as_str().expect("an image");
    assert!(
        image.starts_with(&format!(
            "{}/team/alice-shop/conversation-service:dev-",
            registry.1
        )),
        "what is built from source is pushed: {image}"
    );

    let before = alice.fingerprints();
    let report = bob.up(&registry.1);
    assert!(
        !steps(&report).contains(&"mesh"),
        "Istio is there already: {:?}",
        steps(&report)
    );
    assert_eq!(alice.fingerprints(), before, "bob touched nothing of alice's");
    assert_eq!((alice.asked(), bob.asked()), (200, 200));
    for developer in [&alice, &bob] {
        assert_eq!(developer.vadev(&["verify"])["ok"], true);
        let matrix = developer.vadev(&["verify", "--mesh"]);
        assert_eq!(matrix["ok"], true, "{matrix:#}");
    }
    let again = alice.up(&registry.1);
    assert_eq!(again["changed"], false, "{:#}", again["plan"]);

    alice.vadev(&["down", "--purge"]);
    assert_eq!(elsewhere.count("vadev.dev/workspace=alice-shop"), 0);
    assert_ne!(elsewhere.count("vadev.dev/mesh=vadev"), 0, "bob uses Istio");
    eventually("the gateway knows alice no longer", || {
        (alice.asked() == 404).then_some(())
    });
    assert_eq!(bob.asked(), 200);
    assert_eq!(bob.vadev(&["verify"])["ok"], true);
    bob.vadev(&["down", "--purge"]);
    assert_eq!(
        elsewhere.count("vadev.dev/mesh=vadev"),
        0,
        "the last one takes it along"
    );
}
