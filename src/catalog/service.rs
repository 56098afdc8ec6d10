//! A service of the platform: `profiles/catalog/services/<name>.yaml`, or an extra one in the user's workspace.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quantity::{Bytes, MilliCpu};

/// One application service with its production facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    /// Always `vadev.dev/v1`.
    #[schemars(extend("const" = "vadev.dev/v1"))]
    pub api_version: String,
    /// Always `Service`.
    #[schemars(extend("const" = "Service"))]
    pub kind: String,
    /// Also the name of its Deployment, Kubernetes Service and label `app`.
    #[schemars(extend("format" = "dns-label"))]
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// What it is written in; decides the folder of the production tree.
    pub language: Language,
    /// Folder of its source, relative to the workspace, by convention; `vadev.yaml` may say otherwise.
    pub source: String,
    /// The image that real clusters run.
    pub image: ServiceImage,
    /// The port it listens on.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// API path prefixes it serves through the ingress gateway, each beginning with `/`.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Services it calls.
    #[serde(default)]
    pub calls: Vec<String>,
    /// Infrastructure systems it uses, by catalog name.
    #[serde(default)]
    pub stores: Vec<String>,
    /// Whether it calls addresses outside the cluster, over https.
    #[serde(default)]
    pub internet: bool,
    /// Keys and production values of the config map `<name>-config`.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "config-key"}))]
    pub config: IndexMap<String, String>,
    /// Keys of the Secret `<name>-secret`, and where a development value comes from.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "config-key"}))]
    pub secrets: IndexMap<String, SecretSource>,
    /// Who may use its API through the ingress gateway.
    #[serde(default, skip_serializing_if = "Access::is_default")]
    pub access: Access,
    /// How long and how often others may ask it.
    #[serde(default, skip_serializing_if = "Traffic::is_default")]
    pub traffic: Traffic,
    /// HTTP probes.
    #[serde(default)]
    pub probes: Probes,
    /// Production requests and limits of one replica.
    pub resources: Resources,
    /// The least one replica starts with on a laptop.
    #[serde(default = "service_floor")]
    pub floor: Amount,
    /// Production replicas.
    #[schemars(range(min = 1, max = 50))]
    pub replicas: u32,
    /// Production autoscaling (`<name>-hpa`).
    pub autoscaling: Autoscaling,
}

/// What a service is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// `k8s/services/go`.
    Go,
    /// `k8s/services/python`.
    Python,
}

impl Language {
    /// The name used in folders and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Python => "python",
        }
    }
}

/// An image by repository and version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceImage {
    /// For instance `ghcr.io/voiceassistant/agent-engine`.
    #[schemars(extend("format" = "image-repository"))]
    pub repository: String,
    /// For instance `1.1.0`.
    #[schemars(extend("format" = "image-tag"))]
    pub version: String,
}

/// Where the development value of a secret key comes from. Production renders only references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSource {
    /// The infrastructure system whose generated password it is; absent: a random value of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Who may use a service's API through the ingress gateway. Without a word here every prefix needs a valid token, of
/// whatever role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Access {
    /// Prefixes of the service that need no token.
    pub public: Vec<String>,
    /// Prefix of the service → roles of which a token must have one.
    pub roles: IndexMap<String, Vec<String>>,
}

impl Access {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How long and how often others may ask a service, where that is not what the mesh's policy says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traffic {
    /// Longest time an answer may take, all attempts together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<u32>,
    /// Attempts after the first one; 0 for what must not be asked twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10))]
    pub retries: Option<u32>,
    /// Prefix of the service → how often it may be asked through one gateway replica.
    pub rate_limits: IndexMap<String, RateLimit>,
}

impl Traffic {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// So many requests in so much time; a bucket that is full at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// Requests.
    #[schemars(range(min = 1))]
    pub requests: u32,
    /// In this many seconds.
    #[schemars(range(min = 1))]
    pub per_seconds: u32,
}

/// The HTTP probes of a service. Times in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Probes {
    /// Path of the liveness and startup probes; also what `<prefix>/health` and callers ask for.
    #[schemars(extend("format" = "url-path"))]
    pub liveness: String,
    /// Path of the readiness probe.
    #[schemars(extend("format" = "url-path"))]
    pub readiness: String,
    /// Period of the liveness and readiness probes.
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: u32,
    /// How long a start may take.
    #[schemars(range(min = 1, max = 86400))]
    pub startup_seconds: u32,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            liveness: "/health".into(),
            readiness: "/health".into(),
            period_seconds: 10,
            startup_seconds: 60,
        }
    }
}

/// CPU and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// CPU.
    pub cpu: MilliCpu,
    /// Memory.
    pub memory: Bytes,
}

/// Requests and limits of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// What the scheduler reserves.
    pub requests: Amount,
    /// What the kubelet enforces.
    pub limits: Amount,
}

/// The figures of a `HorizontalPodAutoscaler`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Autoscaling {
    /// Fewest replicas.
    #[schemars(range(max = 1000))]
    pub min: u32,
    /// Most replicas.
    #[schemars(range(max = 1000))]
    pub max: u32,
    /// Target CPU use, per cent of the request.
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_percent: u32,
    /// Target memory use, per cent of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub memory_percent: Option<u32>,
}

impl Autoscaling {
    /// As it is where somebody has stated the replicas: they are the least that runs, and more than the most raise the most.
    #[must_use]
    pub fn with(&self, replicas: u32) -> Self {
        Self {
            min: replicas,
            max: self.max.max(replicas),
            ..self.clone()
        }
    }
}

impl std::fmt::Display for Autoscaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {} at {} % CPU", self.min, self.max, self.cpu_percent)?;
        match self.memory_percent {
            Some(percent) => write!(f, " or {percent} % memory"),
            None => Ok(()),
        }
    }
}

const fn default_port() -> u16 {
    8080
}

/// The stand-in runs at 4 MB; an interpreter with a web framework needs about ten times that.
const fn service_floor() -> Amount {
    Amount {
        cpu: MilliCpu(10),
        memory: Bytes::mib(32),
    }
}
