//! The catalog: what the platform consists of, one YAML file a component, with its production facts. Pure: text comes in
//! as values, problems go out with file, line and column.

mod check;
mod embedded;
pub mod infrastructure;
pub mod load;
pub mod mesh;
pub mod prefixes;
pub mod problem;
pub mod quantity;
pub mod semantic;
pub mod service;
pub mod settings;
pub mod text;
pub mod tree;

use indexmap::IndexMap;

pub use embedded::{NamedText, embedded_files, embedded_profiles};
pub use infrastructure::{Group, Infrastructure, Workload, WorkloadKind};
pub use load::{load, overlay};
pub use mesh::{MeshEntry, MeshPart};
pub use problem::{Problem, Problems};
pub use quantity::{Bytes, MilliCpu};
pub use service::Service;

/// The only version of vadev's own file formats so far.
pub const API_VERSION: &str = "vadev.dev/v1";

/// Everything the platform can consist of, unscaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Catalog {
    /// By name, sorted.
    pub services: IndexMap<String, Service>,
    /// By name, in the order of their groups.
    pub infrastructure: IndexMap<String, Infrastructure>,
    /// The mesh.
    pub mesh: MeshEntry,
}

impl Catalog {
    /// A system by its name or one of its aliases.
    pub fn system(&self, name: &str) -> Option<&Infrastructure> {
        self.infrastructure.values().find(|system| system.is_called(name))
    }
    /// The workload that more than one replica of `name` (a system, one of its aliases, a workload) would break.
    pub fn unreplicable(&self, name: &str) -> Option<&Workload> {
        let mut meant = self.infrastructure.values().flat_map(|system| {
            let whole = system.is_called(name);
            let workloads = system.workloads.iter();
            workloads.filter(move |workload| whole || workload.name == name)
        });
        meant.find(|workload| !workload.replicable)
    }
    /// The names that `stores` may hold: systems and their aliases.
    pub fn store_names(&self) -> Vec<&str> {
        self.infrastructure
            .values()
            .flat_map(|system| std::iter::once(&system.name).chain(&system.aliases))
            .map(String::as_str)
            .collect()
    }
}

#[cfg(test)]
mod tests;
