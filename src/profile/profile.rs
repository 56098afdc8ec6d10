//! A profile: which part of the platform, and how large. `profiles/<name>.yaml`, or a file of the user's own.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Bytes, Group, MilliCpu};

/// A selection of the catalog and its size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// Always `vadev.dev/v1`.
    #[schemars(extend("const" = "vadev.dev/v1"))]
    pub api_version: String,
    /// Always `Profile`.
    #[schemars(extend("const" = "Profile"))]
    pub kind: String,
    /// What `-p` takes.
    #[schemars(extend("format" = "dns-label"))]
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Groups of infrastructure systems. A system of the group `object-storage` is added where a chosen service needs it.
    pub groups: Vec<Group>,
    /// `all`, or the services by name, beside which the workspace's own services are always there. A called service that is
    /// not among them is done without.
    pub services: ServiceChoice,
    /// Whether sizes are production's or fitted to the budget.
    pub sizing: Sizing,
    /// What a fitted profile may take.
    #[serde(default)]
    pub budget: Budget,
    /// Whether the mesh is installed.
    #[serde(default = "yes")]
    pub mesh: bool,
    /// Whether a cluster that vadev makes gets metrics-server: figures for `top` and for autoscalers.
    #[serde(default = "yes")]
    pub metrics: bool,
    /// Whether databases are filled with data that one can show.
    #[serde(default)]
    pub seed: bool,
    /// Replacements by service, system or workload.
    #[serde(default)]
    pub overrides: IndexMap<String, Override>,
}

/// Services of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ServiceChoice {
    /// The word `all`.
    All(AllServices),
    /// By name.
    Named(Vec<String>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AllServices {
    /// Every service of the catalog and the workspace.
    #[serde(rename = "all")]
    All,
}

/// Where sizes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sizing {
    /// The catalog's figures, unscaled.
    Production,
    /// Between each component's floor and its production size, as the budget allows; one replica each.
    Fitted,
}

/// What the whole cluster may take of the machine, Kubernetes itself included. Absent fields set no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Budget {
    /// Most CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Most memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Share of the host's CPU, per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub host_cpu_percent: Option<u32>,
    /// Share of the host's memory, per cent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub host_memory_percent: Option<u32>,
}

/// Replaces figures of one component. Also what `--set` and the workspace say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Override {
    /// Replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 50))]
    pub replicas: Option<u32>,
    /// Requests and limits; absent fields stay as they were.
    pub resources: ResourceOverride,
    /// A whole image reference instead of the catalog's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "image"))]
    pub image: Option<String>,
    /// Keys added to or replaced in the configuration: a service's config map, a workload's environment.
    #[schemars(extend("propertyNames" = {"format": "config-key"}))]
    pub config: IndexMap<String, String>,
}

impl Override {
    /// Lays another over this one; what it states wins.
    pub fn merge(&mut self, over: &Self) {
        self.replicas = over.replicas.or(self.replicas);
        self.image = over.image.clone().or(self.image.take());
        for (own, other) in [
            (&mut self.resources.requests, over.resources.requests),
            (&mut self.resources.limits, over.resources.limits),
        ] {
            own.cpu = other.cpu.or(own.cpu);
            own.memory = other.memory.or(own.memory);
        }
        self.config.extend(over.config.clone());
    }
}

/// Some of the requests and limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResourceOverride {
    /// Requests.
    pub requests: AmountOverride,
    /// Limits.
    pub limits: AmountOverride,
}

/// CPU, memory, both or neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AmountOverride {
    /// CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<MilliCpu>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

const fn yes() -> bool {
    true
}
