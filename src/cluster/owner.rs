//! Whose a cluster is: a `ConfigMap` in kube-public that says which workspace's vadev made it.

use std::time::Duration;

use serde_json::json;

use crate::k8s::{ApplyOptions, Cluster, K8sError, ObjectRef, apply_one, wait_for};

/// The maker of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// The workspace's name.
    pub workspace: String,
    /// The profile it was made for.
    pub profile: String,
}

const NAMESPACE: &str = "kube-public";
const NAME: &str = "vadev";

/// Marks the cluster as vadev's own.
pub async fn claim(cluster: &Cluster, owner: &Owner) -> Result<(), K8sError> {
    let mark = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"vadev.dev/owner": "vadev"},
        },
        "data": {"workspace": owner.workspace, "profile": owner.profile, "made-by": "vadev"},
    });
    apply_one(cluster, &mark, ApplyOptions::default())
        .await
        .map(|_| ())
}

/// Who made the cluster; `None` if it was not vadev.
pub async fn owner_of(cluster: &Cluster) -> Result<Option<Owner>, K8sError> {
    let mark = ObjectRef::new("v1", "ConfigMap", NAMESPACE, NAME);
    let found = match wait_for(cluster, &mark, Duration::ZERO, |_| true).await {
        Ok(found) => found,
        Err(K8sError::NotReady { .. }) => return Ok(None),
        Err(other) => return Err(other),
    };
    Ok(from_data(&found.data["data"]))
}

/// The owner that a `ConfigMap`'s data names.
pub(super) fn from_data(data: &serde_json::Value) -> Option<Owner> {
    let text = |key: &str| {
        data.get(key)
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned)
    };
    Some(Owner {
        workspace: text("workspace")?,
        profile: text("profile")?,
    })
}
