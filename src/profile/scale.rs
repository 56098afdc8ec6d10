//! Puts the figures of [`super::size`]'s rules into a stack, and records each with its rule.

use std::collections::BTreeMap;

use super::capacity::{KUBERNETES, ROLLING, budget, room};
use super::profile::{Override, Profile, Sizing};
use super::selection::Selection;
use super::size::{
    Shares, Wish, heap_mib, replaced, requests, shares, shares_with, system_memory_limit, wish,
};
use super::stack::{Figure, Mesh, SizedService, Stack, WorkloadSize};
use crate::catalog::infrastructure::Workload;
use crate::catalog::service::{Amount, Resources};
use crate::catalog::{Bytes, MeshEntry, MeshPart, MilliCpu, Service};

/// How a stack is sized.
pub struct Scale<'a> {
    sizing: Sizing,
    budget: Amount,
    room: Amount,
    overrides: &'a BTreeMap<String, Override>,
    untouched: Override,
}

impl<'a> Scale<'a> {
    /// A scale for a profile on a host.
    pub fn new(
        profile: &Profile,
        selection: &Selection,
        host: Option<Amount>,
        overrides: &'a BTreeMap<String, Override>,
    ) -> Self {
        Self {
            sizing: profile.sizing,
            budget: budget(profile, selection, host),
            room: room(profile, selection, host),
            overrides,
            untouched: Override::default(),
        }
    }

    /// Sizes everything in the stack, and adds the mesh.
    pub fn apply(&self, stack: &mut Stack, mesh: Option<&MeshEntry>) {
        for service in &mut stack.services {
            service.replicas = self.replicas(&service.service.name, service.service.replicas);
        }
        let own = self.wishes(stack, mesh, |_, own| own);
        let asked = self.wishes(stack, mesh, |name, own| self.asked(name).unwrap_or(own));
        let shares = shares_with(shares(&own, self.budget), &asked, self.room)
            .unwrap_or_else(|| shares(&asked, self.budget));
        let mut figures = Figures {
            list: Vec::new(),
            rule: self.rule(shares),
        };
        if let Some(entry) = mesh {
            stack.mesh = Some(self.mesh(entry, shares, &mut figures));
        }
        for system in &mut stack.infrastructure {
            for workload in &system.infrastructure.workloads {
                let size = self.workload(workload, shares);
                figures.workload(workload, &size, self.overridden(&workload.name));
                system.sizes.insert(workload.name.clone(), size);
            }
        }
        for service in &mut stack.services {
            service.resources = self.service(service, shares);
            let change = self.overridden(&service.service.name);
            figures.service(service, change);
            // A laptop has autoscalers only where somebody asks for one.
            if self.sizing == Sizing::Production {
                figures.autoscaling(service, change.replicas);
            }
        }
        stack.figures = figures.list;
        stack.rolling = self.rolling(stack);
    }

    /// What one pod more of the largest service requests. A rolling update starts the new pod before the old one goes.
    fn rolling(&self, stack: &Stack) -> Amount {
        if self.sizing == Sizing::Production {
            return Amount::default();
        }
        let requests = || stack.services.iter().map(|sized| sized.resources.requests);
        let sidecar = stack
            .mesh
            .as_ref()
            .map_or_else(Amount::default, |mesh| mesh.sidecar.requests);
        match (
            requests().map(|one| one.cpu).max(),
            requests().map(|one| one.memory).max(),
        ) {
            (Some(cpu), Some(memory)) => Amount {
                cpu: MilliCpu(cpu.0 + sidecar.cpu.0),
                memory: Bytes(memory.0 + sidecar.memory.0),
            },
            _ => Amount::default(),
        }
    }

    fn overridden(&self, name: &str) -> &Override {
        self.overrides.get(name).unwrap_or(&self.untouched)
    }

    fn replicas(&self, name: &str, production: u32) -> u32 {
        self.asked(name).unwrap_or_else(|| self.sized(production))
    }

    /// Replicas that somebody has asked for.
    fn asked(&self, name: &str) -> Option<u32> {
        self.overridden(name).replicas
    }

    /// Replicas by the rules alone.
    fn sized(&self, production: u32) -> u32 {
        match self.sizing {
            Sizing::Production => production,
            Sizing::Fitted => production.min(1),
        }
    }

    /// What everything wishes for, with so many replicas of each: by name, and what the rules alone give it.
    fn wishes(
        &self,
        stack: &Stack,
        mesh: Option<&MeshEntry>,
        replicas: impl Fn(&str, u32) -> u32,
    ) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let (mut pods, mut largest) = (0, None::<Wish>);
        for system in stack.infrastructure.iter().map(|system| &system.infrastructure) {
            for workload in &system.workloads {
                let replicas = replicas(&workload.name, self.sized(workload.replicas));
                let change = self.overridden(&workload.name).resources;
                wishes.push(wish(workload.floor, workload.resources, change, replicas));
                pods += if system.mesh { replicas } else { 0 };
            }
        }
        for sized in &stack.services {
            let change = self.overridden(&sized.service.name).resources;
            let replicas = replicas(&sized.service.name, self.sized(sized.service.replicas));
            let one = wish(sized.service.floor, sized.service.resources, change, replicas);
            largest = Some(largest.map_or(one, |so_far| so_far.larger(one)));
            wishes.push(one);
            pods += replicas;
        }
        // As in `rolling`: room for the pods that a rolling update adds, with their sidecars.
        if let Some(largest) = largest {
            wishes.push(Wish {
                times: ROLLING,
                ..largest
            });
            pods += ROLLING;
        }
        if let Some(entry) = mesh {
            for (part, times) in [(entry.pilot, 1), (entry.gateway, 1), (entry.sidecar, pods)] {
                wishes.push(Wish {
                    floor: part.floor,
                    production: part.resources.requests,
                    times,
                });
            }
        }
        wishes
    }

    fn fitted(&self, floor: Amount, production: Resources, shares: Shares) -> Resources {
        match self.sizing {
            Sizing::Production => production,
            Sizing::Fitted => Resources {
                requests: requests(floor, production.requests, shares),
                limits: production.limits,
            },
        }
    }

    fn service(&self, sized: &SizedService, shares: Shares) -> Resources {
        let fitted = self.fitted(sized.service.floor, sized.service.resources, shares);
        replaced(fitted, self.overridden(&sized.service.name).resources)
    }

    fn workload(&self, workload: &Workload, shares: Shares) -> WorkloadSize {
        let mut fitted = self.fitted(workload.floor, workload.resources, shares);
        let laptop = self.sizing == Sizing::Fitted;
        if laptop {
            let limit = system_memory_limit(workload.floor.memory, workload.resources.limits.memory, shares);
            fitted.limits.memory = limit.max(fitted.requests.memory);
        }
        let resources = replaced(fitted, self.overridden(&workload.name).resources);
        let volumes = workload.volumes.iter();
        WorkloadSize {
            replicas: self.replicas(&workload.name, workload.replicas),
            heap_mib: workload
                .heap
                .map(|heap| heap_mib(heap.percent, heap.floor, resources.limits.memory)),
            volumes: volumes
                .map(|v| (v.name.clone(), if laptop { v.floor } else { v.size }))
                .collect(),
            resources,
        }
    }

    fn mesh(&self, entry: &MeshEntry, shares: Shares, figures: &mut Figures) -> Mesh {
        let mut part = |name: &str, part: &MeshPart| {
            let resources = self.fitted(part.floor, part.resources, shares);
            let replicas = match self.sizing {
                Sizing::Production => part.replicas,
                Sizing::Fitted => 1,
            };
            figures.resources(name, part.resources, resources, &Override::default());
            figures.replicas(name, part.replicas, replicas, &Override::default());
            (resources, replicas)
        };
        let (pilot, pilot_replicas) = part("istiod", &entry.pilot);
        let (gateway, gateway_replicas) = part("istio-ingressgateway", &entry.gateway);
        let (sidecar, _) = part("istio-proxy", &entry.sidecar);
        Mesh {
            pilot,
            gateway,
            sidecar,
            version: entry.version.clone(),
            pilot_replicas,
            gateway_replicas,
            policy: entry.policy.clone(),
        }
    }

    fn rule(&self, shares: Shares) -> Rules {
        let way = |share: u64, budget: String| match share {
            0 => format!("the floor: a budget of {budget} leaves nothing above the floors"),
            1000 => format!("production's: a budget of {budget} holds it"),
            _ => format!(
                "the floor and {}.{} % of the way to production: what a budget of {budget} holds",
                share / 10,
                share % 10
            ),
        };
        Rules {
            cpu: way(
                shares.cpu,
                format!(
                    "{} CPU beside Kubernetes' own {}",
                    self.budget.cpu, KUBERNETES.cpu
                ),
            ),
            memory: way(
                shares.memory,
                format!(
                    "{} MiB beside Kubernetes' own {}",
                    self.budget.memory.as_mib(),
                    KUBERNETES.memory
                ),
            ),
        }
    }
}

/// The rule of a figure that is the catalog's own.
const SAME: &str = "production's";

/// The rule of a figure that somebody has stated, whatever it would be otherwise.
pub const STATED: &str = "stated by an override";

/// The reasons that depend on the budget.
struct Rules {
    cpu: String,
    memory: String,
}

/// Collects the figures.
struct Figures {
    list: Vec<Figure>,
    rule: Rules,
}

impl Figures {
    fn note(&mut self, component: &str, field: &str, production: String, value: String, rule: &str) {
        let rule = if production == value && rule != STATED {
            SAME
        } else {
            rule
        };
        self.list.push(Figure {
            component: component.to_owned(),
            field: field.to_owned(),
            production,
            value,
            rule: rule.to_owned(),
        });
    }

    fn resources(&mut self, name: &str, production: Resources, value: Resources, change: &Override) {
        let Rules { cpu, memory } = &self.rule;
        let (cpu, memory) = (cpu.clone(), memory.clone());
        let stated = |stated: bool, rule: &str| {
            if stated {
                STATED.to_owned()
            } else {
                rule.to_owned()
            }
        };
        let change = change.resources;
        let rule = stated(change.requests.cpu.is_some(), &cpu);
        self.note(
            name,
            "requests.cpu",
            production.requests.cpu.to_string(),
            value.requests.cpu.to_string(),
            &rule,
        );
        let rule = stated(change.requests.memory.is_some(), &memory);
        self.note(
            name,
            "requests.memory",
            production.requests.memory.to_string(),
            value.requests.memory.to_string(),
            &rule,
        );
        let rule = stated(change.limits.cpu.is_some(), "never below the request");
        self.note(
            name,
            "limits.cpu",
            production.limits.cpu.to_string(),
            value.limits.cpu.to_string(),
            &rule,
        );
        let rule = stated(
            change.limits.memory.is_some(),
            &format!("a quarter above {memory}"),
        );
        self.note(
            name,
            "limits.memory",
            production.limits.memory.to_string(),
            value.limits.memory.to_string(),
            &rule,
        );
    }

    fn replicas(&mut self, name: &str, production: u32, value: u32, change: &Override) {
        let rule = if change.replicas.is_some() {
            STATED
        } else {
            "one replica in a fitted profile"
        };
        self.note(name, "replicas", production.to_string(), value.to_string(), rule);
    }

    fn service(&mut self, sized: &SizedService, change: &Override) {
        let service = &sized.service;
        self.replicas(&service.name, service.replicas, sized.replicas, change);
        self.resources(&service.name, service.resources, sized.resources, change);
    }

    fn autoscaling(&mut self, sized: &SizedService, stated: Option<u32>) {
        let Service {
            name, autoscaling, ..
        } = &sized.service;
        let value = stated.map_or_else(|| autoscaling.clone(), |replicas| autoscaling.with(replicas));
        let (production, value) = (autoscaling.to_string(), value.to_string());
        self.note(
            name,
            "autoscaling",
            production,
            value,
            "from the stated replicas up",
        );
    }

    fn workload(&mut self, workload: &Workload, size: &WorkloadSize, change: &Override) {
        self.replicas(&workload.name, workload.replicas, size.replicas, change);
        self.resources(&workload.name, workload.resources, size.resources, change);
        if let (Some(heap), Some(value)) = (workload.heap, size.heap_mib) {
            let production = heap_mib(heap.percent, heap.floor, workload.resources.limits.memory);
            let rule = format!("{} % of the memory limit, at least {}", heap.percent, heap.floor);
            self.note(
                &workload.name,
                "heap",
                format!("{production}Mi"),
                format!("{value}Mi"),
                &rule,
            );
        }
        for volume in &workload.volumes {
            let value = size.volumes.get(&volume.name).copied().unwrap_or(volume.size);
            let rule = "the volume's floor: a claim's size can't be lowered later";
            self.note(
                &workload.name,
                &format!("volume.{}", volume.name),
                volume.size.to_string(),
                value.to_string(),
                rule,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::{machine, stack};

    #[test]
    fn what_is_stated_is_called_so_even_where_it_is_productions() {
        let figure = |set: &[&str]| {
            let selection = Selection {
                set: set.iter().map(ToString::to_string).collect(),
                ..Selection::default()
            };
            let figures = stack("dev", &selection, machine(2, 8)).figures;
            let mut of = figures.into_iter();
            of.find(|figure| figure.component == "agent-engine" && figure.field == "replicas")
                .expect("a figure")
        };
        let production = figure(&[]).production;
        let stated = figure(&[&format!("agent-engine.replicas={production}")]);
        assert_eq!((stated.value, stated.rule.as_str()), (production, STATED));
        assert_eq!(figure(&[]).rule, "one replica in a fitted profile");
    }
}
