//! The planner on the built-in catalog and profiles.

use std::sync::LazyLock;

use super::*;
use crate::catalog::service::Amount;
use crate::catalog::{Bytes, MilliCpu};

static BUILT_IN: LazyLock<Loaded> =
    LazyLock::new(|| load_all(&Sources::default(), "test").expect("what is built in"));

pub fn loaded() -> &'static Loaded {
    &BUILT_IN
}

pub fn machine(cores: u64, gib: u64) -> Amount {
    Amount {
        cpu: MilliCpu(cores * 1000),
        memory: Bytes::mib(gib * 1024),
    }
}

pub fn stack(profile: &str, selection: &Selection, host: Amount) -> Stack {
    let loaded = loaded();
    resolve(
        &loaded.catalog,
        &loaded.profiles[profile],
        &loaded.workspace,
        selection,
        Some(host),
    )
    .expect("resolves")
}

#[test]
fn the_promised_machines_hold_their_profiles() {
    for (profile, host) in [
        ("minimal", machine(2, 6)),
        ("dev", machine(2, 7)),
        ("demo", machine(2, 24)),
    ] {
        let capacity = Capacity::of(&stack(profile, &Selection::default(), host), host, false);
        assert!(capacity.fits(), "{profile}\n{}", capacity.table().join("\n"));
    }
}

#[test]
fn what_is_built_in_has_every_name_of_the_platform() {
    let loaded = loaded();
    let services = [
        "agent-engine",
        "ai-orchestrator",
        "analytics-service",
        "conversation-service",
        "identity-service",
        "indexing-service",
        "knowledge-service",
        "model-adapter",
        "multimodal-engine",
        "notification-service",
        "rag-engine",
        "retrieval-service",
        "vector-store-adapter",
        "voice-engine",
    ];
    assert_eq!(loaded.catalog.services.keys().collect::<Vec<_>>(), services);
    let systems = [
        "milvus",
        "nacos",
        "postgres",
        "redis",
        "clickhouse",
        "elasticsearch",
        "kafka",
        "minio-standalone",
        "alertmanager",
        "jaeger",
        "prometheus-grafana",
    ];
    assert_eq!(loaded.catalog.infrastructure.keys().collect::<Vec<_>>(), systems);
    assert_eq!(
        loaded.profiles.keys().collect::<Vec<_>>(),
        ["demo", "dev", "full", "minimal", "prod"]
    );
    for service in loaded.catalog.services.values() {
        assert_eq!(
            service.image.repository,
            format!("ghcr.io/voiceassistant/{}", service.name)
        );
        assert_eq!(
            (service.port, service.probes.liveness.as_str()),
            (8080, "/health"),
            "{}",
            service.name
        );
        assert!(
            !service.prefixes.is_empty() && service.config.contains_key("LOG_LEVEL"),
            "{}",
            service.name
        );
    }
}

#[test]
fn the_call_graph_is_the_platforms() {
    let catalog = &loaded().catalog;
    let line = |service: &crate::catalog::Service| {
        format!(
            "{}: {} | {}",
            service.name,
            service.calls.join(" "),
            service.stores.join(" ")
        )
    };
    let graph: Vec<String> = catalog.services.values().map(line).collect();
    insta::assert_snapshot!(graph.join("\n"), @r"
    agent-engine: model-adapter rag-engine retrieval-service | redis nacos
    ai-orchestrator: agent-engine rag-engine voice-engine multimodal-engine | redis nacos
    analytics-service:  | clickhouse kafka nacos
    conversation-service: identity-service ai-orchestrator | postgres redis kafka nacos
    identity-service:  | postgres redis nacos
    indexing-service: vector-store-adapter model-adapter | kafka minio postgres
    knowledge-service: identity-service indexing-service retrieval-service | postgres minio kafka nacos
    model-adapter:  | redis
    multimodal-engine: model-adapter | minio
    notification-service: identity-service | redis kafka nacos
    rag-engine: retrieval-service model-adapter | redis nacos
    retrieval-service: vector-store-adapter | elasticsearch redis
    vector-store-adapter:  | milvus
    voice-engine: model-adapter | minio redis
    ");
}

#[test]
fn production_leaves_room_on_the_smallest_real_cluster() {
    // Three nodes of 8 CPU and 16 GB (not GiB), of which the kubelet and the system keep 0.1 CPU and 1 GiB each.
    let nodes = Amount {
        cpu: MilliCpu(3 * 7_900),
        memory: Bytes(3 * (16_000_000_000 - (1 << 30))),
    };
    let stack = stack("prod", &Selection::default(), nodes);
    let scaled: Vec<_> = stack
        .figures
        .iter()
        .filter(|figure| figure.rule != "production's")
        .collect();
    assert!(scaled.is_empty() && !stack.figures.is_empty(), "{scaled:?}");
    assert!(
        stack
            .figures
            .iter()
            .all(|figure| figure.production == figure.value)
    );
    let capacity = Capacity::of(&stack, nodes, false);
    // A rolling update of every service at once adds a quarter of its replicas, rounded up: one each of two.
    let surge: Amount = stack
        .services
        .iter()
        .fold(Amount::default(), |sum, service| Amount {
            cpu: sum.cpu + service.resources.requests.cpu,
            memory: sum.memory + service.resources.requests.memory,
        });
    assert!(
        capacity.needed.cpu + surge.cpu <= nodes.cpu,
        "{}",
        capacity.table().join("\n")
    );
    assert!(
        capacity.needed.memory + surge.memory <= nodes.memory,
        "{}",
        capacity.table().join("\n")
    );
}

#[test]
fn a_subset_has_what_it_needs_and_says_what_it_lacks() {
    let wish = Selection {
        services: vec!["rag-engine".into()],
        ..Selection::default()
    };
    let stack = stack("dev", &wish, machine(2, 8));
    let names: Vec<&str> = stack.component_names().collect();
    let expected = [
        "milvus",
        "nacos",
        "redis",
        "model-adapter",
        "vector-store-adapter",
        "retrieval-service",
        "rag-engine",
        "istio",
    ];
    assert_eq!(names, expected);
    assert_eq!(stack.services[2].absent, ["elasticsearch"]);
    assert!(stack.partial);
    assert_eq!(
        names.len() + stack.left_out.len(),
        26,
        "every component is there or left out with a reason"
    );
}

#[test]
fn services_stand_after_those_they_call() {
    let stack = stack("dev", &Selection::default(), machine(2, 8));
    let place = |name: &str| {
        stack
            .services
            .iter()
            .position(|service| service.service.name == name)
            .expect(name)
    };
    for service in &stack.services {
        for callee in &service.service.calls {
            assert!(
                place(callee) < place(&service.service.name),
                "{callee} → {}",
                service.service.name
            );
        }
    }
}

#[test]
fn object_storage_comes_with_the_first_service_that_needs_it() {
    let has_minio = |profile| {
        stack(profile, &Selection::default(), machine(4, 16))
            .component_names()
            .any(|n| n == "minio-standalone")
    };
    assert!(has_minio("dev") && !has_minio("minimal"));
}

#[test]
fn only_takes_groups_and_names_as_they_are_in_the_whole_profile() {
    let whole = stack("dev", &Selection::default(), machine(2, 8));
    let wish = Selection {
        only: vec!["core-storage".into(), "voice-engine".into()],
        ..Selection::default()
    };
    let part = stack("dev", &wish, machine(2, 8));
    let names: Vec<&str> = part.component_names().collect();
    assert_eq!(
        names,
        ["milvus", "nacos", "postgres", "redis", "voice-engine", "istio"]
    );
    assert!(
        part.infrastructure
            .iter()
            .all(|system| whole.infrastructure.contains(system))
    );
    let loaded = loaded();
    let wrong = Selection {
        only: vec!["core-storag".into()],
        ..Selection::default()
    };
    let error = resolve(
        &loaded.catalog,
        &loaded.profiles["dev"],
        &loaded.workspace,
        &wrong,
        None,
    )
    .expect_err("misspelt");
    assert_eq!(
        crate::failure::Diagnose::hint(&error).as_deref(),
        Some("did you mean `core-storage`?")
    );
}

#[test]
fn overrides_win_in_order_and_are_explained() {
    let wish = Selection {
        set: vec![
            "nacos.limits.memory=2Gi".into(),
            "rag-engine.replicas=3".into(),
            "minio.image=x/y:1".into(),
        ],
        ..Selection::default()
    };
    let stack = stack("dev", &wish, machine(2, 8));
    let nacos = stack
        .infrastructure
        .iter()
        .find(|s| s.infrastructure.name == "nacos")
        .expect("nacos");
    assert_eq!(nacos.sizes["nacos"].resources.limits.memory, Bytes::mib(2048));
    let percent = nacos.infrastructure.workloads[0].heap.expect("a heap").percent;
    assert_eq!(
        nacos.sizes["nacos"].heap_mib,
        Some(2048 * u64::from(percent) / 100)
    );
    let rag = stack
        .services
        .iter()
        .find(|s| s.service.name == "rag-engine")
        .expect("rag-engine");
    assert_eq!(rag.replicas, 3);
    let rules: Vec<_> = stack
        .figures
        .iter()
        .filter(|f| f.component == "rag-engine")
        .collect();
    assert!(
        rules
            .iter()
            .any(|f| f.field == "replicas" && f.rule == "stated by an override"),
        "{rules:?}"
    );
    assert!(
        stack
            .infrastructure
            .iter()
            .any(|s| s.images.get("minio").is_some_and(|image| image == "x/y:1"))
    );
}

#[test]
fn what_cannot_fit_is_refused_with_a_table_and_the_nearest_profile() {
    let floors = stack("full", &Selection::default(), Amount::default());
    let mut host = Capacity::of(&floors, Amount::default(), false).needed;
    host.memory.0 -= 1;
    let capacity = |name: &str| Capacity::of(&stack(name, &Selection::default(), host), host, false);
    let others: Vec<_> = ["minimal", "dev", "full"]
        .map(|name| (name.to_owned(), capacity(name)))
        .into();
    let refused = capacity("full")
        .check("full", &others)
        .expect_err("a byte is missing");
    assert_eq!(refused.nearest.as_deref(), Some("dev"));
    assert!(
        crate::failure::Diagnose::details(&refused)
            .iter()
            .any(|line| line.starts_with("elasticsearch"))
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::service::Resources;
    use crate::profile::capacity::KUBERNETES;

    fn fitted(profile: &str, cpu: u64, mib: u64) -> (Stack, Amount) {
        let host = Amount {
            cpu: MilliCpu(cpu),
            memory: Bytes::mib(mib),
        };
        (stack(profile, &Selection::default(), host), host)
    }

    fn sizes(stack: &Stack) -> Vec<(String, Resources)> {
        let mesh = stack.mesh.as_ref().expect("a mesh");
        let mesh = [
            ("istiod", mesh.pilot),
            ("gateway", mesh.gateway),
            ("sidecar", mesh.sidecar),
        ];
        let mesh = mesh.map(|(name, size)| (name.to_owned(), size));
        let systems = stack.infrastructure.iter().flat_map(|system| &system.sizes);
        let systems = systems.map(|(name, size)| (name.clone(), size.resources));
        let services = stack
            .services
            .iter()
            .map(|sized| (sized.service.name.clone(), sized.resources));
        mesh.into_iter().chain(systems).chain(services).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The sum of requests is within the host, or everything is at its floor.
        #[test]
        fn never_exceeds_the_host_unless_the_floors_do(cpu in 0u64..20_000, mib in 0u64..40_000) {
            let (stack, host) = fitted("full", cpu, mib);
            let (floors, _) = fitted("full", 0, 0);
            let (asked, least) = (stack.requested(), floors.requested());
            prop_assert!(asked.cpu + KUBERNETES.cpu <= host.cpu || asked.cpu == least.cpu);
            prop_assert!(asked.memory + KUBERNETES.memory <= host.memory || asked.memory == least.memory);
        }

        /// A larger host never gives any component less.
        #[test]
        fn grows_with_the_host(cpu in 1_000u64..16_000, mib in 2_000u64..32_000, more in 0u64..8_000) {
            let (small, _) = fitted("demo", cpu, mib);
            let (large, _) = fitted("demo", cpu + more, mib + more);
            for ((name, a), (_, b)) in sizes(&small).iter().zip(sizes(&large)) {
                prop_assert!(a.requests.cpu <= b.requests.cpu && a.requests.memory <= b.requests.memory, "{name}");
                prop_assert!(a.limits.memory <= b.limits.memory && b.requests.memory <= b.limits.memory, "{name}");
            }
        }
    }
}
