//! The cluster's ports on this machine: before it takes them, whoever holds one is named.

use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::supply::doctor::{self, Holder};

/// Whether the ports can still be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterPorts {
    /// The cluster has yet to be made.
    Free,
    /// A stopped cluster has them for good.
    Fixed,
}

/// Fails where another program or container holds one of the ports.
pub async fn free(platform: &Platform, ports: ClusterPorts) -> Result<(), Failure> {
    let own = platform.cluster_name();
    let options = &platform.options;
    for (port, flag) in [
        (options.http_port, "--http-port"),
        (options.https_port, "--https-port"),
    ] {
        // Docker is asked only where there is somebody to be named.
        if doctor::port_holder(port, &[]) == Holder::Free {
            continue;
        }
        let publishers = doctor::publishers(platform.supply.docker().await?).await?;
        if let Some(holder) = told(&doctor::port_holder(port, &publishers), &own) {
            return Err(trouble(port, &holder, flag, ports).into());
        }
    }
    Ok(())
}

/// Who holds a port; `None` where nobody does, or what is left of the cluster itself.
fn told(holder: &Holder, own: &str) -> Option<String> {
    match holder {
        Holder::Free => None,
        Holder::Process(name) => Some(format!("is held by {name}")),
        Holder::Forbidden => Some("may not be opened by this user".to_owned()),
        Holder::Container(one) => match one.cluster.as_deref() {
            Some(cluster) if cluster == own => None,
            Some(cluster) => Some(format!(
                "is held by {}, a node of the kind cluster {cluster}",
                one.container
            )),
            None => Some(format!("is held by the container {}", one.container)),
        },
    }
}

fn trouble(port: u16, holder: &str, flag: &str, ports: ClusterPorts) -> Plain {
    let another = port.checked_add(1000).unwrap_or(port - 1000);
    let hint = match ports {
        ClusterPorts::Free => format!("choose another one: vadev up {flag} {another}"),
        ClusterPorts::Fixed => format!(
            "the cluster has this port for good: free it and run this again, or make the cluster anew: vadev down, then \
             vadev up {flag} {another}"
        ),
    };
    Plain::new(Family::Environment, format!("port {port} on 127.0.0.1 {holder}")).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::doctor::Publisher;

    #[test]
    fn others_are_named_and_what_is_left_of_the_cluster_is_not() {
        let of = |cluster: Option<&str>| {
            Holder::Container(Publisher {
                container: "node".into(),
                cluster: cluster.map(str::to_owned),
                ports: vec![8080],
            })
        };
        assert_eq!(told(&of(Some("vadev-shop")), "vadev-shop"), None);
        assert_eq!(told(&Holder::Free, "vadev-shop"), None);
        let other = told(&of(Some("vadev-other")), "vadev-shop").unwrap();
        assert!(
            other.ends_with("a node of the kind cluster vadev-other"),
            "{other}"
        );
        assert_eq!(told(&of(None), "x").unwrap(), "is held by the container node");
    }

    #[test]
    fn the_hint_chooses_another_port_only_where_one_can_be_chosen() {
        let hint = |ports| trouble(8080, "is held by x", "--http-port", ports).hint.unwrap();
        assert_eq!(
            hint(ClusterPorts::Free),
            "choose another one: vadev up --http-port 9080"
        );
        assert!(hint(ClusterPorts::Fixed).contains("vadev down"));
        let high = trouble(65_000, "is held by x", "--http-port", ClusterPorts::Free);
        assert!(high.hint.unwrap().ends_with("64000"));
    }
}
