//! The verbs against a cluster that is named by its context, from another folder: as a production cluster is operated.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{CLUSTER, Platform, eventually, text};

/// What the shared cluster is called here. Under its own name it would be known as vadev's own.
const CONTEXT: &str = "afar";

/// A folder elsewhere with a workspace of the same name, and a kubeconfig that has the context.
struct Afar {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

/// What a role of a promoted tree may do, given to an account of its own in the shared cluster. Its kubeconfig.
async fn account(platform: &Platform, role: &str, rules: &Value) -> Value {
    use k8s_openapi::api::authentication::v1::TokenRequest;
    use k8s_openapi::api::core::v1::ServiceAccount;
    use kube::api::{Api, PostParams};
    use serde_json::json;
    let cluster = platform.connect().await;
    let name = format!("e2e-{role}");
    let (apps, infra) = ("voiceassistant-prod", "voiceassistant-infra");
    let rbac = "rbac.authorization.k8s.io";
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": apps}}),
    ];
    for namespace in [apps, infra] {
        let metadata = json!({"name": name, "namespace": namespace});
        objects.push(
            json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata, "rules": rules}),
        );
        objects.push(json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": apps}],
        }));
    }
    vadev::k8s::apply_all(&cluster, &objects, vadev::k8s::ApplyOptions::default())
        .await
        .expect("the role is there");
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), apps);
    let ask: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).expect("a request");
    let token = accounts
        .create_token_request(&name, &PostParams::default(), &ask)
        .await
        .expect("a token");
    json!([{"name": CONTEXT, "user": {"token": token.status.expect("a token").token}}])
}

impl Afar {
    /// As who has this role of a promoted tree, and nothing else.
    fn with_role(platform: &Platform, role: &str) -> Self {
        let afar = Self::of(platform);
        let roles = vadev::promote::base::roles();
        let (_, may) = roles.iter().find(|(name, _)| name.ends_with(role)).expect("role");
        let users = crate::harness::block_on(account(platform, role, may));
        let text = std::fs::read_to_string(&afar.kubeconfig).expect("kubeconfig");
        let mut config: Value = serde_saphyr::from_str(&text).expect("kubeconfig");
        config["contexts"][0]["context"]["user"] = CONTEXT.into();
        config["users"] = users;
        std::fs::write(&afar.kubeconfig, config.to_string()).expect("kubeconfig");
        afar
    }

    fn of(platform: &Platform) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let workspace = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: e2e\n";
        std::fs::write(folder.path().join("vadev.yaml"), workspace).expect("workspace");
        let own = platform.workspace.join(format!(".vadev/{CLUSTER}.kubeconfig"));
        let own = std::fs::read_to_string(own).expect("kubeconfig");
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, own.replace(&format!("kind-{CLUSTER}"), CONTEXT)).expect("kubeconfig");
        Self { folder, kubeconfig }
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_vadev"))
            .current_dir(self.folder.path())
            .args(args)
            .args(["--context", CONTEXT])
            .stdin(Stdio::null())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("NO_COLOR", "1")
            .output()
            .expect("vadev starts")
    }

    fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = text(&output.stderr);
        assert!(output.status.success(), "vadev {}: {said}", args.join(" "));
        text(&output.stdout)
    }

    fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        let out = self.succeed(&all);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{}: {error}\n{out}", args.join(" ")))
    }

    /// The names that `status` shows in a namespace.
    fn there(&self, namespace: &str) -> Vec<String> {
        let status = self.json(&["status"]);
        let components = status["components"].as_array().expect("components");
        components
            .iter()
            .filter(|one| one["namespace"] == namespace)
            .map(|one| one["name"].as_str().expect("name").to_owned())
            .collect()
    }

    fn level(&self) -> Value {
        self.json(&["config", "get", "analytics-service"])["LOG_LEVEL"].clone()
    }
}

#[test]
#[ignore = "needs a cluster"]
fn a_context_is_looked_at_without_a_question() {
    let platform = Platform::running();
    let afar = Afar::of(&platform);
    let status = afar.json(&["status"]);
    assert_eq!(status["cluster"], CONTEXT);
    assert!(
        afar.there("voiceassistant-prod")
            .contains(&"agent-engine".to_owned())
    );
    assert!(
        afar.there("voiceassistant-infra")
            .contains(&"postgres".to_owned())
    );
    let line = afar.succeed(&["logs", "agent-engine", "--tail", "1", "-o", "json"]);
    assert!(line.contains("\"service\":\"agent-engine\""), "{line}");
    let page = afar.json(&["describe", "postgres"]);
    assert_eq!(
        (&page["name"], &page["ready"]),
        (&"postgres".into(), &page["replicas"])
    );
    assert!(page.get("unreadable").is_none(), "{page:#}");
    let key = afar.succeed(&["config", "get", "agent-engine", "SERVICE_NAME"]);
    assert_eq!(key.trim(), "agent-engine");
    let part = afar.run(&["describe", "minio-standalone"]);
    let said = text(&part.stdout) + &text(&part.stderr);
    assert!(
        part.status.success() || said.contains("`minio-standalone`"),
        "{said}"
    );
}

#[test]
#[ignore = "needs a cluster"]
fn named_questions_are_answered_or_say_what_is_missing() {
    let platform = Platform::running();
    let afar = Afar::of(&platform);
    let deployed = afar
        .there("voiceassistant-infra")
        .contains(&"prometheus".to_owned());
    for named in ["targets", "errors", "latency"] {
        let output = afar.run(&["query", named]);
        let said = text(&output.stderr);
        if deployed {
            let honest = said.contains("any of the series");
            assert!(output.status.success() || honest, "query {named}: {said}");
        } else {
            assert_eq!(output.status.code(), Some(5), "query {named}: {said}");
            assert!(said.contains("prometheus is not deployed"), "{said}");
        }
    }
}

#[test]
#[ignore = "needs a cluster"]
fn a_change_is_asked_for_and_refused_where_nobody_answers() {
    let platform = Platform::running();
    let afar = Afar::of(&platform);
    let pods = || afar.json(&["describe", "voice-engine"])["pods"][0]["name"].clone();
    let before = pods();
    let refused = afar.run(&["restart", "voice-engine"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(8), "{said}");
    assert!(said.contains("not vadev's own cluster"), "{said}");
    assert_eq!(pods(), before, "nothing was restarted");
    afar.succeed(&["restart", "voice-engine", "--yes"]);
    // The old pod may be listed until it has ended.
    eventually("another pod", || (pods() != before).then_some(()));
}

#[test]
#[ignore = "needs a cluster"]
fn configuration_goes_back_to_what_the_cluster_had() {
    let platform = Platform::running();
    let afar = Afar::of(&platform);
    let catalog = afar.level();
    let set = |pair: &str| afar.succeed(&["config", "set", "analytics-service", pair, "--yes"]);
    set("LOG_LEVEL=debug");
    assert_eq!(afar.level(), "debug");
    afar.succeed(&["config", "undo", "analytics-service", "--yes"]);
    assert_eq!(afar.level(), catalog, "undo gives back, and deletes nothing");
    set("LOG_LEVEL=trace");
    afar.succeed(&[
        "config",
        "set",
        "analytics-service",
        "--unset",
        "LOG_LEVEL",
        "--yes",
    ]);
    assert_eq!(afar.level(), catalog, "the catalog's value is back");
    platform.up();
}

#[test]
#[ignore = "needs a cluster"]
fn an_autoscaler_of_a_tree_keeps_what_was_not_said_and_applications_go_alone() {
    use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler as Hpa;
    let platform = Platform::running();
    let afar = Afar::of(&platform);
    let stored: Hpa = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "of-a-tree", "labels": {"owner": "somebody"}},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "voice-engine"},
            "minReplicas": 1, "maxReplicas": 2,
            "metrics": [{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "voice-engine",
                "target": {"type": "Utilization", "averageUtilization": 70}}}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 123}},
        },
    }))
    .expect("an autoscaler");
    let api = async || -> kube::Api<Hpa> {
        kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-prod")
    };
    crate::harness::block_on(async {
        let params = kube::api::PostParams::default();
        api().await.create(&params, &stored).await.expect("create");
    });
    let args = ["hpa", "set", "voice-engine", "--max", "3", "--cpu", "55", "--yes"];
    let now = afar.json(&args);
    crate::harness::block_on(async {
        let kept = api().await.get("of-a-tree").await.expect("get");
        let params = kube::api::DeleteParams::default();
        api().await.delete("of-a-tree", &params).await.expect("delete");
        let kept = serde_json::to_value(kept).expect("JSON");
        assert_eq!(kept["spec"]["maxReplicas"], 3, "{kept:#}");
        assert_eq!(
            kept["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"],
            123
        );
        assert_eq!(kept["metadata"]["labels"]["owner"], "somebody");
        let target = &kept["spec"]["metrics"][0]["containerResource"]["target"];
        assert_eq!(target["averageUtilization"], 55, "{kept:#}");
    });
    assert_eq!(now[0]["name"], "of-a-tree", "{now:#}");

    // One that vadev made goes with its workload, which is what this removes.
    afar.succeed(&["hpa", "set", "voice-engine", "--min", "1", "--max", "2", "--yes"]);
    let removed = afar.json(&["down", "--apps", "--yes"]).to_string();
    assert!(removed.contains("voice-engine-hpa"), "{removed}");
    assert!(afar.there("voiceassistant-prod").is_empty());
    assert!(
        afar.there("voiceassistant-infra")
            .contains(&"postgres".to_owned())
    );
    platform.up();
    assert!(
        afar.there("voiceassistant-prod")
            .contains(&"voice-engine".to_owned())
    );
}

#[test]
#[ignore = "needs a cluster"]
fn the_roles_of_a_promoted_tree_are_enough() {
    let platform = Platform::running();
    let viewer = Afar::with_role(&platform, "viewer");
    assert!(
        viewer
            .there("voiceassistant-prod")
            .contains(&"agent-engine".to_owned())
    );
    for args in [
        &["logs", "agent-engine", "--tail", "1"][..],
        &["describe", "agent-engine"],
        &["events"],
        &["hpa", "list"],
        &["config", "get", "agent-engine"],
        &["rollout", "history", "agent-engine"],
        &["netpol", "show"],
    ] {
        viewer.succeed(args);
    }
    crate::harness::eventually("figures of pods", || {
        let top = viewer.run(&["top"]);
        top.status.success().then_some(())
    });
    let refused = viewer.run(&["restart", "voice-engine", "--yes"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(5), "{said}");

    let operator = Afar::with_role(&platform, "operator");
    operator.succeed(&["restart", "voice-engine", "--yes"]);
    operator.succeed(&["config", "set", "analytics-service", "LOG_LEVEL=debug", "--yes"]);
    assert_eq!(operator.level(), "debug");
    operator.succeed(&["config", "undo", "analytics-service", "--yes"]);
    operator.succeed(&["scale", "voice-engine", "1", "--no-save", "--yes"]);
    platform.up();
}
