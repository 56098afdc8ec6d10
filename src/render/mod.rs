//! From a [`Stack`] to the objects that a cluster is told: pure, deterministic, the same for a laptop and for production
//! but for the [`Setting`].

pub mod compose;
pub mod dashboards;
pub mod develop;
pub mod kind;
pub mod mesh;
pub mod metrics;
pub mod namespaces;
pub mod network;
pub mod object;
pub mod official;
pub mod operator;
pub mod scaling;
pub mod service;
pub mod standin;
pub mod system;
pub mod template;
pub mod yaml;

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use object::{Object, ObjectId};
pub use official::official;

use crate::catalog::service::SecretSource;
use crate::profile::Stack;

/// What a rendering needs beside the stack: the facts of one machine and one run, as values.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// The image of each workload and service, by workload name. A component without an entry is not rendered.
    pub images: IndexMap<String, DeployedImage>,
    /// Values of Secrets: system or service name → key → value. A key without a value is not rendered.
    pub secrets: IndexMap<String, IndexMap<String, String>>,
    /// Services that are being developed, by name.
    pub development: IndexMap<String, develop::Development>,
    /// Whether pods refer to Secrets that somebody else makes: nothing but references is rendered then.
    pub secret_references: bool,
    /// What the mesh's objects depend on.
    pub mesh: mesh::MeshSetting,
}

impl Setting {
    /// Whether the pods of a component refer to its Secret, which has these keys.
    fn has_secret(&self, stack: &Stack, name: &str, declared: &IndexMap<String, SecretSource>) -> bool {
        let values = self.secrets.get(name).is_some_and(|values| !values.is_empty());
        values || (self.secret_references && service::secret_keys(stack, declared).next().is_some())
    }
}

/// The image that a component runs here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedImage {
    /// Full reference, as the kubelet is told it.
    pub reference: String,
    /// Where it came from: `status` shows it.
    pub origin: Origin,
}

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Pulled from a container registry.
    Registry,
    /// Taken from a bundle file.
    Bundle,
    /// Built from language and Debian packages.
    Packages,
    /// Built from the workspace's source; its tag moves with every build.
    Built,
    /// Not the service at all: vadev's own placeholder.
    StandIn,
}

impl Origin {
    /// The word in tables, annotations and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Bundle => "bundle",
            Self::Packages => "packages",
            Self::Built => "built",
            Self::StandIn => "stand-in",
        }
    }
}

/// All objects of the platform in the order of the seven steps: namespaces, infrastructure, routing, services.
/// Istio's own installation is not among them: see [`operator`].
pub fn objects(stack: &Stack, setting: &Setting) -> Vec<Object> {
    let mut all = namespaces::render(stack);
    all.extend(metrics::render(setting));
    for system in &stack.infrastructure {
        all.extend(system::render(stack, system, setting));
    }
    all.extend(mesh::render(stack, setting));
    for service in &stack.services {
        all.extend(service::render(stack, service, setting));
    }
    for object in &mut all {
        object.mark(stack);
    }
    all
}

/// The objects of a part of the platform. `amid` is the part with what runs beside it, see [`Stack::amid`]: what all of them
/// share is rendered for all of them; of the rest there is the part's own only, so that its neighbours stay as they are.
pub fn part(stack: &Stack, amid: &Stack, setting: &Setting) -> Vec<Object> {
    let own: BTreeSet<&str> = stack.component_names().collect();
    let neighbours: BTreeSet<&str> = amid
        .component_names()
        .filter(|name| !own.contains(name))
        .collect();
    let mut all = objects(amid, setting);
    all.retain(|object| !neighbours.contains(object.component()));
    all
}

#[cfg(test)]
pub(crate) mod tests;
