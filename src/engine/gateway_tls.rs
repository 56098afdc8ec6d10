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

/// The Secret that the gateway serves from, where it is not there.
pub async fn missing(platform: &Platform, cluster: &Cluster) -> Result<Option<String>, Failure> {
    if platform.stack().mesh.is_none() {
        return Ok(None);
    }
    let secret = secret(platform);
    let there = k8s::find(cluster, &secret).await?;
    Ok(there
        .is_none()
        .then(|| format!("{}/{}", secret.kind, secret.name)))
}

fn secret(platform: &Platform) -> ObjectRef {
    ObjectRef::new(
        "v1",
        "Secret",
        &platform.stack().namespaces.mesh,
        &tls_secret(platform.stack()),
    )
}

/// Gives the gateway's https port a development certificate; one that is there, whoever made it, stays.
pub async fn serve(platform: &Platform, cluster: &Cluster, options: ApplyOptions<'_>) -> Result<(), Failure> {
    let wanted = secret(platform);
    if k8s::find(cluster, &wanted).await?.is_some() {
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
            "name": wanted.name,
            "namespace": wanted.namespace,
            "labels": { MANAGED_BY: "vadev", COMPONENT: "tls" },
        },
        "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": made.chain, "tls.key": made.key },
    });
    k8s::apply_one(cluster, &secret, options).await?;
    Ok(())
}
