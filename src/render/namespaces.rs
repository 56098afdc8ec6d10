//! Namespaces of the platform. The mesh's own is Istio's to make.

use serde_json::json;

use super::Object;
use crate::profile::Stack;

/// The applications' namespace, with sidecar injection where there is a mesh, and the infrastructure's.
pub fn render(stack: &Stack) -> Vec<Object> {
    let injection = if stack.mesh.is_some() {
        "enabled"
    } else {
        "disabled"
    };
    [
        (&stack.namespaces.infra, "disabled"),
        (&stack.namespaces.apps, injection),
    ]
    .into_iter()
    .map(|(name, injection)| {
        Object::new(
            "namespaces",
            json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": { "name": name, "labels": { "istio-injection": injection } },
            }),
        )
    })
    .collect()
}
