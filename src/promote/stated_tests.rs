//! What is stated, where and how often, and what a tree comes to by it.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::check::Known;
use super::tests::{environment, stack_of, tree_of};
use super::*;
use crate::profile::{Sources, Stack, load_all};

/// The production stack of `prod` as workspace, environment and `--set` make it.
fn stated(workspace: &str, change: impl Fn(&mut Environment), set: &[&str]) -> Result<Stack, String> {
    let loaded = load_all(&Sources::default(), "shop").expect("what is built in");
    let text = format!("apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n{workspace}");
    let workspace = crate::profile::read_workspace(&("vadev.yaml".into(), text)).expect("workspace");
    let mut environment = environment();
    change(&mut environment);
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    production_stack(
        &loaded.catalog,
        &loaded.profiles["prod"],
        &workspace,
        &environment,
        &set,
    )
    .map_err(|error| error.to_string())
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_workspace() {
    let image = |stack: &Stack, name: &str| images::images(stack, &IndexMap::new())[name].reference.clone();
    let own = environment().images["redis"].clone();
    let by_set = stated("", |_| (), &["redis.image=x/redis:9"]).expect("resolves");
    assert_eq!(image(&by_set, "redis"), "x/redis:9");
    let workspace = "infrastructure:\n  minio-standalone: { config: { A: workspace } }\n  \
                     minio: { image: 'x/minio:1', config: { A: workload } }\n";
    let by_environment = |environment: &mut Environment| {
        let images = &mut environment.images;
        images.shift_remove("minio");
        images.insert("minio-standalone".to_owned(), "x/minio:2".to_owned());
        let change = crate::profile::profile::Override {
            config: IndexMap::from([("A".to_owned(), "environment".to_owned())]),
            ..Default::default()
        };
        environment
            .overrides
            .insert("minio-standalone".to_owned(), change);
    };
    let stack = stated(workspace, by_environment, &[]).expect("resolves");
    assert_eq!(
        (image(&stack, "minio"), image(&stack, "redis")),
        ("x/minio:2".to_owned(), own)
    );
    let workloads = || {
        stack
            .infrastructure
            .iter()
            .flat_map(|one| &one.infrastructure.workloads)
    };
    let minio = workloads()
        .find(|workload| workload.name == "minio")
        .expect("there");
    assert_eq!(minio.env["A"], "environment");
}

#[test]
fn stated_replicas_are_the_least_that_autoscaling_keeps() {
    let scaling = |set: &[&str]| {
        let stack = stated("", |_| (), set).expect("resolves");
        let mut services = stack.services.iter();
        let agent = services
            .find(|sized| sized.service.name == "agent-engine")
            .expect("there");
        let loaded = load_all(&Sources::default(), "shop").expect("what is built in");
        let figure = stack
            .figures
            .iter()
            .find(|one| one.component == "agent-engine" && one.field == "autoscaling");
        let (told, notes) = (
            figure.expect("told").value.clone(),
            stack::notes(&loaded.catalog, &stack),
        );
        assert_eq!(told, agent.service.autoscaling.to_string());
        (
            agent.service.autoscaling.min,
            agent.service.autoscaling.max,
            notes.len(),
        )
    };
    let (least, most, _) = scaling(&[]);
    let replicas = stack_of("prod", None, &[])
        .services
        .iter()
        .find(|one| one.service.name == "agent-engine")
        .expect("there")
        .replicas;
    // Also where the figure is the catalog's own.
    assert_eq!(
        scaling(&[&format!("agent-engine.replicas={replicas}")]),
        (replicas, most, 0)
    );
    assert_eq!(scaling(&["agent-engine.replicas=1"]), (1, most, 0));
    assert_eq!(
        scaling(&[&format!("agent-engine.replicas={}", most + 1)]),
        (most + 1, most + 1, 1)
    );
    assert!(least >= 1);
    let stopped = stated("", |_| (), &["agent-engine.replicas=0"]).expect_err("stopped");
    assert!(stopped.contains("`agent-engine` has 0 replicas"), "{stopped}");
}

#[test]
fn a_profile_without_a_mesh_asks_for_none_and_is_warned_of() {
    let mut stack = stack_of("minimal", None, &[]);
    stack.mesh = None;
    let tree = tree(&stack, &environment(), Target::default(), &IndexMap::new());
    let found = check(&tree, &Known::default());
    assert_eq!(found.iter().map(|one| one.rule).collect::<Vec<_>>(), ["no-mesh"]);
    for word in ["Istio", "istioctl", "voiceassistant-tls-cert"] {
        assert!(!tree.readme.contains(word), "{word}: {}", tree.readme);
    }
    assert!(
        tree.readme.contains("1. metrics-server") && tree.readme.contains("2. These Secrets"),
        "{}",
        tree.readme
    );
}

#[test]
fn the_stores_operator_is_asked_in_the_version_that_it_serves() {
    for (version, expected) in [
        (environment::StoreApi::V1, "external-secrets.io/v1"),
        (environment::StoreApi::V1Beta1, "external-secrets.io/v1beta1"),
    ] {
        let mut external = environment();
        external.secrets.mode = environment::SecretMode::External;
        external.secrets.store = Some("vault".to_owned());
        external.secrets.api_version = version;
        let tree = tree(
            &stack_of("minimal", None, &[]),
            &external,
            Target::default(),
            &IndexMap::new(),
        );
        let mut made = tree
            .objects()
            .filter(|(_, object)| object["kind"] == "ExternalSecret");
        assert!(made.all(|(_, object)| object["apiVersion"] == expected));
        assert!(tree.readme.contains(&format!("`{expected}`")), "{}", tree.readme);
    }
}

#[test]
fn every_host_is_warned_of_and_of_http_only_where_it_is_served() {
    for (hosts, told) in [(vec!["*".to_owned()], false), (Vec::new(), true)] {
        let mut environment = environment();
        environment.hosts = hosts;
        let tree = tree(
            &stack_of("minimal", None, &[]),
            &environment,
            Target::default(),
            &IndexMap::new(),
        );
        let found = check(&tree, &Known::default());
        assert!(
            found.iter().all(|one| one.rule == "any-host") && !found.is_empty(),
            "{found:?}"
        );
        assert_eq!(
            found.iter().any(|one| one.problem.contains("without sending it")),
            told,
            "{found:?}"
        );
    }
}

#[test]
fn manifests_beside_the_tree_are_looked_at_with_it() {
    let tree = tree_of("minimal");
    let mut beside = Tree::default();
    let mut again = tree.files["deploy-all.yaml"][0].clone();
    again["metadata"]["labels"]["mine"] = serde_json::json!("1");
    let secret = serde_json::json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "mine" } });
    let nothing = serde_json::json!({ "replicas": 1 });
    beside
        .files
        .insert("mine.yaml".to_owned(), vec![again, secret, nothing]);
    let found = check::check_beside(&tree, &beside, &Known::default());
    let rules: BTreeSet<&str> = found.iter().map(|one| one.rule).collect();
    assert_eq!(
        rules,
        BTreeSet::from(["no-object", "object-twice", "secret-in-tree"])
    );
    assert!(
        found
            .iter()
            .all(|one| one.severity == Severity::Warning && one.file == "mine.yaml")
    );
}
