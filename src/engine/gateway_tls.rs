//! The certificate that the ingress gateway serves.

use serde_json::json;

use super::platform::Platform;
use super::tls;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{self, ApplyOptions, Cluster, ObjectRef};
use crate::render::mesh::tls_secret;
use crate::render::object::{COMPONENT, MANAGED_BY};

/// For a cluster that is not vadev's own: an Istio that was there already has no certificate for the platform.
pub async fn serve_elsewhere(platform: &Platform, cluster: &Cluster) -> Result<(), Failure> {
    if platform.options.place.existing().is_none() || platform.stack().mesh.is_none() {
        return Ok(());
    }
    cluster.recheck().await?;
    serve(platform, cluster, ApplyOptions::default()).await
}

/// Gives the gateway's https port a development certificate; one that is there, whoever made it, stays.
pub async fn serve(platform: &Platform, cluster: &Cluster, options: ApplyOptions<'_>) -> Result<(), Failure> {
    let namespace = &platform.stack().namespaces.mesh;
    let name = tls_secret(platform.stack());
    let there = k8s::find(cluster, &ObjectRef::new("v1", "Secret", namespace, &name)).await?;
    if there.is_some() {
        return Ok(());
    }
    let hosts = tls::hosts(platform.stack());
    let made = tls::development_certificate(&platform.options.state, &hosts).map_err(|error| {
        Plain::new(
            Family::Internal,
            format!("can't make a development certificate: {error}"),
        )
    })?;
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": { MANAGED_BY: "vadev", COMPONENT: "tls" },
        },
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": made.chain, "tls.key": made.key },
    });
    k8s::apply_one(cluster, &secret, options).await?;
    Ok(())
}
