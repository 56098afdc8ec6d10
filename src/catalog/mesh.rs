//! The mesh's own parts and their sizes: `profiles/catalog/mesh/istio.yaml`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::service::{Amount, Resources};

/// The service mesh as a component of the platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshEntry {
    /// Always `vadev.dev/v1`.
    #[schemars(extend("const" = "vadev.dev/v1"))]
    pub api_version: String,
    /// Always `Mesh`.
    #[schemars(extend("const" = "Mesh"))]
    pub kind: String,
    /// `istio`.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Istio's version.
    pub version: String,
    /// istiod.
    pub pilot: MeshPart,
    /// The ingress gateway.
    pub gateway: MeshPart,
    /// Each meshed pod's proxy.
    pub sidecar: MeshPart,
}

/// One part of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshPart {
    /// Production replicas; one for the sidecar, which is counted a pod.
    pub replicas: u32,
    /// Production requests and limits.
    pub resources: Resources,
    /// The least it serves a laptop's platform with, measured.
    pub floor: Amount,
}
