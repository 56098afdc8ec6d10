//! Istio's manifests: made once by istioctl from an installation file, then kept as JSON under their digest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::report::Step;
use crate::supply::process::Command;

use super::error::ClusterError;
use super::state::write_atomically;

/// Namespace of Istio's control plane.
pub(super) const SYSTEM: &str = "istio-system";

/// The label on every object of an installation made by vadev, by which it is found again for removal.
pub(super) const LABEL: &str = "vadev.dev/mesh";

/// What the manifests depend on: the installation file and the program that turns it into objects.
pub fn digest(operator: &str, version: &str) -> String {
    let mut hash = Sha256::new();
    for part in [operator, "\0", version] {
        hash.update(part.as_bytes());
    }
    crate::supply::docker::hex(&hash.finalize())
}

/// The objects of an installation, from the cache or from istioctl, ready to be applied.
pub(super) async fn objects(
    istioctl: &Path,
    cache: &Path,
    operator: &str,
    version: &str,
    step: &Step,
) -> Result<Vec<Value>, ClusterError> {
    let digest = digest(operator, version);
    if let Some(objects) = kept(cache, &digest) {
        return Ok(objects);
    }
    let kept = place(cache, &digest, "json");
    let file = place(cache, &digest, "yaml");
    write_atomically(&file, operator.as_bytes())?;
    let generate = Command::new(istioctl)
        .args(["manifest", "generate", "-f"])
        .arg(&file)
        .deadline(Duration::from_mins(1));
    step.progress("istioctl manifest generate");
    let printed = generate.output().await.map_err(|source| ClusterError::Tool {
        action: "generating Istio's manifests".to_owned(),
        source,
    })?;
    let objects = prepare(&file, &String::from_utf8_lossy(&printed.stdout))?;
    let text = serde_json::to_vec(&objects).map_err(|e| content(&kept, &e))?;
    write_atomically(&kept, &text)?;
    Ok(objects)
}

/// The objects that were made for a digest, where they are still here.
pub(super) fn kept(cache: &Path, digest: &str) -> Option<Vec<Value>> {
    let text = std::fs::read(place(cache, digest, "json")).ok()?;
    serde_json::from_slice(&text).ok()
}

fn place(cache: &Path, digest: &str, ending: &str) -> PathBuf {
    let short: String = digest.chars().take(16).collect();
    cache.join(format!("istio-{short}.{ending}"))
}

fn content(path: &Path, problem: &impl ToString) -> ClusterError {
    ClusterError::Content {
        path: PathBuf::from(path),
        problem: problem.to_string(),
    }
}

/// Reads istioctl's output, puts the namespace before it, and labels everything.
fn prepare(path: &Path, text: &str) -> Result<Vec<Value>, ClusterError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|e| content(path, &e))?;
    let mut objects: Vec<Value> = documents.into_iter().filter(|d| d["kind"].is_string()).collect();
    if objects.is_empty() {
        return Err(content(path, &"istioctl made no objects of it"));
    }
    let is_namespace = |o: &Value| o["kind"] == "Namespace" && o["metadata"]["name"] == SYSTEM;
    if !objects.iter().any(is_namespace) {
        objects.insert(
            0,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}),
        );
    }
    for object in &mut objects {
        object["metadata"]["labels"][LABEL] = json!("vadev");
        // istioctl leaves this empty field in its objects; the API server would take it as an intent.
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("creationTimestamp");
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_comes_first_and_everything_is_labelled() {
        let text = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: istiod\n  namespace: istio-system\n---\n\n";
        let objects = prepare(Path::new("x"), text).unwrap();
        let kinds: Vec<&str> = objects.iter().filter_map(|o| o["kind"].as_str()).collect();
        assert_eq!(kinds, ["Namespace", "ServiceAccount"]);
        assert!(objects.iter().all(|o| o["metadata"]["labels"][LABEL] == "vadev"));
        assert!(prepare(Path::new("x"), "").is_err());
    }

    #[test]
    fn the_digest_depends_on_file_and_program() {
        assert_ne!(digest("a", "1"), digest("a", "2"));
        assert_ne!(digest("a", "1"), digest("b", "1"));
    }
}
