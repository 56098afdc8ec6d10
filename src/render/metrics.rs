//! metrics-server: CPU and memory of pods and nodes, for `top` and for autoscalers. A part of the cluster rather than of the
//! platform: real clusters have one.

use serde_json::{Value, json};

use super::object::ORIGIN;
use super::{Object, Setting};

/// Its name: component, workload, image.
pub const NAME: &str = "metrics-server";
/// What real clusters pull.
pub const OFFICIAL: &str = "registry.k8s.io/metrics-server/metrics-server:v0.8.0";
/// The recipe that makes it from packages.
pub const RECIPE: &str = "metrics-server";
/// Where it runs: its rights are on the whole cluster.
pub const NAMESPACE: &str = "kube-system";
/// Its port. Not the kubelet's 10250, which the host's network has.
const PORT: u16 = 4443;

/// Its objects; none where the setting has no image for it.
pub fn render(setting: &Setting) -> Vec<Object> {
    let Some(image) = setting.images.get(NAME) else {
        return Vec::new();
    };
    let mut objects = rights();
    objects.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata(NAME),
        "spec": { "selector": { "app": NAME }, "ports": [{ "name": "https", "port": 443, "targetPort": "https", "protocol": "TCP" }] },
    }));
    let mut deployment = deployment(&image.reference);
    deployment["metadata"]["annotations"] = json!({ ORIGIN: image.origin.word() });
    objects.push(deployment);
    objects.push(json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": "v1beta1.metrics.k8s.io", "labels": { "app": NAME } },
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            // It signs its certificate itself.
            "insecureSkipTLSVerify": true,
            "service": { "name": NAME, "namespace": NAMESPACE, "port": 443 },
        },
    }));
    objects
        .into_iter()
        .map(|value| Object::new(NAME, value))
        .collect()
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE, "labels": { "app": NAME } })
}

/// Its account, what it may read, and that it may ask the API server whose a request is.
fn rights() -> Vec<Value> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let global = |name: &str| json!({ "name": name, "labels": { "app": NAME } });
    let role = |kind: &str, name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name });
    let account = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }]);
    let mut readers = global("system:aggregated-metrics-reader");
    for role in ["view", "edit", "admin"] {
        readers["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{role}")] = json!("true");
    }
    vec![
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(NAME) }),
        json!({
            "apiVersion": rbac, "kind": "ClusterRole", "metadata": global("system:metrics-server"),
            "rules": [
                { "apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"] },
                { "apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"] },
            ],
        }),
        json!({
            "apiVersion": rbac, "kind": "ClusterRole", "metadata": readers,
            "rules": [{ "apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"] }],
        }),
        json!({
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": global("system:metrics-server"),
            "roleRef": role("ClusterRole", "system:metrics-server"), "subjects": account,
        }),
        json!({
            "apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": global("metrics-server:system:auth-delegator"),
            "roleRef": role("ClusterRole", "system:auth-delegator"), "subjects": account,
        }),
        json!({
            "apiVersion": rbac, "kind": "RoleBinding", "metadata": metadata("metrics-server-auth-reader"),
            "roleRef": role("Role", "extension-apiserver-authentication-reader"), "subjects": account,
        }),
    ]
}

fn deployment(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(NAME),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 5,
            "selector": { "matchLabels": { "app": NAME } },
            "template": {
                "metadata": { "labels": { "app": NAME } },
                "spec": {
                    "serviceAccountName": NAME,
                    "priorityClassName": "system-cluster-critical",
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                        "seccompProfile": { "type": "RuntimeDefault" },
                    },
                    "containers": [{
                        "name": NAME,
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": [
                            "--cert-dir=/tmp",
                            format!("--secure-port={PORT}"),
                            // A kubelet of kind signs its certificate itself.
                            "--kubelet-insecure-tls",
                            "--kubelet-preferred-address-types=InternalIP",
                            // It is ready with its second look at the kubelet, each of which has to end before the next.
                            "--metric-resolution=10s",
                            "--kubelet-request-timeout=8s",
                        ],
                        "ports": [{ "name": "https", "containerPort": PORT, "protocol": "TCP" }],
                        "readinessProbe": { "httpGet": { "path": "/readyz", "port": "https", "scheme": "HTTPS" }, "periodSeconds": 2, "failureThreshold": 3 },
                        "livenessProbe": { "httpGet": { "path": "/livez", "port": "https", "scheme": "HTTPS" }, "periodSeconds": 10, "failureThreshold": 3 },
                        // Measured: 17 MB for a node.
                        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } },
                        "securityContext": { "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } },
                        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
                    }],
                    "volumes": [{ "name": "tmp", "emptyDir": {} }],
                },
            },
        },
    })
}
