//! Namespaces of the platform. The mesh's own is Istio's to make.

use serde_json::json;

use super::Object;
use crate::profile::Stack;

/// The applications' namespace, with sidecar injection, and the infrastructure's. The label means nothing where there is no
/// mesh, and stays where `--skip-istio` leaves an installed one alone.
pub fn render(stack: &Stack) -> Vec<Object> {
    [
        (&stack.namespaces.infra, "disabled"),
        (&stack.namespaces.apps, "enabled"),
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
