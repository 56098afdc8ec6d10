//! The resolved platform: what a profile means on a given budget. Everything after this point (render, plan, compose,
//! promote) reads only the `Stack`.

use indexmap::IndexMap;
use serde::Serialize;

use crate::catalog::service::{Amount, Resources};
use crate::catalog::{Bytes, Infrastructure, Service};

/// The resolved and sized platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stack {
    /// Name of the profile.
    pub profile: String,
    /// Name of the workspace: label of every object, and of the kind cluster `vadev-<workspace>`.
    pub workspace: String,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Mesh sizing; `None` where the mesh is left out (`--skip-istio`).
    pub mesh: Option<Mesh>,
    /// Systems in dependency order.
    pub infrastructure: Vec<SizedInfrastructure>,
    /// Services in dependency order: a service stands after those it calls, cycles broken by name.
    pub services: Vec<SizedService>,
    /// What the catalog has and this stack has not, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Every figure that differs from production, with the rule it came from.
    pub figures: Vec<Figure>,
}

/// Namespaces of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Namespaces {
    /// `voiceassistant-prod`.
    pub apps: String,
    /// `voiceassistant-infra`.
    pub infra: String,
    /// `istio-system`.
    pub mesh: String,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self {
            apps: "voiceassistant-prod".into(),
            infra: "voiceassistant-infra".into(),
            mesh: "istio-system".into(),
        }
    }
}

/// Sizes of the mesh's own parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mesh {
    /// istiod.
    pub pilot: Resources,
    /// The ingress gateway.
    pub gateway: Resources,
    /// Each sidecar.
    pub sidecar: Resources,
}

/// A service with the figures it runs at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SizedService {
    /// The catalog entry, workspace overrides applied.
    pub service: Service,
    /// Replicas.
    pub replicas: u32,
    /// Requests and limits of one replica.
    pub resources: Resources,
    /// Called services and stores that this stack has not: optional at run time.
    pub absent: Vec<String>,
    /// Where its source is, relative to the workspace, when the workspace has it.
    pub source: Option<String>,
}

/// A system with the figures it runs at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SizedInfrastructure {
    /// The catalog entry.
    pub infrastructure: Infrastructure,
    /// By workload name.
    pub sizes: IndexMap<String, WorkloadSize>,
}

/// The figures of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadSize {
    /// Replicas.
    pub replicas: u32,
    /// Requests and limits of one replica.
    pub resources: Resources,
    /// Heap in MiB where the workload has one.
    pub heap_mib: Option<u64>,
    /// Volume sizes by name.
    pub volumes: IndexMap<String, Bytes>,
}

/// Something that is not deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Component.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// One figure and the rule it came from, for `profile explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// Component.
    pub component: String,
    /// For instance `requests.cpu`.
    pub field: String,
    /// Production value.
    pub production: String,
    /// Value in this stack.
    pub value: String,
    /// The rule.
    pub rule: String,
}

impl Stack {
    /// Sum of all requests, sidecars and mesh included; without what kube-system itself requests.
    pub fn requested(&self) -> Amount {
        let sidecar = self
            .mesh
            .as_ref()
            .map(|mesh| mesh.sidecar.requests)
            .unwrap_or_default();
        let mut cpu = Vec::new();
        let mut memory = Vec::new();
        let mut add = |amount: Amount, times: u32| {
            cpu.push(amount.cpu * u64::from(times));
            memory.push(amount.memory * u64::from(times));
        };
        if let Some(mesh) = &self.mesh {
            add(mesh.pilot.requests, 1);
            add(mesh.gateway.requests, 1);
        }
        for system in &self.infrastructure {
            for size in system.sizes.values() {
                add(size.resources.requests, size.replicas);
                if system.infrastructure.mesh {
                    add(sidecar, size.replicas);
                }
            }
        }
        for service in &self.services {
            add(service.resources.requests, service.replicas);
            add(sidecar, service.replicas);
        }
        Amount {
            cpu: cpu.into_iter().sum(),
            memory: memory.into_iter().sum(),
        }
    }
}
