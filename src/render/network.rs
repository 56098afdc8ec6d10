//! Network policies: nothing between namespaces or pods but what the catalog says.
//!
//! They repeat for packets what the mesh's authorization says for requests, and say it for the stores, which have no
//! sidecar. Within each namespace everything is denied first; then come names (DNS), the mesh, the call graph, each
//! service's stores, scraping, and the internet for the few that need it.

use serde_json::{Value, json};

use crate::catalog::Group;
use crate::catalog::infrastructure::Workload;
use crate::profile::Stack;
use crate::profile::stack::{SizedInfrastructure, SizedService};

/// Istio's ports on istiod: configuration and certificates over TLS.
const ISTIOD: u16 = 15012;
/// The sidecar's merged metrics.
const SIDECAR_METRICS: u16 = 15020;
/// A sidecar's health, which the kubelet asks for.
const SIDECAR_HEALTH: u16 = 15021;
/// The kubelet's, on every node: its own metrics and its containers'.
const KUBELET: u16 = 10250;
/// Addresses that are not the internet.
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
];

/// What holds for whole namespaces: deny, then names and the mesh.
pub fn namespaces(stack: &Stack) -> Vec<Value> {
    let mut policies = Vec::new();
    for namespace in [&stack.namespaces.apps, &stack.namespaces.infra] {
        policies.push(policy(
            namespace,
            "default-deny",
            &json!({}),
            &["Ingress", "Egress"],
            &json!({}),
        ));
        let names = json!({ "egress": [{
            "to": [{ "namespaceSelector": named("kube-system"), "podSelector": { "matchLabels": { "k8s-app": "kube-dns" } } }],
            "ports": [{ "protocol": "UDP", "port": 53 }, { "protocol": "TCP", "port": 53 }],
        }] });
        policies.push(policy(namespace, "allow-dns", &json!({}), &["Egress"], &names));
    }
    if stack.mesh.is_some() {
        let istiod = json!({ "egress": [{
            "to": [{ "namespaceSelector": named(&stack.namespaces.mesh), "podSelector": { "matchLabels": { "app": "istiod" } } }],
            "ports": [tcp(ISTIOD)],
        }] });
        policies.push(policy(
            &stack.namespaces.apps,
            "allow-mesh",
            &json!({}),
            &["Egress"],
            &istiod,
        ));
    }
    policies.extend(scraping(stack));
    policies.extend(tracing(stack));
    policies
}

/// Prometheus and whatever else reads the cluster: into every pod of the platform.
fn scraping(stack: &Stack) -> Vec<Value> {
    let readers: Vec<&str> = stack
        .infrastructure
        .iter()
        .flat_map(|system| &system.infrastructure.workloads)
        .filter(|workload| workload.reads_cluster)
        .map(|workload| workload.name.as_str())
        .collect();
    if readers.is_empty() {
        return Vec::new();
    }
    let from =
        json!([{ "namespaceSelector": named(&stack.namespaces.infra), "podSelector": apps(&readers) }]);
    // Without a mesh the service itself is asked; with one its sidecar's agent, which asks the service.
    let mut ports: Vec<u16> = vec![SIDECAR_METRICS, SIDECAR_HEALTH];
    if stack.mesh.is_none() {
        ports = stack.services.iter().map(|sized| sized.service.port).collect();
        ports.sort_unstable();
        ports.dedup();
    }
    let ports: Vec<Value> = ports.into_iter().map(tcp).collect();
    vec![
        policy(
            &stack.namespaces.apps,
            "allow-scraping",
            &json!({}),
            &["Ingress"],
            &json!({ "ingress": [{ "from": from, "ports": ports }] }),
        ),
        policy(
            &stack.namespaces.infra,
            "allow-scraping",
            &json!({}),
            &["Ingress"],
            &json!({ "ingress": [{ "from": [{ "podSelector": apps(&readers) }] }] }),
        ),
        // API server and kubelets have no pods that a selector could find; their addresses are the cluster's own affair.
        policy(
            &stack.namespaces.infra,
            "allow-reading-the-cluster",
            &apps(&readers),
            &["Egress"],
            &json!({ "egress": [
                { "ports": [tcp(443), tcp(6443), tcp(KUBELET)] },
                { "to": [{ "podSelector": {} }, { "namespaceSelector": named(&stack.namespaces.apps) }, { "namespaceSelector": named(&stack.namespaces.mesh) }] },
            ] }),
        ),
    ]
}

/// Every service sends its traces to the system that takes them.
fn tracing(stack: &Stack) -> Option<Value> {
    let jaeger = stack
        .infrastructure
        .iter()
        .find(|system| system.infrastructure.name == super::mesh::TRACE_SYSTEM)?;
    let names: Vec<&str> = jaeger
        .infrastructure
        .workloads
        .iter()
        .map(|workload| workload.name.as_str())
        .collect();
    let to = json!([{ "namespaceSelector": named(&stack.namespaces.infra), "podSelector": apps(&names) }]);
    let spec = json!({ "egress": [{ "to": to, "ports": [tcp(4317), tcp(4318)] }] });
    Some(policy(
        &stack.namespaces.apps,
        "allow-tracing",
        &json!({}),
        &["Egress"],
        &spec,
    ))
}

/// The policy of one service: who may come in, and where it may go.
pub fn service(stack: &Stack, sized: &SizedService) -> Value {
    let service = &sized.service;
    let port = json!([tcp(service.port)]);
    let callers: Vec<&str> = stack
        .services
        .iter()
        .filter(|other| other.service.calls.contains(&service.name))
        .map(|other| other.service.name.as_str())
        .collect();
    let mut ingress = Vec::new();
    if let Some(mesh) = &stack.mesh {
        let gateway = json!({ "matchLabels": mesh.policy.ingress.selector });
        ingress.push(json!({
            "from": [{ "namespaceSelector": named(&stack.namespaces.mesh), "podSelector": gateway }],
            "ports": port,
        }));
    }
    if !callers.is_empty() {
        ingress.push(json!({ "from": [{ "podSelector": apps(&sorted(callers)) }], "ports": port }));
    }
    let mut egress: Vec<Value> = Vec::new();
    for callee in sized
        .service
        .calls
        .iter()
        .filter_map(|name| stack.services.iter().find(|other| other.service.name == *name))
    {
        egress.push(json!({
            "to": [{ "podSelector": apps(&[callee.service.name.as_str()]) }],
            "ports": [tcp(callee.service.port)],
        }));
    }
    for system in stores(stack, sized) {
        for workload in &system.infrastructure.workloads {
            let ports: Vec<Value> = workload.ports.iter().map(|port| tcp(port.port)).collect();
            egress.push(json!({
                "to": [{ "namespaceSelector": named(&stack.namespaces.infra), "podSelector": apps(&[workload.name.as_str()]) }],
                "ports": ports,
            }));
        }
    }
    if service.internet {
        egress.push(
            json!({ "to": [{ "ipBlock": { "cidr": "0.0.0.0/0", "except": PRIVATE } }], "ports": [tcp(443)] }),
        );
    }
    let mut spec = json!({ "ingress": ingress });
    let mut types = vec!["Ingress"];
    if !egress.is_empty() {
        spec["egress"] = json!(egress);
        types.push("Egress");
    }
    labelled(
        policy(
            &stack.namespaces.apps,
            &service.name,
            &apps(&[service.name.as_str()]),
            &types,
            &spec,
        ),
        &service.name,
    )
}

/// The policies of one system: its clients among the services, and the systems that belong together.
pub fn system(stack: &Stack, sized: &SizedInfrastructure) -> Vec<Value> {
    let infra = &stack.namespaces.infra;
    let clients: Vec<&str> = stack
        .services
        .iter()
        .filter(|other| {
            stores(stack, other).any(|store| store.infrastructure.name == sized.infrastructure.name)
        })
        .map(|other| other.service.name.as_str())
        .collect();
    let traces = sized.infrastructure.name == super::mesh::TRACE_SYSTEM;
    let monitoring = sized.infrastructure.group == Group::Monitoring;
    let mut policies = Vec::new();
    for workload in &sized.infrastructure.workloads {
        let name = workload.name.as_str();
        let ports: Vec<Value> = workload.ports.iter().map(|port| tcp(port.port)).collect();
        let own: Vec<&str> = sized
            .infrastructure
            .workloads
            .iter()
            .map(|workload| workload.name.as_str())
            .collect();
        let mut ingress = vec![json!({ "from": [{ "podSelector": apps(&own) }] })];
        let mut egress = vec![json!({ "to": [{ "podSelector": apps(&own) }] })];
        if !clients.is_empty() {
            let from = json!([{ "namespaceSelector": named(&stack.namespaces.apps), "podSelector": apps(&sorted(clients.clone())) }]);
            ingress.push(json!({ "from": from, "ports": ports }));
        }
        if traces {
            let everyone = json!([{ "namespaceSelector": named(&stack.namespaces.apps) }, { "namespaceSelector": named(&stack.namespaces.mesh) }]);
            ingress.push(json!({ "from": everyone, "ports": [tcp(4317), tcp(4318)] }));
        }
        if monitoring {
            let family = monitors(stack);
            ingress.push(json!({ "from": [{ "podSelector": apps(&family) }] }));
            egress.push(json!({ "to": [{ "podSelector": apps(&family) }] }));
            // Alerts leave the cluster; where to is the operator's configuration.
            if sized.infrastructure.name == "alertmanager" {
                egress.push(json!({ "to": [{ "ipBlock": { "cidr": "0.0.0.0/0", "except": PRIVATE } }], "ports": [tcp(443), tcp(587)] }));
            }
        }
        let readers = readers(stack, sized);
        if !readers.is_empty() {
            ingress.push(json!({ "from": [{ "podSelector": apps(&readers) }], "ports": ports }));
        }
        for other in read_by(stack, sized, workload) {
            for theirs in &other.infrastructure.workloads {
                let ports: Vec<Value> = theirs.ports.iter().map(|port| tcp(port.port)).collect();
                egress.push(
                    json!({ "to": [{ "podSelector": apps(&[theirs.name.as_str()]) }], "ports": ports }),
                );
            }
        }
        let spec = json!({ "ingress": ingress, "egress": egress });
        policies.push(labelled(
            policy(infra, name, &apps(&[name]), &["Ingress", "Egress"], &spec),
            name,
        ));
    }
    policies
}

/// The systems that a workload logs in to: those whose password it is given, as an exporter is.
fn read_by<'a>(
    stack: &'a Stack,
    sized: &'a SizedInfrastructure,
    workload: &'a Workload,
) -> impl Iterator<Item = &'a SizedInfrastructure> {
    let own = &sized.infrastructure;
    stack.infrastructure.iter().filter(move |other| {
        let theirs = other.infrastructure.name != own.name;
        theirs
            && own.secrets.iter().any(|(key, source)| {
                let from = source.from.as_ref();
                from.is_some_and(|from| other.infrastructure.is_called(from))
                    && workload.secret_env.values().any(|used| used == key)
            })
    })
}

/// The other systems' workloads that log in to a system.
fn readers<'a>(stack: &'a Stack, sized: &SizedInfrastructure) -> Vec<&'a str> {
    let name = &sized.infrastructure.name;
    let mut readers = Vec::new();
    for other in &stack.infrastructure {
        for workload in &other.infrastructure.workloads {
            if read_by(stack, other, workload).any(|read| read.infrastructure.name == *name) {
                readers.push(workload.name.as_str());
            }
        }
    }
    sorted(readers)
}

fn monitors(stack: &Stack) -> Vec<&str> {
    let systems = stack.infrastructure.iter().map(|system| &system.infrastructure);
    let monitors = systems.filter(|system| system.group == Group::Monitoring);
    sorted(
        monitors
            .flat_map(|system| &system.workloads)
            .map(|workload| workload.name.as_str())
            .collect(),
    )
}

fn stores<'a>(stack: &'a Stack, sized: &'a SizedService) -> impl Iterator<Item = &'a SizedInfrastructure> {
    stack.infrastructure.iter().filter(|system| {
        sized
            .service
            .stores
            .iter()
            .any(|store| system.infrastructure.is_called(store))
    })
}

fn policy(namespace: &str, name: &str, pods: &Value, types: &[&str], rules: &Value) -> Value {
    let mut spec = json!({ "podSelector": pods, "policyTypes": types });
    if let (Some(spec), Some(rules)) = (spec.as_object_mut(), rules.as_object()) {
        spec.extend(rules.clone());
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": { "name": name, "namespace": namespace },
        "spec": spec,
    })
}

fn labelled(mut policy: Value, app: &str) -> Value {
    policy["metadata"]["labels"] = json!({ "app": app });
    policy
}

/// Every namespace carries its own name as this label, from Kubernetes 1.22 on.
fn named(namespace: &str) -> Value {
    json!({ "matchLabels": { "kubernetes.io/metadata.name": namespace } })
}

fn apps(names: &[&str]) -> Value {
    match names {
        [only] => json!({ "matchLabels": { "app": only } }),
        several => json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": several }] }),
    }
}

fn sorted(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

fn tcp(port: u16) -> Value {
    json!({ "protocol": "TCP", "port": port })
}
