//! Facts that explain differences between what runs here and production.

use indexmap::IndexMap;
use serde_json::Value;

use super::Environment;
use super::diff::Explanation;
use crate::profile::profile::Override;
use crate::render::object::PROMOTED_COMPONENT;

/// What explains a difference, beside the kind of thing that differs.
#[derive(Debug, Clone, Default)]
pub struct Reasons<'a> {
    /// Components and workloads that the first set has not, and is known not to have.
    pub left_out: Vec<String>,
    /// Workloads whose image in the first set comes with files of its own.
    pub other_files: Vec<String>,
    /// What the environment file replaces, by component.
    pub stated: Option<&'a IndexMap<String, Override>>,
}

impl<'a> Reasons<'a> {
    /// What an environment file states.
    pub fn of(environment: &'a Environment) -> Self {
        Self {
            stated: Some(&environment.overrides),
            ..Self::default()
        }
    }

    /// Whether the first set is known to lack an object.
    pub(super) fn leaves_out(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        [&labels["app"], &labels[PROMOTED_COMPONENT]]
            .into_iter()
            .filter_map(Value::as_str)
            .any(|name| self.left_out.iter().any(|left| left == name))
    }

    /// Whether a field of an object differs for one of the reasons.
    pub(super) fn explain(&self, object: &Value, path: &str) -> bool {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let (component, key) = if object["kind"] == "ConfigMap" {
            let Some(key) = path.strip_prefix("data.") else {
                return false;
            };
            let app = object["metadata"]["labels"]["app"].as_str();
            if app.is_some_and(|app| self.other_files.iter().any(|other| other == app)) {
                return true;
            }
            (name.strip_suffix("-config").unwrap_or(name), key)
        } else {
            let key = path
                .split_once("].env[")
                .and_then(|(_, rest)| rest.split_once(']'));
            (name, key.map_or("", |(key, _)| key))
        };
        let stated = self.stated.and_then(|stated| stated.get(component));
        stated.is_some_and(|stated| stated.config.contains_key(key))
    }
}

/// Whether a field goes with the image. Another image has other arguments, environment and files of its own, as its recipe
/// states them; what is built here is probed more often, is replaced without a wait or room for another replica, and may be
/// given secrets that only this machine knows.
pub(super) fn of_image(path: &str) -> bool {
    let parts = [
        ".args",
        ".command",
        ".env[",
        ".envFrom",
        ".volumeMounts",
        ".startupProbe",
        ".livenessProbe",
        ".readinessProbe",
        ".terminationGracePeriodSeconds",
        ".strategy.rollingUpdate.",
    ];
    parts.iter().any(|part| path.contains(part))
}

/// Parts of paths whose differences are of size.
const SIZES: [&str; 11] = [
    ".replicas",
    ".resources",
    "minReplicas",
    "maxReplicas",
    "outlierDetection",
    "HEAP",
    "JAVA_OPTS",
    "JVM_XM",
    "storage",
    ".hard",
    "spec.limits",
];
/// Parts of paths whose differences are of place.
const PLACES: [&str; 31] = [
    ".image",
    ".labels",
    ".annotations",
    "priorityClassName",
    "topologySpreadConstraints",
    "envFrom",
    "issuer",
    "jwks",
    "jwksUri",
    "audiences",
    ".hosts",
    "httpsRedirect",
    "randomSamplingPercentage",
    "spec.metrics",
    "spec.tracing",
    "progressDeadlineSeconds",
    "imagePullSecrets",
    "env[VADEV_",
    "storageClassName",
    "unhealthyPodEvictionPolicy",
    "credentialName",
    ".tls",
    "audit",
    "nodePort",
    "secretKeyRef",
    ".matchLabelKeys",
    "serviceAccount",
    "jwtRules",
    ".selector.istio",
    ".updateStrategy",
    // The hosts under which a missing token is told from a wrong one.
    "and_filter.filters",
];

/// Why a field of an object of a kind differs, by where it is.
pub(super) fn explain(kind: &str, path: &str) -> Explanation {
    let has = |parts: &[&str]| parts.iter().any(|part| path.contains(part));
    if kind == "HorizontalPodAutoscaler" || has(&SIZES) {
        Explanation::Sizing
    } else if has(&PLACES)
        || matches!(
            kind,
            "Secret" | "Namespace" | "NetworkPolicy" | "RequestAuthentication"
        )
    {
        Explanation::Environment
    } else {
        Explanation::Drift
    }
}
