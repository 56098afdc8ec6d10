//! An infrastructure system of the platform: `profiles/catalog/infrastructure/<name>.yaml`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::Bytes;
use super::service::{Amount, Resources, SecretSource};

/// One infrastructure system: one file of the production tree, one or more workloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Infrastructure {
    /// Always `vadev.dev/v1`.
    #[schemars(extend("const" = "vadev.dev/v1"))]
    pub api_version: String,
    /// Always `Infrastructure`.
    #[schemars(extend("const" = "Infrastructure"))]
    pub kind: String,
    /// Also the name of its file in the production tree, and what services name in `stores`.
    #[schemars(extend("format" = "dns-label"))]
    pub name: String,
    /// Other names that services may use in `stores`, for instance `minio` for `minio-standalone`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// One line for people.
    pub summary: String,
    /// The group a profile switches on as a whole.
    pub group: Group,
    /// Whether its pods get a sidecar. Few stores speak well through one.
    #[serde(default)]
    pub mesh: bool,
    /// How a client speaks to it: what a stand-in checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// Keys of the Secret `<name>-secret`.
    #[serde(default)]
    pub secrets: IndexMap<String, SecretSource>,
    /// What runs.
    #[schemars(length(min = 1))]
    pub workloads: Vec<Workload>,
}

impl Infrastructure {
    /// Whether services may name it so: its name or an alias.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// The groups of platform.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Always there: postgres, redis, nacos, milvus.
    CoreStorage,
    /// elasticsearch, clickhouse.
    SearchAnalytics,
    /// kafka.
    Messaging,
    /// minio.
    ObjectStorage,
    /// prometheus-grafana, jaeger, alertmanager.
    Monitoring,
}

impl Group {
    /// Every group, in the order in which they start.
    pub const ALL: [Self; 5] = [
        Self::CoreStorage,
        Self::SearchAnalytics,
        Self::Messaging,
        Self::ObjectStorage,
        Self::Monitoring,
    ];

    /// The name used in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CoreStorage => "core-storage",
            Self::SearchAnalytics => "search-analytics",
            Self::Messaging => "messaging",
            Self::ObjectStorage => "object-storage",
            Self::Monitoring => "monitoring",
        }
    }
}

/// How clients reach a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// The protocol a stand-in speaks to check it: `postgres`, `redis`, `nacos`, `milvus`, `kafka`, `clickhouse`,
    /// `elasticsearch`, `minio`, `http`.
    pub protocol: String,
    /// The Kubernetes Service's port.
    pub port: u16,
    /// HTTP path of a health check where the protocol is HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A second port that the check needs, for instance Milvus's health port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_port: Option<u16>,
}

/// The Kubernetes kind of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// With stable names and a volume a replica.
    StatefulSet,
    /// Without state of its own.
    Deployment,
}

/// One workload of a system, with one container.
///
/// `args`, `command`, `env` values and `files` contents may hold placeholders, filled in when rendered:
/// `{{namespace}}`, `{{name}}`, `{{memoryMiB}}` (the limit), `{{heapMiB}}` (see [`Heap`]), `{{replicas}}`,
/// `{{appsNamespace}}`, `{{meshNamespace}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Name of the workload, its Service and its label `app`.
    #[schemars(extend("format" = "dns-label"))]
    pub name: String,
    /// `Deployment` or `StatefulSet`.
    pub kind: WorkloadKind,
    /// Where its image comes from.
    pub image: InfrastructureImage,
    /// Overrides the image's entrypoint.
    #[serde(default)]
    pub command: Vec<String>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment, plain values.
    #[serde(default)]
    pub env: IndexMap<String, String>,
    /// Environment from keys of the system's Secret: variable → key.
    #[serde(default)]
    pub secret_env: IndexMap<String, String>,
    /// Ports of the container and of the Service.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Where it tells Prometheus its figures; absent: it tells none, and only its container's CPU and memory are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// Configuration files: absolute path → content. Rendered into the config map `<name>-config`.
    #[serde(default)]
    pub files: IndexMap<String, String>,
    /// Persistent volumes.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Writable folders that need not survive (emptyDir).
    #[serde(default)]
    pub scratch: Vec<String>,
    /// Readiness and liveness.
    pub probe: SystemProbe,
    /// Numeric user and group that it runs as; also the volume's group.
    pub user: i64,
    /// Whether its root file system can be read-only.
    #[serde(default)]
    pub read_only_root: bool,
    /// Production replicas.
    #[serde(default = "one")]
    #[schemars(range(max = 50))]
    pub replicas: u32,
    /// Whether several replicas are one system together. Without it they would be systems of their own with data of their own,
    /// behind one Service, and more than one is refused.
    #[serde(default)]
    pub replicable: bool,
    /// Production requests and limits of one replica.
    pub resources: Resources,
    /// The least it really starts and serves with, measured; a laptop profile never goes below.
    pub floor: Amount,
    /// Heap that follows the memory limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heap: Option<Heap>,
    /// Seconds it may take until ready, on a slow machine.
    #[serde(default = "startup_seconds")]
    #[schemars(range(min = 1, max = 86400))]
    pub startup_seconds: u32,
    /// Whether it needs the Kubernetes API (Prometheus): gives it a service account that may read pods, nodes and services.
    #[serde(default)]
    pub reads_cluster: bool,
    /// What differs where there is no Kubernetes (`compose-equivalents/`). In files, `{{serviceTargets}}`
    /// and `{{infrastructureTargets}}` are lists of Prometheus targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_kubernetes: Option<RecipeOverrides>,
}

/// An HTTP endpoint in Prometheus' text format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metrics {
    /// Port.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Path.
    #[serde(default = "metrics_path")]
    pub path: String,
}

/// The images of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InfrastructureImage {
    /// What production names and what is pulled where a registry can be reached, with its version.
    pub official: String,
    /// Digest of the official image where known (`sha256:…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The recipe that builds it from packages; absent: it cannot be had without a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// What differs when the recipe's image runs instead of the official one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with_recipe: Option<RecipeOverrides>,
}

/// Fields that replace the workload's own under a condition: an image built from packages, no Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RecipeOverrides {
    /// Replaces `command` when not empty.
    pub command: Vec<String>,
    /// Replaces `args` when not empty.
    pub args: Vec<String>,
    /// Added to `env`, replacing equal keys.
    pub env: IndexMap<String, String>,
    /// Added to `files`, replacing equal paths.
    pub files: IndexMap<String, String>,
    /// Texts in files and what stands there instead.
    pub replace: IndexMap<String, String>,
}

/// A port of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Port {
    /// Prefixed by its protocol (`tcp-postgres`, `http-api`, `grpc-…`) so that the mesh knows it.
    pub name: String,
    /// Number, the same in container and Service.
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// A persistent volume of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Name of the claim template.
    pub name: String,
    /// Mount path.
    #[schemars(extend("format" = "absolute-path"))]
    pub path: String,
    /// Production size.
    pub size: Bytes,
    /// The least size on a laptop.
    pub floor: Bytes,
}

/// A probe that tests the system itself. Exactly one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SystemProbe {
    /// A command in the container.
    Exec(Vec<String>),
    /// An HTTP path on a port.
    Http {
        /// Path.
        path: String,
        /// Port.
        port: u16,
    },
    /// A TCP connection.
    Tcp(u16),
}

/// A heap size derived from the memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Heap {
    /// Share of the memory limit, per cent.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
    /// Never below.
    pub floor: Bytes,
}

fn metrics_path() -> String {
    "/metrics".to_owned()
}

const fn one() -> u32 {
    1
}

const fn startup_seconds() -> u32 {
    120
}
