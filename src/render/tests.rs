//! Rendered objects are what Kubernetes' own types say: nothing misspelt, nothing left over.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, LimitRange, Namespace, ResourceQuota, Secret, Service as CoreService, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::catalog::service::Amount;
use crate::catalog::{Bytes, MilliCpu};
use crate::profile::{Selection, Sources, load_all, resolve};

/// What the typed object says again must be what was rendered: a key that the type does not know would be lost.
fn round_trip<T: DeserializeOwned + Serialize>(value: &Value) {
    let typed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
    assert_eq!(serde_json::to_value(&typed).expect("serialises"), *value);
}

/// Checks one object against its type.
pub fn conforms(object: &Object) {
    let value = object.value();
    match object.id().kind.as_str() {
        "Deployment" => round_trip::<Deployment>(value),
        "StatefulSet" => round_trip::<StatefulSet>(value),
        "Service" => round_trip::<CoreService>(value),
        "ServiceAccount" => round_trip::<ServiceAccount>(value),
        "ConfigMap" => round_trip::<ConfigMap>(value),
        "Secret" => round_trip::<Secret>(value),
        "Namespace" => round_trip::<Namespace>(value),
        "PodDisruptionBudget" => round_trip::<PodDisruptionBudget>(value),
        "ClusterRole" => round_trip::<ClusterRole>(value),
        "APIService" => round_trip::<APIService>(value),
        "ClusterRoleBinding" => round_trip::<ClusterRoleBinding>(value),
        "Role" => round_trip::<Role>(value),
        "RoleBinding" => round_trip::<RoleBinding>(value),
        "NetworkPolicy" => round_trip::<NetworkPolicy>(value),
        "HorizontalPodAutoscaler" => round_trip::<HorizontalPodAutoscaler>(value),
        "ResourceQuota" => round_trip::<ResourceQuota>(value),
        "LimitRange" => round_trip::<LimitRange>(value),
        "PriorityClass" => round_trip::<PriorityClass>(value),
        // Istio's kinds have no types here; the API server checks them strictly in the e2e tests.
        kind => assert!(
            object.id().api_version.contains("istio.io"),
            "{kind} has no type to be checked against"
        ),
    }
}

/// The built-in profile on a machine of 2 cores and 24 GiB, with an image for everything.
fn setting(stack: &Stack) -> Setting {
    let image = |origin| DeployedImage {
        reference: "vadev.local/any:1".into(),
        origin,
    };
    let systems = stack
        .infrastructure
        .iter()
        .flat_map(|system| &system.infrastructure.workloads);
    let systems = systems.map(|workload| (workload.name.clone(), image(Origin::Packages)));
    let services = stack
        .services
        .iter()
        .map(|sized| (sized.service.name.clone(), image(Origin::StandIn)));
    let value = |key: &String| (key.clone(), "secret".to_owned());
    let of_systems = stack.infrastructure.iter().map(|system| {
        let entry = &system.infrastructure;
        (entry.name.clone(), entry.secrets.keys().map(value).collect())
    });
    let of_services = stack.services.iter().map(|sized| {
        (
            sized.service.name.clone(),
            sized.service.secrets.keys().map(value).collect(),
        )
    });
    Setting {
        images: systems
            .chain(services)
            .chain([(metrics::NAME.to_owned(), image(Origin::Packages))])
            .collect(),
        secrets: of_systems.chain(of_services).collect(),
        secret_references: false,
        mesh: mesh::MeshSetting {
            tokens: Some(mesh::TokenTrust {
                issuer: "vadev.dev/development".into(),
                audience: "voiceassistant".into(),
                keys: mesh::TokenKeys::Inline(r#"{"keys":[]}"#.into()),
            }),
            traces_percent: 100,
            ..mesh::MeshSetting::default()
        },
        ..Setting::default()
    }
}

fn stack(profile: &str) -> Stack {
    let loaded = load_all(&Sources::default(), "test").expect("what is built in");
    let host = Amount {
        cpu: MilliCpu(2000),
        memory: Bytes::mib(24 * 1024),
    };
    resolve(
        &loaded.catalog,
        &loaded.profiles[profile],
        &loaded.workspace,
        &Selection::default(),
        Some(host),
    )
    .expect("resolves")
}

#[test]
fn every_object_of_every_profile_is_what_kubernetes_types_say() {
    for profile in ["minimal", "dev", "demo", "full", "prod"] {
        let stack = stack(profile);
        let objects = objects(&stack, &setting(&stack));
        assert!(objects.len() > 40, "{profile}: {}", objects.len());
        objects.iter().for_each(conforms);
    }
}

#[test]
fn what_is_built_here_is_never_asked_for_elsewhere_and_ends_quickly() {
    let stack = stack("dev");
    let mut setting = setting(&stack);
    for image in setting.images.values_mut() {
        image.origin = Origin::Built;
    }
    let of_services = objects(&stack, &setting)
        .into_iter()
        .filter(|object| object.id().kind == "Deployment" && object.id().name == "agent-engine");
    let services: Vec<Object> = of_services.collect();
    services.iter().for_each(conforms);
    let pod = &services[0].value()["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["imagePullPolicy"], "Never");
    assert!(
        container["startupProbe"].is_null() && container["args"].is_null(),
        "{container}"
    );
    assert_eq!(container["readinessProbe"]["periodSeconds"], 1);
    for image in setting.images.values_mut() {
        image.reference = "registry.example/team/agent-engine:dev-0a4bf1cd1970".into();
    }
    let pushed = objects(&stack, &setting);
    let pushed = pushed
        .iter()
        .find(|object| object.id().kind == "Deployment" && object.id().name == "agent-engine");
    let container = pushed.map(|object| &object.value()["spec"]["template"]["spec"]["containers"][0]);
    assert_eq!(
        container.expect("a Deployment")["imagePullPolicy"],
        "IfNotPresent"
    );
    assert_eq!(
        services[0].value()["metadata"]["annotations"][object::ORIGIN],
        "built"
    );
}

#[test]
fn every_object_is_marked_as_vadevs_and_named_once() {
    let stack = stack("dev");
    let objects = objects(&stack, &setting(&stack));
    for object in &objects {
        let labels = &object.value()["metadata"]["labels"];
        assert_eq!(labels[object::MANAGED_BY], "vadev", "{}", object.id());
        assert_eq!(labels[object::WORKSPACE], "test", "{}", object.id());
        assert!(!object.component().is_empty(), "{}", object.id());
    }
    let ids: std::collections::BTreeSet<ObjectId> = objects.iter().map(Object::id).collect();
    assert_eq!(ids.len(), objects.len());
}

#[test]
fn a_rendering_is_the_same_to_the_byte_and_as_it_was() {
    let stack = stack("dev");
    let of = |component: &str| {
        let objects = objects(&stack, &setting(&stack));
        let chosen: Vec<Object> = objects
            .into_iter()
            .filter(|object| object.component() == component)
            .collect();
        yaml::documents(&chosen).expect("YAML")
    };
    for component in ["conversation-service", "postgres", "mesh", "namespaces"] {
        let text = of(component);
        assert_eq!(of(component), text);
        insta::assert_snapshot!(component, text);
    }
}

/// Every object, a line each, with its keys in order: whatever changes in a rendering shows here, and in which objects.
#[test]
fn the_whole_of_a_profile_is_as_it_was() {
    let stack = stack("dev");
    let lines = objects(&stack, &setting(&stack)).into_iter().map(|object| {
        // serde_json keeps keys as they were written, and their order means nothing.
        let mut value = object.value().clone();
        value.sort_all_objects();
        format!("{}\n  {value}", object.id())
    });
    insta::assert_snapshot!("whole-dev", lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_cluster_and_its_mesh_are_configured_as_they_were() {
    let kind = kind::KindCluster {
        name: "vadev-test".into(),
        nodes: 2,
        node_image: "vadev.local/kind-node:1".into(),
        http_port: 8080,
        https_port: 8443,
        cgroup_v1: false,
        audit_folder: Some("/work/.vadev/audit".into()),
    };
    insta::assert_snapshot!("kind", yaml::values(&[kind.render()]).expect("YAML"));
    let images = |origin| operator::IstioImages {
        hub: "vadev.local/istio".into(),
        tag: "1".into(),
        origin,
    };
    let stack = stack("dev");
    for (name, origin) in [
        ("operator-packages", Origin::Packages),
        ("operator-registry", Origin::Registry),
    ] {
        let operator = operator::render(&stack, &images(origin)).expect("a mesh");
        insta::assert_snapshot!(name, yaml::values(&[operator]).expect("YAML"));
    }
}
