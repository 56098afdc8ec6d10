//! Whose a cluster is: a `ConfigMap` in kube-public that says which workspace's vadev made it.

use std::path::{Path, PathBuf};
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
    /// The workspace's folder; unknown of clusters that an older vadev made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
}

impl Owner {
    /// The folder of another workspace that still claims the cluster. A folder that is gone, or no workspace any more, was
    /// moved or deleted, and then whoever has the name takes over.
    pub(super) fn elsewhere(&self, here: Option<&Path>) -> Option<&Path> {
        let root = self.root.as_deref().filter(|root| Some(*root) != here)?;
        let claims = root.join("vadev.yaml").is_file() || root.join(".vadev").is_dir();
        claims.then_some(root)
    }
}

/// The folder of the workspace whose state folder this is, without links.
pub fn own_root(state: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(state.parent()?).ok()
}

const NAMESPACE: &str = "kube-public";
const NAME: &str = "vadev";

/// Marks the cluster as vadev's own.
pub async fn claim(cluster: &Cluster, owner: &Owner) -> Result<(), K8sError> {
    let mut mark = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"vadev.dev/owner": "vadev"},
        },
        "data": {"workspace": owner.workspace, "profile": owner.profile, "made-by": "vadev"},
    });
    if let Some(root) = owner.root.as_deref().and_then(Path::to_str) {
        mark["data"]["root"] = json!(root);
    }
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
        root: text("root").map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_that_is_still_there_keeps_its_cluster() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let here = own_root(&second.path().join(".vadev")).unwrap();
        let data = json!({"workspace": "w", "profile": "dev", "root": first.path()});
        let owner = from_data(&data).unwrap();
        assert_eq!(owner.elsewhere(Some(&here)), None, "no workspace any more");
        std::fs::write(first.path().join("vadev.yaml"), "").unwrap();
        assert_eq!(owner.elsewhere(Some(&here)), Some(first.path()));
        assert_eq!(owner.elsewhere(Some(first.path())), None);
        let old = from_data(&json!({"workspace": "w", "profile": "dev"})).unwrap();
        assert_eq!((old.root.as_ref(), old.elsewhere(Some(&here))), (None, None));
    }
}
