//! The mesh's own parts and their sizes: `profiles/catalog/mesh/istio.yaml`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::service::{Amount, RateLimit, Resources};

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
    /// What the mesh lets through, and how long it waits.
    pub policy: MeshPolicy,
}

/// The mesh's rules for all services; a service's own file may say otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshPolicy {
    /// Paths that anybody may ask for through the ingress gateway, besides `<prefix>/health` of each service.
    pub public_paths: Vec<String>,
    /// The ingress gateway that serves the platform.
    pub ingress: IngressGateway,
    /// What a token must say.
    pub tokens: TokenPolicy,
    /// Longest time an answer may take, all attempts together.
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: u32,
    /// Second attempts.
    pub retries: Retries,
    /// Bounds of the pool of connections that one client holds to one service.
    pub connections: Connections,
    /// When an instance is taken out for a while.
    pub outliers: Outliers,
    /// How often one prefix may be asked through one gateway replica.
    pub rate_limit: RateLimit,
    /// Share of requests that are traced in production, per cent; on a laptop every request is.
    #[schemars(range(max = 100))]
    pub traces_percent: u32,
}

/// The ingress gateway that serves the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IngressGateway {
    /// The service account it runs as, in the mesh's namespace: what services know it by.
    pub service_account: String,
    /// Labels of its pods.
    pub selector: IndexMap<String, String>,
}

/// What a token must say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenPolicy {
    /// `iss` of development tokens.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The claim that lists roles.
    pub roles_claim: String,
}

/// Second attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// Attempts after the first one.
    #[schemars(range(max = 10))]
    pub attempts: u32,
    /// Envoy's conditions and HTTP statuses, separated by commas.
    pub on: String,
}

/// Bounds of a connection pool; a request beyond them is answered with 503 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Connections {
    /// TCP connections.
    pub max: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests under way.
    pub requests: u32,
    /// Second attempts under way.
    pub retries: u32,
    /// Longest time to connect.
    pub connect_seconds: u32,
}

/// When an instance that only fails is taken out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outliers {
    /// Answers of 500 and above in a row.
    #[schemars(range(min = 1))]
    pub consecutive_errors: u32,
    /// How often instances are looked over.
    #[schemars(range(min = 1))]
    pub interval_seconds: u32,
    /// How long it is out the first time.
    #[schemars(range(min = 1))]
    pub ejection_seconds: u32,
    /// Most instances that may be out at once, per cent.
    #[schemars(range(min = 1, max = 100))]
    pub max_ejection_percent: u32,
}

/// One part of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshPart {
    /// Production replicas; one for the sidecar, which is counted a pod.
    #[schemars(range(max = 50))]
    pub replicas: u32,
    /// Production requests and limits.
    pub resources: Resources,
    /// The least it serves a laptop's platform with, measured.
    pub floor: Amount,
}
