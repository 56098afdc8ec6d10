//! What the platform may take of a host or cluster, and whether it fits, before anything starts.

use super::profile::{Budget, Profile};
use super::selection::Selection;
use super::stack::Stack;
use crate::catalog::service::Amount;
use crate::catalog::{Bytes, MilliCpu};
use crate::failure::{Diagnose, Family};

/// What Kubernetes itself takes of a single kind node. CPU: the requests of kube-system (two coredns 200m, apiserver 250m,
/// controller-manager 200m, scheduler 100m, etcd 100m, metrics-server 10m), see design/packages.md. Memory: what the control plane, the kubelet
/// and containerd really use, rounded up to 1 GiB; their requests alone are below 300 MiB.
pub const KUBERNETES: Amount = Amount {
    cpu: MilliCpu(860),
    memory: Bytes::mib(1024),
};

/// So many pods more than those of the stack have room in a fitted profile: two services may be replaced side by side, and a
/// third one waits until the first is done.
pub const ROLLING: u32 = 2;

/// Host memory is counted in these steps, because a kernel update moves it by a little and sizes are not to follow.
const MEMORY_STEP_MIB: u64 = 256;

/// What the platform may take in all, Kubernetes included: what there is, and never more than `--cpus` and `--memory` allow.
/// `None` where nobody knows what there is.
pub fn available(selection: &Selection, there: Option<Amount>) -> Option<Amount> {
    let there = there.or_else(|| {
        Some(Amount {
            cpu: selection.cpus?,
            memory: selection.memory?,
        })
    })?;
    Some(Amount {
        cpu: selection.cpus.map_or(there.cpu, |most| most.min(there.cpu)),
        memory: selection
            .memory
            .map_or(there.memory, |most| most.min(there.memory)),
    })
}

/// What pods may request in all: the least of the profile's bounds, the command line's and the host's share, minus
/// [`KUBERNETES`]. `host` is what the machine or the cluster has; without it only the stated bounds count.
pub fn budget(profile: &Profile, selection: &Selection, host: Option<Amount>) -> Amount {
    within(profile.budget, selection, host)
}

/// As [`budget`], without the profile's own bounds: what replicas that somebody asks for beside the profile's may take as well.
pub fn room(profile: &Profile, selection: &Selection, host: Option<Amount>) -> Amount {
    let mut bounds = profile.budget;
    if host.is_some() {
        (bounds.cpu, bounds.memory) = (None, None);
    }
    within(bounds, selection, host)
}

fn within(bounds: Budget, selection: &Selection, host: Option<Amount>) -> Amount {
    let Budget {
        cpu,
        memory,
        host_cpu_percent,
        host_memory_percent,
    } = bounds;
    let host = host.map(|host| Amount {
        cpu: host.cpu,
        memory: Bytes::mib(host.memory.as_mib() / MEMORY_STEP_MIB * MEMORY_STEP_MIB),
    });
    let share = |whole: u64, percent: Option<u32>| whole / 100 * u64::from(percent.unwrap_or(100).min(100));
    let cpu_bounds = match selection.cpus {
        Some(cpus) => [Some(cpus.0), host.map(|host| host.cpu.0)],
        None => [
            cpu.map(|cpu| cpu.0),
            host.map(|host| share(host.cpu.0, host_cpu_percent)),
        ],
    };
    let memory_bounds = match selection.memory {
        Some(memory) => [Some(memory.0), host.map(|host| host.memory.0)],
        None => [
            memory.map(|memory| memory.0),
            host.map(|host| share(host.memory.0, host_memory_percent)),
        ],
    };
    let least = |bounds: [Option<u64>; 2]| bounds.into_iter().flatten().min().unwrap_or(u64::MAX);
    Amount {
        cpu: MilliCpu(least(cpu_bounds).saturating_sub(KUBERNETES.cpu.0)),
        memory: Bytes(least(memory_bounds).saturating_sub(KUBERNETES.memory.0)),
    }
}

/// One line of the capacity table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Component or part.
    pub name: String,
    /// How many.
    pub count: u32,
    /// Requests of all of them.
    pub requests: Amount,
}

/// The requests of a stack against what there is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Parts of the stack, Kubernetes itself first.
    pub rows: Vec<Row>,
    /// Sum of the rows.
    pub needed: Amount,
    /// What it may take: what the host or cluster has, within the command line's bounds.
    pub available: Amount,
}

impl Capacity {
    /// Adds up a stack. With `cluster` true, `available` is what a running cluster has left, and Kubernetes itself is not
    /// counted again.
    pub fn of(stack: &Stack, available: Amount, cluster: bool) -> Self {
        let mut rows = Vec::new();
        let mut add = |name: &str, count: u32, each: Amount| {
            if count > 0 {
                rows.push(Row {
                    name: name.to_owned(),
                    count,
                    requests: times(each, count),
                });
            }
        };
        if !cluster {
            add("kubernetes", 1, KUBERNETES);
        }
        if let Some(mesh) = &stack.mesh {
            add("istiod", mesh.pilot_replicas, mesh.pilot.requests);
            add("ingress gateway", mesh.gateway_replicas, mesh.gateway.requests);
            add("sidecars", stack.sidecars(), mesh.sidecar.requests);
        }
        for system in &stack.infrastructure {
            for (name, size) in &system.sizes {
                add(name, size.replicas, size.resources.requests);
            }
        }
        for service in &stack.services {
            add(
                &service.service.name,
                service.replicas,
                service.resources.requests,
            );
        }
        if stack.rolling != Amount::default() {
            add("rolling update", ROLLING, stack.rolling);
        }
        let needed = Amount {
            cpu: rows.iter().map(|row| row.requests.cpu).sum(),
            memory: rows.iter().map(|row| row.requests.memory).sum(),
        };
        Self {
            rows,
            needed,
            available,
        }
    }

    /// Whether the requests fit as a whole. (Whether each pod finds a node, only the scheduler can say.)
    pub fn fits(&self) -> bool {
        self.needed.cpu <= self.available.cpu && self.needed.memory <= self.available.memory
    }

    /// The table, one line a row, without colour.
    pub fn table(&self) -> Vec<String> {
        let width = self
            .rows
            .iter()
            .map(|row| row.name.len())
            .max()
            .unwrap_or(0)
            .max("available".len());
        let line = |name: &str, count: String, amount: Amount| {
            format!(
                "{name:width$}  {count:>5}  {:>8}  {:>9}",
                amount.cpu.to_string(),
                mebibytes(amount.memory)
            )
        };
        let mut lines = vec![format!(
            "{:width$}  {:>5}  {:>8}  {:>9}",
            "requests", "count", "cpu", "memory"
        )];
        lines.extend(
            self.rows
                .iter()
                .map(|row| line(&row.name, row.count.to_string(), row.requests)),
        );
        lines.push(line("needed", String::new(), self.needed));
        lines.push(line("available", String::new(), self.available));
        lines
    }

    /// Refuses what cannot fit. `smaller` are other profiles with what they need at least on this machine, from which the
    /// largest that fits is named.
    pub fn check(self, profile: &str, smaller: &[(String, Self)]) -> Result<Self, TooSmall> {
        if self.fits() {
            return Ok(self);
        }
        let fitting = smaller.iter().filter(|(_, capacity)| capacity.fits());
        let nearest = fitting.max_by_key(|(_, capacity)| (capacity.needed.memory, capacity.needed.cpu));
        Err(TooSmall {
            profile: profile.to_owned(),
            nearest: nearest.map(|(name, _)| name.clone()),
            capacity: Box::new(self),
        })
    }
}

fn times(each: Amount, count: u32) -> Amount {
    Amount {
        cpu: each.cpu * u64::from(count),
        memory: each.memory * u64::from(count),
    }
}

fn mebibytes(memory: Bytes) -> String {
    format!("{} MiB", memory.as_mib())
}

/// The stack needs more than there is, even at its floors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the profile `{profile}` does not fit: it requests {} CPU and {} of memory, and may take {} and {}",
    capacity.needed.cpu, mebibytes(capacity.needed.memory), capacity.available.cpu, mebibytes(capacity.available.memory))]
pub struct TooSmall {
    /// The profile.
    pub profile: String,
    /// The largest profile that fits.
    pub nearest: Option<String>,
    /// The figures.
    pub capacity: Box<Capacity>,
}

impl Diagnose for TooSmall {
    fn hint(&self) -> Option<String> {
        Some(match &self.nearest {
            Some(nearest) => {
                format!("take the largest profile that fits: vadev up -p {nearest}, with the same flags")
            }
            None => {
                "start fewer services: vadev up SERVICE…, or allow more where --cpus or --memory bounds it"
                    .to_owned()
            }
        })
    }
    fn family(&self) -> Family {
        Family::Environment
    }
    fn details(&self) -> Vec<String> {
        self.capacity.table()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::tests::{machine, stack};

    fn bounded(cpu: u64, mib: u64) -> Selection {
        Selection {
            cpus: Some(MilliCpu(cpu)),
            memory: Some(Bytes::mib(mib)),
            ..Selection::default()
        }
    }

    #[test]
    fn what_the_command_line_allows_bounds_what_there_is() {
        let host = machine(4, 16);
        let least = Amount {
            cpu: MilliCpu(1000),
            memory: Bytes::mib(16 * 1024),
        };
        assert_eq!(available(&bounded(1000, 99_999), Some(host)), Some(least));
        assert_eq!(available(&Selection::default(), Some(host)), Some(host));
        assert_eq!(available(&Selection::default(), None), None);
        assert_eq!(available(&bounded(1000, 16 * 1024), None), Some(least));
    }

    #[test]
    fn services_that_fit_where_the_whole_does_not_get_what_there_is() {
        let host = machine(16, 64);
        let mut selection = bounded(0, 0);
        selection.services = vec!["model-adapter".to_owned()];
        let floors = stack("full", &selection, host);
        let needed = Capacity::of(&floors, host, false).needed;
        (selection.cpus, selection.memory) = (Some(needed.cpu), Some(Bytes(needed.memory.0)));
        let capacity = Capacity::of(&stack("full", &selection, host), needed, false);
        assert!(capacity.fits(), "{}", capacity.table().join("\n"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// What is fitted to bounds is refused for them only where even the floors are above.
        #[test]
        fn fitting_to_bounds_keeps_to_them(cpu in 0u64..9_000, mib in 0u64..20_000, cores in 1u64..9, gib in 1u64..20) {
            let (host, selection) = (machine(cores, gib), bounded(cpu, mib));
            let most = available(&selection, Some(host)).expect("known");
            let floors = stack("dev", &bounded(0, 0), host);
            for of in [
                |capacity: &Capacity| capacity.needed.cpu <= capacity.available.cpu,
                |capacity: &Capacity| capacity.needed.memory <= capacity.available.memory,
            ] {
                let fitted = Capacity::of(&stack("dev", &selection, host), most, false);
                prop_assert_eq!(of(&fitted), of(&Capacity::of(&floors, most, false)), "{}", fitted.table().join("\n"));
            }
        }
    }
}
