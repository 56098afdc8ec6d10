//! The resolved platform: what a profile means on a given budget. Everything after this point (render, plan, compose,
//! promote) reads only the `Stack`.

use indexmap::IndexMap;
use serde::Serialize;

use super::capacity::Capacity;
use super::workspace::WorkspaceService;
use crate::catalog::mesh::MeshPolicy;
use crate::catalog::service::{Amount, Resources};
use crate::catalog::{Bytes, Infrastructure, Service};

/// The resolved and sized platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stack {
    /// Name of the profile.
    pub profile: String,
    /// Name of the workspace: label of every object, and of the kind cluster `vadev-<workspace>`.
    pub workspace: String,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// The host name under which the shared ingress gateway knows this platform; without one it answers for every host.
    pub host: Option<String>,
    /// Mesh sizing; `None` where the mesh is left out (`--skip-istio`).
    pub mesh: Option<Mesh>,
    /// Systems in dependency order.
    pub infrastructure: Vec<SizedInfrastructure>,
    /// Services in dependency order: a service stands after those it calls, cycles broken by name.
    pub services: Vec<SizedService>,
    /// Whether databases are filled with data that one can show.
    pub seed: bool,
    /// Whether the cluster gets metrics-server.
    pub metrics: bool,
    /// What the catalog has and this stack has not, with the reason.
    pub left_out: Vec<LeftOut>,
    /// Every figure, with the rule it came from.
    pub figures: Vec<Figure>,
    /// What a pod more of the largest service requests, its sidecar included; zero in production sizing, where nodes have room.
    pub rolling: Amount,
    /// Whether the stack is a part of the profile (`up SERVICE…`, `--only`, `--skip-…`): what it lacks is then not pruned.
    pub partial: bool,
}

/// Namespaces of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
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
#[serde(rename_all = "camelCase")]
pub struct Mesh {
    /// istiod.
    pub pilot: Resources,
    /// The ingress gateway.
    pub gateway: Resources,
    /// Each sidecar.
    pub sidecar: Resources,
    /// Istio's version in the catalog.
    pub version: String,
    /// Replicas of istiod.
    pub pilot_replicas: u32,
    /// Replicas of the ingress gateway.
    pub gateway_replicas: u32,
    /// The mesh's rules, as the catalog has them.
    pub policy: MeshPolicy,
}

/// A service with the figures it runs at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SizedService {
    /// The catalog entry, workspace overrides applied.
    pub service: Service,
    /// Replicas.
    pub replicas: u32,
    /// Requests and limits of one replica.
    pub resources: Resources,
    /// Called services and stores that this stack has not: optional at run time.
    pub absent: Vec<String>,
    /// Where its source is by the workspace file or the catalog's convention, relative to the workspace. Whether the
    /// folder is there, only a caller with file access can say.
    pub source: String,
    /// What the workspace file says about building and reloading it; defaults where it says nothing.
    pub workspace: WorkspaceService,
    /// A whole image reference that replaces the catalog's (workspace, profile or `--set`).
    pub image: Option<String>,
}

/// A system with the figures it runs at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SizedInfrastructure {
    /// The catalog entry.
    pub infrastructure: Infrastructure,
    /// Whole image references that replace the catalog's, by workload name.
    pub images: IndexMap<String, String>,
    /// By workload name.
    pub sizes: IndexMap<String, WorkloadSize>,
}

/// The figures of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftOut {
    /// Component.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// One figure and the rule it came from, for `profile explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
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
    /// Takes over the sizes that the parts have in another stack; what it has not keeps its own.
    pub fn take_sizes(&mut self, other: &Self) {
        for system in &mut self.infrastructure {
            let same = |one: &&SizedInfrastructure| one.infrastructure.name == system.infrastructure.name;
            if let Some(found) = other.infrastructure.iter().find(same) {
                system.sizes.clone_from(&found.sizes);
            }
        }
        for sized in &mut self.services {
            let same = |one: &&SizedService| one.service.name == sized.service.name;
            if let Some(found) = other.services.iter().find(same) {
                sized.replicas = found.replicas;
                sized.resources = found.resources;
            }
        }
        if self.mesh.is_some() {
            self.mesh.clone_from(&other.mesh);
        }
        self.figures.clone_from(&other.figures);
    }

    /// This part amid what runs beside it: its own components, and of `whole` those that run. What several components share,
    /// the mesh above all, is rendered from it, so that a part takes nothing from its neighbours.
    #[must_use]
    pub fn amid(&self, whole: &Self, runs: impl Fn(&str) -> bool) -> Self {
        let system = |one: &SizedInfrastructure| one.infrastructure.name.clone();
        let service = |one: &SizedService| one.service.name.clone();
        Self {
            infrastructure: joined(&self.infrastructure, &whole.infrastructure, system, &runs),
            services: joined(&self.services, &whole.services, service, &runs),
            ..self.clone()
        }
    }

    /// Takes over the components of another stack that this one has not.
    pub fn absorb(&mut self, other: Self) {
        let had: Vec<String> = self.component_names().map(str::to_owned).collect();
        let new = |name: &String| !had.contains(name);
        let systems = other.infrastructure.into_iter();
        self.infrastructure
            .extend(systems.filter(|system| new(&system.infrastructure.name)));
        let services = other.services.into_iter();
        self.services
            .extend(services.filter(|sized| new(&sized.service.name)));
    }

    /// Narrows it to the components of these names, for `reason`: the rest may run or not, and is nobody's concern here.
    pub fn keep(&mut self, keeps: impl Fn(&str) -> bool, reason: &str) {
        let mut gone = Vec::new();
        let mut stays = |name: &str| {
            let stays = keeps(name);
            if !stays {
                gone.push(LeftOut {
                    name: name.to_owned(),
                    reason: reason.to_owned(),
                });
            }
            stays
        };
        self.infrastructure
            .retain(|system| stays(&system.infrastructure.name));
        self.services.retain(|sized| stays(&sized.service.name));
        if self.mesh.is_some() && !stays("istio") {
            self.mesh = None;
        }
        // A part brings no metrics-server, whatever it adds up to.
        self.metrics = false;
        self.partial = true;
        self.left_out.extend(gone);
    }

    /// Puts `prefix` before the namespaces of applications and infrastructure, and makes it part of the workspace's name, by
    /// which objects are known: several such platforms live side by side in one cluster.
    pub fn prefix(&mut self, prefix: &str) {
        self.namespaces.apps = format!("{prefix}-{}", self.namespaces.apps);
        self.namespaces.infra = format!("{prefix}-{}", self.namespaces.infra);
        self.workspace = format!("{prefix}-{}", self.workspace);
        self.host = Some(format!("{prefix}.voiceassistant.local"));
    }
    /// The components whose replicas somebody has stated.
    pub fn stated_replicas(&self) -> impl Iterator<Item = &str> {
        let stated = |figure: &&Figure| figure.field == "replicas" && figure.rule == super::scale::STATED;
        self.figures
            .iter()
            .filter(stated)
            .map(|figure| figure.component.as_str())
    }

    /// How many pods get a sidecar.
    pub fn sidecars(&self) -> u32 {
        if self.mesh.is_none() {
            return 0;
        }
        let systems = self
            .infrastructure
            .iter()
            .filter(|system| system.infrastructure.mesh);
        let systems = systems
            .flat_map(|system| system.sizes.values())
            .map(|size| size.replicas);
        let services = self.services.iter().map(|service| service.replicas);
        systems.chain(services).sum()
    }

    /// Names of the systems, then of the services; then of the mesh where it is there.
    pub fn component_names(&self) -> impl Iterator<Item = &str> {
        let systems = self
            .infrastructure
            .iter()
            .map(|system| system.infrastructure.name.as_str());
        let services = self.services.iter().map(|service| service.service.name.as_str());
        systems.chain(services).chain(self.mesh.iter().map(|_| "istio"))
    }

    /// The name of the system that is called so, by its name or an alias; a system that the stack has not keeps its own.
    pub fn system_name<'a>(&'a self, called: &'a str) -> &'a str {
        let mut systems = self.infrastructure.iter().map(|system| &system.infrastructure);
        systems
            .find(|system| system.is_called(called))
            .map_or(called, |system| &system.name)
    }

    /// The path of a service's own health. One that the stack has not is asked where the platform's services have it.
    pub fn health_of(&self, service: &str) -> &str {
        let mut services = self.services.iter().map(|sized| &sized.service);
        let found = services.find(|one| one.name == service);
        found.map_or("/health", |service| &service.probes.liveness)
    }

    /// Sum of all requests, sidecars and mesh included; without what Kubernetes itself takes.
    pub fn requested(&self) -> Amount {
        Capacity::of(self, Amount::default(), true).needed
    }
}

/// In the order of the whole: the part's own as the part has it, of the others those that run.
fn joined<T: Clone>(
    own: &[T],
    whole: &[T],
    name: impl Fn(&T) -> String,
    runs: &impl Fn(&str) -> bool,
) -> Vec<T> {
    let find = |all: &[T], wanted: &str| all.iter().find(|one| name(one) == wanted).cloned();
    let amid = whole.iter().filter_map(|one| {
        let name = name(one);
        find(own, &name).or_else(|| runs(&name).then(|| one.clone()))
    });
    let beyond = own
        .iter()
        .filter(|one| find(whole, &name(one)).is_none())
        .cloned();
    amid.chain(beyond).collect()
}

#[cfg(test)]
mod tests {
    use crate::profile::Selection;
    use crate::profile::tests::{machine, stack};

    #[test]
    fn a_stack_is_narrowed_and_widened_by_names() {
        let whole = stack("demo", &Selection::default(), machine(4, 24));
        let mut part = whole.clone();
        part.keep(|name| ["redis", "model-adapter"].contains(&name), "not asked for");
        assert_eq!(
            part.component_names().collect::<Vec<_>>(),
            ["redis", "model-adapter"]
        );
        assert!(part.partial && !part.metrics && part.mesh.is_none());
        assert_eq!(
            part.left_out
                .iter()
                .filter(|left| left.reason == "not asked for")
                .count(),
            whole.component_names().count() - 2
        );
        let running = part.amid(&whole, |name| ["nacos", "voice-engine"].contains(&name));
        assert_eq!(
            running.component_names().collect::<Vec<_>>(),
            ["nacos", "redis", "model-adapter", "voice-engine"],
            "in the order of the whole"
        );
        part.absorb(whole.clone());
        assert_eq!(
            part.component_names().count(),
            whole.component_names().count() - 1,
            "but the mesh"
        );
    }
}
