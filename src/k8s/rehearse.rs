//! Asking an API server whether it would take objects, without changing anything.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::apply::MANAGER;
use super::client::Cluster;
use super::error::K8sError;
use super::find::find;
use super::object::ObjectRef;
use super::retry::{retrying, transient};

/// A namespace that every cluster has: objects of namespaces that are yet to be made are asked about here.
const SOMEWHERE: &str = "default";

/// A server-side dry run of all objects, strictly validated; all refusals come together.
pub async fn rehearse(cluster: &Cluster, objects: &[&Value]) -> Result<(), K8sError> {
    let mut missing = BTreeSet::new();
    let namespaces: BTreeSet<&str> = objects
        .iter()
        .filter_map(|object| object["metadata"]["namespace"].as_str())
        .collect();
    for name in namespaces {
        if find(cluster, &ObjectRef::new("v1", "Namespace", "", name))
            .await?
            .is_none()
        {
            missing.insert(name.to_owned());
        }
    }
    let missing = &missing;
    let failures: Vec<K8sError> = stream::iter(objects)
        .map(|object| async move { ask(cluster, object, missing).await })
        .buffer_unordered(8)
        .filter_map(|result| async { result.err() })
        .collect()
        .await;
    let total = objects.len();
    match failures.len() {
        0 => Ok(()),
        _ => Err(K8sError::Several {
            done: "accepted",
            total,
            failures,
        }),
    }
}

async fn ask(cluster: &Cluster, object: &Value, missing: &BTreeSet<String>) -> Result<(), K8sError> {
    let real = ObjectRef::of(object)?;
    let mut object = object.clone();
    if real
        .namespace
        .as_ref()
        .is_some_and(|namespace| missing.contains(namespace))
    {
        object["metadata"]["namespace"] = json!(SOMEWHERE);
    }
    let api = cluster.api(&ObjectRef::of(&object)?).await?;
    let mut params = PatchParams::apply(MANAGER).force().validation_strict();
    params.dry_run = true;
    let subject = real.to_string();
    retrying("dry-run", &subject, Duration::from_secs(30), transient, || {
        let (api, params, object, name) = (&api, &params, &object, &real.name);
        async move { api.patch(name, params, &Patch::Apply(object)).await }
    })
    .await?;
    Ok(())
}
