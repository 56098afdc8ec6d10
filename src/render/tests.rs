//! Rendered objects are what Kubernetes' own types say: nothing misspelt, nothing left over.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service as CoreService, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

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
        "ClusterRoleBinding" => round_trip::<ClusterRoleBinding>(value),
        // Istio's kinds have no types here; the API server checks them strictly in the e2e tests.
        kind => assert!(
            object.id().api_version.contains("istio.io"),
            "{kind} has no type to be checked against"
        ),
    }
}
