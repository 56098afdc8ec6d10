//! How much room a running cluster has left.

use futures::future::try_join;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};

use crate::catalog::service::Amount;
use crate::catalog::{Bytes, MilliCpu};
use crate::failure::{Failure, Family, Plain};
use crate::k8s::Cluster;

/// What the schedulable nodes can give, less what the pods on them have asked for. A quantity that can't be read counts as
/// nothing given and nothing asked.
pub async fn free(cluster: &Cluster) -> Result<Amount, Failure> {
    let (nodes, pods) = (
        Api::<Node>::all(cluster.client()),
        Api::<Pod>::all(cluster.client()),
    );
    let all = ListParams::default();
    let running = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    let (nodes, pods) = try_join(nodes.list(&all), pods.list(&running))
        .await
        .map_err(|error| {
            Plain::new(
                Family::Cluster,
                format!("can't tell how much room the cluster has: {error}"),
            )
            .with_hint("your user needs to list nodes and pods")
        })?;
    let given = nodes.items.iter().filter(|node| schedulable(node)).map(|node| {
        let there = node
            .status
            .as_ref()
            .and_then(|status| status.allocatable.as_ref());
        amount(|key| {
            there
                .and_then(|all| all.get(key))
                .map(|quantity| quantity.0.as_str())
        })
    });
    let asked = pods.items.iter().flat_map(|pod| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.map(|container| {
            let requests = container
                .resources
                .as_ref()
                .and_then(|resources| resources.requests.as_ref());
            amount(|key| {
                requests
                    .and_then(|all| all.get(key))
                    .map(|quantity| quantity.0.as_str())
            })
        })
    });
    let (given, asked) = (sum(given), sum(asked));
    Ok(Amount {
        cpu: MilliCpu(given.cpu.0.saturating_sub(asked.cpu.0)),
        memory: Bytes(given.memory.0.saturating_sub(asked.memory.0)),
    })
}

fn schedulable(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let taints = spec.and_then(|spec| spec.taints.as_ref());
    let repels = taints.is_some_and(|taints| taints.iter().any(|taint| taint.effect != "PreferNoSchedule"));
    !repels && spec.and_then(|spec| spec.unschedulable) != Some(true)
}

fn amount<'a>(quantity: impl Fn(&str) -> Option<&'a str>) -> Amount {
    Amount {
        cpu: quantity("cpu")
            .and_then(|text| MilliCpu::parse(text).ok())
            .unwrap_or(MilliCpu(0)),
        memory: quantity("memory")
            .and_then(|text| Bytes::parse(text).ok())
            .unwrap_or(Bytes(0)),
    }
}

fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(
        Amount {
            cpu: MilliCpu(0),
            memory: Bytes(0),
        },
        |all, one| Amount {
            cpu: MilliCpu(all.cpu.0 + one.cpu.0),
            memory: Bytes(all.memory.0 + one.memory.0),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tainted_and_cordoned_nodes_give_nothing() {
        let node = |spec: serde_json::Value| -> Node {
            serde_json::from_value(serde_json::json!({ "metadata": {}, "spec": spec })).expect("node")
        };
        assert!(schedulable(&node(serde_json::json!({}))));
        assert!(!schedulable(&node(serde_json::json!({ "unschedulable": true }))));
        let taint = |effect: &str| serde_json::json!({ "taints": [{ "key": "a", "effect": effect }] });
        assert!(!schedulable(&node(taint("NoSchedule"))));
        assert!(schedulable(&node(taint("PreferNoSchedule"))));
    }
}
