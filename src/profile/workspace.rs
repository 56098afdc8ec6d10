//! The workspace file `vadev.yaml` in the user's repository: where the sources of services are, how they are built and
//! reloaded, overrides, and services that the catalog does not know.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::profile::{Override, ResourceOverride};
use crate::catalog::{API_VERSION, Service};

/// The user's workspace. A repository without the file is a workspace with every default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workspace {
    /// Always `vadev.dev/v1`.
    #[schemars(extend("const" = "vadev.dev/v1"))]
    pub api_version: String,
    /// Always `Workspace`.
    #[schemars(extend("const" = "Workspace"))]
    pub kind: String,
    /// Names the kind cluster and labels every object; lower case letters, digits and hyphens, at most 40 of them.
    #[schemars(extend("format" = "dns-label"), length(max = 40))]
    pub name: String,
    /// The profile that `up` takes without `-p`; absent: `dev`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Folder whose `services/`, `infrastructure/` and `mesh/` files replace or add to the built-in catalog, and whose
    /// `profiles/` files do so for profiles. Relative to this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// How the services of this repository are built, reloaded and sized, by name.
    #[serde(default)]
    pub services: IndexMap<String, WorkspaceService>,
    /// Replacements for systems or their workloads, by name.
    #[serde(default)]
    pub infrastructure: IndexMap<String, Override>,
    /// Services that the catalog does not have, each a whole entry of kind `Service`.
    #[serde(default)]
    pub extra_services: Vec<Service>,
    /// Files with such services, relative to this file.
    #[serde(default)]
    pub extra_service_files: Vec<String>,
}

/// The longest name of a workspace: kind's `vadev-<name>-control-plane` is a host name, which has at most 63 letters.
pub const LONGEST_NAME: usize = 40;

impl Workspace {
    /// What a repository without `vadev.yaml` is.
    pub fn unnamed(name: impl Into<String>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "Workspace".to_owned(),
            name: name.into(),
            profile: None,
            catalog: None,
            services: IndexMap::new(),
            infrastructure: IndexMap::new(),
            extra_services: Vec::new(),
            extra_service_files: Vec::new(),
        }
    }
}

/// One service as this repository has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WorkspaceService {
    /// Folder of the source and context of the image build, relative to the workspace; absent: the catalog's convention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Dockerfile, relative to the source; absent: `Dockerfile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// Stage of a multi-stage Dockerfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Build arguments.
    pub args: IndexMap<String, String>,
    /// Files that are copied into the running container instead of building an image; absent: what the Dockerfile implies;
    /// an empty list: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync: Option<Vec<SyncRule>>,
    /// A build on the host that must pass before files are copied, for compiled languages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<HostBuild>,
    /// What happens after files were copied.
    pub restart: Restart,
    /// A whole image reference to run instead of a build or a stand-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "image"))]
    pub image: Option<String>,
    /// Keys added to or replaced in the service's configuration.
    #[schemars(extend("propertyNames" = {"format": "config-key"}))]
    pub config: IndexMap<String, String>,
    /// Replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 50))]
    pub replicas: Option<u32>,
    /// Requests and limits; absent fields stay as the profile has them.
    pub resources: ResourceOverride,
}

impl WorkspaceService {
    /// The part of it that changes figures, in the profile's terms.
    pub fn as_override(&self) -> Override {
        Override {
            replicas: self.replicas,
            resources: self.resources,
            image: self.image.clone(),
            config: self.config.clone(),
        }
    }
}

/// Which files go where. Of several rules the first that takes a file decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncRule {
    /// File or folder, relative to the source.
    pub from: String,
    /// Absolute path in the container.
    #[schemars(extend("format" = "absolute-path"))]
    pub to: String,
    /// Globs below `from` that are not copied.
    #[serde(default)]
    pub ignore: Vec<String>,
}

/// A build on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostBuild {
    /// Program and arguments; run in the source folder, without a shell.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// Environment added to vadev's own.
    #[serde(default)]
    pub env: IndexMap<String, String>,
}

/// What a service needs after its files changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// As vadev sees fit, which is the process.
    #[default]
    Auto,
    /// The process is started again in the same container.
    Process,
    /// The container is started again.
    Container,
    /// Nothing: the service watches its own files.
    None,
}
