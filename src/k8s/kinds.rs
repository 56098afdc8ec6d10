//! Kinds whose resource names are known beforehand, so that applying them needs no discovery round trip.

use std::collections::HashMap;
use std::sync::Mutex;

use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{Scope, pinned_kind};

use super::error::K8sError;

/// One kind of the fixed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindInfo {
    /// Group and version, for instance `apps/v1`.
    pub api_version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// The resource's name in URLs.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

const fn ns(api_version: &'static str, kind: &'static str, plural: &'static str) -> KindInfo {
    KindInfo {
        api_version,
        kind,
        plural,
        namespaced: true,
    }
}

const fn global(api_version: &'static str, kind: &'static str, plural: &'static str) -> KindInfo {
    KindInfo {
        api_version,
        kind,
        plural,
        namespaced: false,
    }
}

/// Pods, which vadev never applies and therefore are not among [`BUILT_IN`].
pub const PODS: &[KindInfo] = &[ns("v1", "Pod", "pods")];

/// Every kind that vadev renders or that Istio's manifests hold, in the order in which deletion is safest when read
/// backwards. Kubernetes 1.25+ and Istio 1.22+ serve all of these versions; see [`KindInfo::before`].
pub const BUILT_IN: &[KindInfo] = &[
    global("v1", "Namespace", "namespaces"),
    global(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
    ),
    global("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses"),
    global("storage.k8s.io/v1", "StorageClass", "storageclasses"),
    global("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
    global(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
    ),
    global(
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    ),
    global(
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    global(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
    ),
    global(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    ),
    ns("v1", "ServiceAccount", "serviceaccounts"),
    ns("v1", "ResourceQuota", "resourcequotas"),
    ns("v1", "LimitRange", "limitranges"),
    ns("rbac.authorization.k8s.io/v1", "Role", "roles"),
    ns("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    ns("v1", "Secret", "secrets"),
    ns("v1", "ConfigMap", "configmaps"),
    global("v1", "PersistentVolume", "persistentvolumes"),
    ns("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ns("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    ns("v1", "Service", "services"),
    ns("apps/v1", "StatefulSet", "statefulsets"),
    ns("apps/v1", "Deployment", "deployments"),
    ns("apps/v1", "DaemonSet", "daemonsets"),
    ns("batch/v1", "Job", "jobs"),
    ns("batch/v1", "CronJob", "cronjobs"),
    ns(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    ),
    ns("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ns("networking.k8s.io/v1", "Ingress", "ingresses"),
    ns("networking.istio.io/v1", "Gateway", "gateways"),
    ns("networking.istio.io/v1", "VirtualService", "virtualservices"),
    ns("networking.istio.io/v1", "DestinationRule", "destinationrules"),
    ns("networking.istio.io/v1", "ServiceEntry", "serviceentries"),
    ns("networking.istio.io/v1", "Sidecar", "sidecars"),
    ns("networking.istio.io/v1alpha3", "EnvoyFilter", "envoyfilters"),
    ns(
        "security.istio.io/v1",
        "PeerAuthentication",
        "peerauthentications",
    ),
    ns(
        "security.istio.io/v1",
        "RequestAuthentication",
        "requestauthentications",
    ),
    ns(
        "security.istio.io/v1",
        "AuthorizationPolicy",
        "authorizationpolicies",
    ),
    ns("telemetry.istio.io/v1", "Telemetry", "telemetries"),
    global("apiregistration.k8s.io/v1", "APIService", "apiservices"),
];

impl KindInfo {
    /// The table's entry for a kind.
    pub fn find(api_version: &str, kind: &str) -> Option<&'static Self> {
        BUILT_IN
            .iter()
            .find(|k| k.api_version == api_version && k.kind == kind)
    }

    /// The table's entries for kinds, as they are observed.
    pub fn several(wanted: &[(&str, &str)]) -> Vec<Self> {
        let found = wanted
            .iter()
            .filter_map(|(api_version, kind)| Self::find(api_version, kind));
        found.copied().collect()
    }

    /// Where the kind stands in [`BUILT_IN`]; unknown kinds come last.
    pub fn rank(api_version: &str, kind: &str) -> usize {
        BUILT_IN
            .iter()
            .position(|k| {
                let older = || k.before().is_some_and(|older| older.api_version == api_version);
                k.kind == kind && (k.api_version == api_version || older())
            })
            .unwrap_or(BUILT_IN.len())
    }

    /// The same kind as a server has it that does not serve this version: Istio before 1.22.
    pub(super) fn before(&self) -> Option<Self> {
        let api_version = match self.api_version {
            "networking.istio.io/v1" => "networking.istio.io/v1beta1",
            "security.istio.io/v1" => "security.istio.io/v1beta1",
            "telemetry.istio.io/v1" => "telemetry.istio.io/v1alpha1",
            _ => return None,
        };
        Some(Self { api_version, ..*self })
    }

    pub(super) fn resource(&self) -> ApiResource {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", self.api_version));
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.api_version.to_owned(),
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

/// The fixed table and what discovery has added to it.
#[derive(Debug, Default)]
pub(super) struct Kinds(Mutex<HashMap<(String, String), (ApiResource, bool)>>);

impl Kinds {
    /// The resource of a kind and whether it is namespaced, by table, by cache, or by one discovery request.
    pub(super) async fn resolve(
        &self,
        client: &kube::Client,
        api_version: &str,
        kind: &str,
    ) -> Result<(ApiResource, bool), kube::Error> {
        if let Some(info) = KindInfo::find(api_version, kind) {
            return Ok((info.resource(), info.namespaced));
        }
        let key = (api_version.to_owned(), kind.to_owned());
        if let Some(found) = self.cache().get(&key) {
            return Ok(found.clone());
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let (resource, capabilities) =
            pinned_kind(client, &GroupVersionKind::gvk(group, version, kind)).await?;
        let found = (resource, capabilities.scope == Scope::Namespaced);
        self.cache().insert(key, found.clone());
        Ok(found)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), (ApiResource, bool)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether a failed discovery means that the kind is not there (yet), rather than that the server can't be asked.
pub(super) fn is_unknown_kind(error: &kube::Error) -> bool {
    match error {
        kube::Error::Discovery(_) => true,
        kube::Error::Api(status) => status.code == 404,
        _ => false,
    }
}

/// Whether discovery's failure should be told as [`K8sError::UnknownKind`].
pub(super) fn unknown_kind(api_version: &str, kind: &str) -> K8sError {
    K8sError::UnknownKind {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_knows_each_kind_once() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in BUILT_IN {
            assert!(
                seen.insert((kind.api_version, kind.kind)),
                "{} is there twice",
                kind.kind
            );
        }
    }

    #[test]
    fn namespaces_and_definitions_come_before_what_needs_them() {
        assert!(KindInfo::rank("v1", "Namespace") < KindInfo::rank("v1", "ConfigMap"));
        assert!(KindInfo::rank("v1", "Secret") < KindInfo::rank("apps/v1", "Deployment"));
        assert_eq!(KindInfo::rank("example.org/v1", "Thing"), BUILT_IN.len());
        let gateway = |version: &str| KindInfo::rank(&format!("networking.istio.io/{version}"), "Gateway");
        assert_eq!(gateway("v1beta1"), gateway("v1"));
    }

    #[test]
    fn a_core_kind_has_no_group() {
        let resource = KindInfo::find("v1", "Pod")
            .or(KindInfo::find("v1", "Service"))
            .unwrap()
            .resource();
        assert_eq!((resource.group.as_str(), resource.version.as_str()), ("", "v1"));
    }
}
