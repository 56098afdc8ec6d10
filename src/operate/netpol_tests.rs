//! The policies of a production tree, evaluated for all that has to get through, and for all that has not.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::json;

use super::*;
use crate::k8s::ObjectRef;
use crate::profile::{Sources, Stack, load_all};
use crate::promote::{Environment, Target, Tree, production_stack, tree};

const MONITORING: [&str; 6] = [
    "prometheus",
    "grafana",
    "alertmanager",
    "jaeger",
    "postgres-exporter",
    "redis-exporter",
];

fn production() -> (Stack, Tree) {
    let loaded = load_all(&Sources::default(), "shop").unwrap();
    let environment = Environment::unnamed();
    let profile = &loaded.profiles["prod"];
    let stack = production_stack(&loaded.catalog, profile, &loaded.workspace, &environment, &[]).unwrap();
    let tree = tree(&stack, &environment, Target::default(), &IndexMap::new());
    (stack, tree)
}

fn policies(tree: &Tree) -> Vec<&Value> {
    let objects = tree.objects().map(|(_, object)| object);
    objects
        .filter(|object| object["kind"] == "NetworkPolicy")
        .collect()
}

fn peers(tree: &Tree) -> Vec<Peer> {
    let objects = tree.objects().map(|(_, object)| object);
    let workloads =
        objects.filter(|object| object["kind"] == "Deployment" || object["kind"] == "StatefulSet");
    workloads
        .map(|object| {
            let id = ObjectRef::of(object).unwrap();
            let labels = json!({ "kubernetes.io/metadata.name": id.namespace });
            let value = object.clone();
            peer(&Workload { id, value }, labels)
        })
        .collect()
}

/// Calls, stores, and the exporters' stores.
fn needed(stack: &Stack) -> BTreeSet<(String, String)> {
    let exporters = [("postgres-exporter", "postgres"), ("redis-exporter", "redis")];
    let mut needed: BTreeSet<(String, String)> = exporters
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .into_iter()
        .collect();
    for sized in &stack.services {
        let service = &sized.service;
        let pair = |to: &String| (service.name.clone(), to.clone());
        needed.extend(service.calls.iter().map(pair));
        for system in &stack.infrastructure {
            if service
                .stores
                .iter()
                .any(|store| system.infrastructure.is_called(store))
            {
                let workloads = system.infrastructure.workloads.iter();
                needed.extend(workloads.map(|workload| pair(&workload.name)));
            }
        }
    }
    needed
}

#[test]
fn what_has_to_get_through_does_and_nothing_else() {
    let (stack, tree) = production();
    let (policies, peers, needed) = (policies(&tree), peers(&tree), needed(&stack));
    for (from, to) in &needed {
        assert!(peers.iter().any(|peer| peer.name == *from) && peers.iter().any(|peer| peer.name == *to));
    }
    for from in &peers {
        for to in peers.iter().filter(|to| to.name != from.name) {
            let by = barriers(&policies, from, to);
            let pair = (from.name.clone(), to.name.clone());
            if needed.contains(&pair) {
                assert!(by.is_empty(), "{} → {}: {by:?}", from.name, to.name);
                continue;
            }
            let watched = MONITORING.contains(&from.name.as_str())
                && (MONITORING.contains(&to.name.as_str()) || from.name == "prometheus");
            assert!(watched || !by.is_empty(), "{} → {} is open", from.name, to.name);
        }
    }
}

#[test]
fn prometheus_reaches_every_pod_and_every_kubelet() {
    let (stack, tree) = production();
    let (policies, peers) = (policies(&tree), peers(&tree));
    let prometheus = peers.iter().find(|peer| peer.name == "prometheus").unwrap();
    for mut to in peers.iter().filter(|to| to.name != "prometheus").cloned() {
        // A meshed service is asked at its sidecar's agent, a system at the port of its metrics.
        if to.namespace == stack.namespaces.apps {
            to.ports = vec![("metrics".into(), 15020)];
        }
        let by = barriers(&policies, prometheus, &to);
        assert!(by.is_empty(), "prometheus → {}: {by:?}", to.name);
    }
    let own = policies.iter().filter(|policy| {
        policy["metadata"]["namespace"] == *prometheus.namespace
            && selects(&policy["spec"]["podSelector"], &prometheus.labels)
    });
    let mut rules = own.flat_map(|policy| policy["spec"]["egress"].as_array().into_iter().flatten());
    let kubelet = json!({ "protocol": "TCP", "port": 10250 });
    assert!(
        rules.any(|rule| rule.get("to").is_none() && rule["ports"].as_array().unwrap().contains(&kubelet)),
        "no policy opens the kubelets"
    );
}
