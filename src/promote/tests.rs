//! The production tree: its files, its bytes, and what it refuses.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::check::Known;
use super::*;
use crate::profile::{Sources, Stack, Workspace, load_all};
use crate::render::Object;

/// An image with a digest for everything, as a registry would tell them.
pub(super) fn environment() -> Environment {
    let loaded = load_all(&Sources::default(), "shop").expect("what is built in");
    let mut images = IndexMap::new();
    let mut pin = |name: &str, reference: String| {
        let digest = crate::agent::digest::hex(reference.as_bytes());
        images.insert(name.to_owned(), format!("{reference}@sha256:{digest}"));
    };
    for workload in loaded
        .catalog
        .infrastructure
        .values()
        .flat_map(|system| &system.workloads)
    {
        pin(&workload.name, workload.image.official.clone());
    }
    for service in loaded.catalog.services.values() {
        pin(
            &service.name,
            format!("{}:{}", service.image.repository, service.image.version),
        );
    }
    Environment {
        hosts: vec!["api.voiceassistant.example".to_owned()],
        tokens: Some(environment::TokenIssuer {
            issuer: "https://login.voiceassistant.example".to_owned(),
            jwks_uri: "https://login.voiceassistant.example/keys".to_owned(),
            audience: None,
        }),
        images,
        ..Environment::unnamed()
    }
}

pub(super) fn stack_of(profile: &str, workspace: Option<&Workspace>, set: &[String]) -> Stack {
    let loaded = load_all(&Sources::default(), "shop").expect("what is built in");
    let workspace = workspace.unwrap_or(&loaded.workspace);
    production_stack(
        &loaded.catalog,
        &loaded.profiles[profile],
        workspace,
        &environment(),
        set,
    )
    .expect("resolves")
}

pub(super) fn tree_of(profile: &str) -> Tree {
    tree(
        &stack_of(profile, None, &[]),
        &environment(),
        Target::default(),
        &IndexMap::new(),
    )
}

const CONTRACT: &str = "deploy-all.yaml
infrastructure/README.md
infrastructure/alertmanager.yaml
infrastructure/clickhouse.yaml
infrastructure/elasticsearch.yaml
infrastructure/jaeger.yaml
infrastructure/kafka.yaml
infrastructure/milvus.yaml
infrastructure/minio-standalone.yaml
infrastructure/nacos.yaml
infrastructure/postgres.yaml
infrastructure/prometheus-grafana.yaml
infrastructure/redis.yaml
istio/destination-rule.yaml
istio/gateway.yaml
istio/namespace.yaml
istio/security.yaml
istio/telemetry.yaml
istio/traffic-management.yaml
istio/virtual-service.yaml
services/go/ai-orchestrator.yaml
services/go/analytics-service.yaml
services/go/conversation-service.yaml
services/go/identity-service.yaml
services/go/knowledge-service.yaml
services/go/notification-service.yaml
services/python/agent-engine.yaml
services/python/indexing-service.yaml
services/python/model-adapter.yaml
services/python/multimodal-engine.yaml
services/python/rag-engine.yaml
services/python/retrieval-service.yaml
services/python/vector-store-adapter.yaml
services/python/voice-engine.yaml";

#[test]
fn the_tree_is_the_one_of_the_contract_to_the_byte() {
    let texts = tree_of("prod").texts().expect("YAML");
    let names: Vec<&str> = texts.keys().map(String::as_str).collect();
    assert_eq!(names, CONTRACT.lines().collect::<Vec<_>>());
    assert_eq!(tree_of("prod").texts().expect("YAML"), texts);
    for file in [
        "deploy-all.yaml",
        "infrastructure/README.md",
        "infrastructure/postgres.yaml",
        "istio/security.yaml",
        "istio/gateway.yaml",
        "services/go/conversation-service.yaml",
    ] {
        insta::assert_snapshot!(file.replace('/', "-"), texts[file]);
    }
    // The others are held by their digests: what changes in them is seen, and looked at in a rendering.
    let digests: Vec<String> = texts
        .iter()
        .map(|(file, text)| format!("{} {file}", &crate::agent::digest::hex(text.as_bytes())[..16]))
        .collect();
    insta::assert_snapshot!("tree", digests.join("\n"));
}

#[test]
fn every_profile_passes_its_own_check_and_conforms() {
    for profile in ["minimal", "dev", "demo", "full", "prod"] {
        let tree = tree_of(profile);
        let errors: Vec<_> = check(&tree, &Known::default());
        assert!(errors.is_empty(), "{profile}: {errors:#?}");
        for (_, object) in tree.objects() {
            if !object["apiVersion"]
                .as_str()
                .is_some_and(|version| version.contains("istio.io"))
            {
                crate::render::tests::conforms(&Object::new("x", object.clone()));
            }
            let text = object.to_string();
            assert!(
                !text.contains("shop") && !text.contains("vadev.dev/workspace"),
                "{text}"
            );
        }
        let ids: BTreeSet<String> = tree
            .objects()
            .map(|(_, object)| tree::id(object).to_string())
            .collect();
        assert_eq!(
            ids.len(),
            tree.objects().count(),
            "{profile}: an object is there twice"
        );
    }
}

#[test]
fn a_laptops_sizes_stay_on_the_laptop_and_its_configuration_goes_along() {
    let text = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\nservices:\n  agent-engine:\n    replicas: 1\n    \
                resources: { requests: { cpu: 1m } }\n    config: { MAX_STEPS: \"7\" }\n";
    let workspace = crate::profile::read_workspace(&("vadev.yaml".into(), text.into())).expect("workspace");
    let (dev, prod) = (
        stack_of("dev", Some(&workspace), &[]),
        stack_of("prod", None, &[]),
    );
    let of = |stack: &Stack| {
        stack
            .services
            .iter()
            .find(|sized| sized.service.name == "agent-engine")
            .expect("there")
            .clone()
    };
    assert_eq!(of(&dev).resources, of(&prod).resources);
    assert_eq!(of(&dev).replicas, of(&prod).replicas);
    assert_eq!(of(&dev).service.config["MAX_STEPS"], "7");
    let scaled = stack_of("prod", None, &["agent-engine.replicas=9".to_owned()]);
    assert_eq!(
        (
            of(&scaled).service.autoscaling.min,
            of(&scaled).service.autoscaling.max
        ),
        (9, 9)
    );
}

#[test]
fn a_newer_target_gets_more_and_an_older_one_is_told_what_it_misses() {
    let stack = stack_of("prod", None, &[]);
    let newest =
        Target::new(Version { major: 1, minor: 34 }, Version { major: 1, minor: 31 }).expect("supported");
    let texts = |target| {
        tree(&stack, &environment(), target, &IndexMap::new())
            .texts()
            .expect("YAML")
    };
    let (old, new) = (texts(Target::default()), texts(newest));
    assert!(old["istio/gateway.yaml"].contains("networking.istio.io/v1beta1"));
    assert!(new["istio/gateway.yaml"].contains("networking.istio.io/v1\n"));
    let service = "services/python/agent-engine.yaml";
    for word in [
        "matchLabelKeys",
        "ContainerResource",
        "unhealthyPodEvictionPolicy",
    ] {
        assert!(
            new[service].contains(word) && !old[service].contains(word),
            "{word}"
        );
        assert!(
            old["infrastructure/README.md"].contains(word),
            "{word} is left out without a word"
        );
    }
}

#[test]
fn secrets_are_references_or_come_from_a_store() {
    let mut external = environment();
    external.secrets.mode = environment::SecretMode::External;
    external.secrets.store = Some("vault".to_owned());
    let stack = stack_of("prod", None, &[]);
    for environment in [&environment(), &external] {
        let tree = tree(&stack, environment, Target::default(), &IndexMap::new());
        assert!(tree.objects().all(|(_, object)| object["kind"] != "Secret"));
    }
    let tree = tree(&stack, &external, Target::default(), &IndexMap::new());
    let made = tree
        .objects()
        .filter(|(_, object)| object["kind"] == "ExternalSecret");
    let made: BTreeSet<String> = made
        .map(|(_, object)| object["metadata"]["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let needed: BTreeSet<String> = secrets::needed(&stack)
        .into_iter()
        .map(|key| key.secret)
        .filter(|name| name.ends_with("-secret"))
        .collect();
    assert_eq!(made, needed);
    let of = |name: &str| {
        tree.objects()
            .find(|(_, object)| object["kind"] == "ExternalSecret" && object["metadata"]["name"] == name)
            .expect("there")
            .1
    };
    let data = &of("identity-service-secret")["spec"]["data"];
    assert!(
        data.to_string()
            .contains(r#""key":"voiceassistant/postgres","property":"password""#),
        "{data}"
    );
}

#[test]
fn a_sidecar_is_as_large_as_the_quota_thinks() {
    let stack = stack_of("minimal", None, &[]);
    let size = stack.mesh.as_ref().expect("a mesh").sidecar;
    for (file, object) in tree_of("minimal").objects() {
        let meshed = object["kind"] == "Deployment" && file.starts_with("services/");
        let annotations = &object["spec"]["template"]["metadata"]["annotations"];
        let cpu = annotations["sidecar.istio.io/proxyCPU"].as_str();
        assert_eq!(
            cpu,
            meshed.then(|| size.requests.cpu.to_string()).as_deref(),
            "{file}"
        );
        let limit = annotations["sidecar.istio.io/proxyMemoryLimit"].as_str();
        assert_eq!(
            limit,
            meshed.then(|| size.limits.memory.to_string()).as_deref(),
            "{file}"
        );
    }
}

#[test]
fn no_service_is_called_as_an_object_of_the_platforms_own() {
    let tree = tree_of("full");
    let stack = stack_of("full", None, &[]);
    let is_service = |name: &str| stack.services.iter().any(|sized| sized.service.name == name);
    let of_services = || tree.objects().filter(|(file, _)| file.starts_with("services/"));
    let kinds: BTreeSet<&str> = of_services()
        .filter_map(|(_, object)| object["kind"].as_str())
        .chain(["VirtualService", "DestinationRule", "AuthorizationPolicy"])
        .collect();
    for (file, object) in tree.objects().filter(|(file, _)| !file.starts_with("services/")) {
        let id = tree::id(object);
        let there = id.namespace.as_deref() == Some(stack.namespaces.apps.as_str());
        if there && kinds.contains(id.kind.as_str()) && !is_service(&id.name) {
            let reserved = crate::catalog::semantic::RESERVED;
            assert!(
                reserved.contains(&id.name.as_str()),
                "{file}: {id} can be replaced by a service"
            );
        }
    }
}
