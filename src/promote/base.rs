//! `deploy-all.yaml`: what has to be there before any component. Namespaces, priorities, bounds, rights, and the network's
//! default.

use serde_json::{Value, json};

use super::harden::{APPS_PRIORITY, INFRA_PRIORITY};
use super::{Environment, Target};
use crate::catalog::service::{Amount, Resources};
use crate::catalog::{Bytes, MilliCpu};
use crate::profile::Stack;
use crate::render::network;

/// All objects of `deploy-all.yaml`.
pub fn objects(stack: &Stack, environment: &Environment, target: Target) -> Vec<Value> {
    let mut objects = namespaces(stack, environment, target);
    objects.extend(priorities());
    objects.extend(bounds(stack));
    objects.extend(rights(stack, environment));
    objects.extend(network::namespaces(stack));
    objects
}

/// The mesh's namespace, which holds the gateway's policies; Istio made it or will.
pub fn mesh_namespace(stack: &Stack) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": stack.namespaces.mesh } })
}

/// The strictest standard is enforced where every pod meets it, and watched where the mesh's init container cannot: it
/// needs network rights unless Istio's CNI plugin does its work.
fn namespaces(stack: &Stack, environment: &Environment, target: Target) -> Vec<Value> {
    let version = format!("v{}", target.kubernetes);
    let standard = |enforced: &str| {
        json!({
            "pod-security.kubernetes.io/enforce": enforced,
            "pod-security.kubernetes.io/enforce-version": version,
            "pod-security.kubernetes.io/warn": "restricted",
            "pod-security.kubernetes.io/warn-version": version,
            "pod-security.kubernetes.io/audit": "restricted",
            "pod-security.kubernetes.io/audit-version": version,
        })
    };
    let meshed = stack.mesh.is_some() && !environment.mesh.cni;
    let mut apps = standard(if meshed { "privileged" } else { "restricted" });
    if stack.mesh.is_some() {
        match &environment.mesh.revision {
            Some(revision) => apps["istio.io/rev"] = json!(revision),
            None => apps["istio-injection"] = json!("enabled"),
        }
    }
    let mut infra = standard("restricted");
    infra["istio-injection"] = json!("disabled");
    let namespace = |name: &str, labels: Value| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    vec![
        namespace(&stack.namespaces.apps, apps),
        namespace(&stack.namespaces.infra, infra),
    ]
}

/// Databases go last when a node runs out.
fn priorities() -> Vec<Value> {
    let class = |name: &str, value: u32, description: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": { "name": name },
            "value": value,
            "globalDefault": false,
            "description": description,
        })
    };
    vec![
        class(INFRA_PRIORITY, 900_000, "VoiceAssistant's stores and brokers"),
        class(APPS_PRIORITY, 800_000, "VoiceAssistant's services"),
    ]
}

/// Quotas hold every service at its most replicas and one more of each during a rollout, and no more: a runaway ends here
/// and not in somebody else's namespace. Volumes may grow to twice their size. Limits are for pods that forget their own.
fn bounds(stack: &Stack) -> Vec<Value> {
    let sidecar = stack
        .mesh
        .as_ref()
        .map_or_else(Resources::default, |mesh| mesh.sidecar);
    let services = stack.services.iter().map(|sized| {
        let pods = sized.service.autoscaling.max.max(sized.replicas) + 1;
        (sized.resources, sidecar, pods)
    });
    let systems = stack
        .infrastructure
        .iter()
        .flat_map(|system| system.sizes.values());
    // StatefulSets replace a pod by itself; a Deployment of one may have two for a moment.
    let systems = systems.map(|size| (size.resources, Resources::default(), size.replicas + 1));
    let claims: Vec<Bytes> = stack
        .infrastructure
        .iter()
        .flat_map(|system| system.sizes.values())
        .flat_map(|size| {
            size.volumes
                .values()
                .flat_map(|volume| (0..size.replicas).map(|_| *volume))
        })
        .collect();
    let storage: Bytes = claims.iter().copied().sum();
    let apps = quota(&stack.namespaces.apps, services, None);
    let infra = quota(&stack.namespaces.infra, systems, Some((claims.len(), storage)));
    vec![
        apps,
        infra,
        defaults(&stack.namespaces.apps),
        defaults(&stack.namespaces.infra),
    ]
}

fn quota(
    namespace: &str,
    pods: impl Iterator<Item = (Resources, Resources, u32)>,
    storage: Option<(usize, Bytes)>,
) -> Value {
    let (mut requests, mut limits, mut count) = (Amount::default(), Bytes::default(), 0);
    for (own, sidecar, times) in pods {
        let many = u64::from(times);
        requests.cpu = requests.cpu + (own.requests.cpu + sidecar.requests.cpu) * many;
        requests.memory = requests.memory + (own.requests.memory + sidecar.requests.memory) * many;
        limits = limits + (own.limits.memory + sidecar.limits.memory) * many;
        count += times;
    }
    let mut hard = json!({
        "requests.cpu": requests.cpu,
        "requests.memory": requests.memory,
        "limits.memory": limits,
        "pods": count.to_string(),
        "services.nodeports": "0",
        "services.loadbalancers": "0",
    });
    let (claims, bytes) = storage.unwrap_or_default();
    hard["persistentvolumeclaims"] = json!(claims.to_string());
    hard["requests.storage"] = json!(bytes * 2);
    json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": { "name": "platform", "namespace": namespace },
        "spec": { "hard": hard },
    })
}

fn defaults(namespace: &str) -> Value {
    let amount = |cpu: u64, mib: u64| json!({ "cpu": MilliCpu(cpu), "memory": Bytes::mib(mib) });
    json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": { "name": "defaults", "namespace": namespace },
        "spec": { "limits": [{
            "type": "Container",
            "default": amount(1000, 512),
            "defaultRequest": amount(100, 128),
        }] },
    })
}

/// What people may do, by role: look, and operate. Of namespaces alone, and enough for vadev's own verbs.
pub fn roles() -> [(&'static str, Value); 2] {
    const READ: [&str; 3] = ["get", "list", "watch"];
    let look = json!([
        // The namespace itself, by which vadev knows that a context still leads to the same cluster.
        { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"] },
        { "apiGroups": [""], "resources": ["pods", "pods/log", "services", "endpoints", "configmaps", "events", "persistentvolumeclaims", "serviceaccounts", "resourcequotas", "limitranges"], "verbs": READ },
        { "apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets", "replicasets", "controllerrevisions"], "verbs": READ },
        // What a wait looks at, so that one that fails can be explained.
        { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": READ },
        { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ },
        { "apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": READ },
        { "apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": READ },
        { "apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": READ },
        { "apiGroups": ["networking.istio.io", "security.istio.io", "telemetry.istio.io"], "resources": ["*"], "verbs": READ },
        { "apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": READ },
    ]);
    let mut work = look.as_array().cloned().unwrap_or_default();
    work.extend([
        json!({ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["update", "patch"] }),
        json!({ "apiGroups": [""], "resources": ["pods"], "verbs": ["delete"] }),
        json!({ "apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create"] }),
        json!({ "apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["patch"] }),
        json!({ "apiGroups": ["apps"], "resources": ["deployments/scale", "statefulsets/scale"], "verbs": ["update", "patch"] }),
        json!({ "apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["patch"] }),
    ]);
    [(VIEWER, look), (OPERATOR, json!(work))]
}

/// Who may look.
const VIEWER: &str = "voiceassistant-viewer";
/// Who may operate.
const OPERATOR: &str = "voiceassistant-operator";

/// Every service has an account without rights, made with it. People get theirs here, by the groups of the environment.
fn rights(stack: &Stack, environment: &Environment) -> Vec<Value> {
    let access = &environment.access;
    let mut objects = Vec::new();
    for namespace in [&stack.namespaces.apps, &stack.namespaces.infra] {
        for (name, rules) in roles() {
            let groups = if name == VIEWER {
                &access.viewers
            } else {
                &access.operators
            };
            objects.push(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": { "name": name, "namespace": namespace },
                "rules": rules,
            }));
            if groups.is_empty() {
                continue;
            }
            let subjects: Vec<Value> = groups
                .iter()
                .map(|group| json!({ "kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io" }))
                .collect();
            objects.push(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": { "name": name, "namespace": namespace },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
                "subjects": subjects,
            }));
        }
    }
    objects
}
