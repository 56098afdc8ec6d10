//! Fitting sizes to a budget. Integer arithmetic only, so that the same input gives the same figures everywhere.
//!
//! The rules of a fitted profile:
//! 1. Every component has a floor (measured, in the catalog) and a production request. With `share` thousandths, it requests
//!    `floor + (production − floor) × share / 1000`. CPU and memory each have one share for the whole platform, the largest
//!    step of a twentieth that keeps the sum within the budget; 0 where even the floors exceed it, which the capacity check then refuses.
//! 2. A system's memory limit moves by the same share from a quarter above its floor to production's limit, because caches
//!    and heaps grow into it. The limits of services and of the mesh stay: they cap, they do not reserve.
//! 3. CPU limits stay: throttling would only make starts slow.
//! 4. A heap is a share of the memory limit, with a floor of its own.
//! 5. One replica, and room for two pods more of the largest service ([`super::capacity::ROLLING`]): a rolling update starts the
//!    new pod before the old one goes.
//!    Replicas that somebody asks for beside the profile's come on top of its budget while the host has room, so that they leave
//!    everything else as it is; where it has not, everything shrinks.
//! 6. Volumes at their floor: a claim's size can't be lowered later.

use super::profile::ResourceOverride;
use crate::catalog::service::{Amount, Resources};
use crate::catalog::{Bytes, MilliCpu};

const WHOLE: u64 = 1000;
/// Shares go in steps of a twentieth: one replica more, or a machine with a little less memory, is then mostly no reason to
/// give every pod of the platform other figures, and so to start it anew.
const STEP: u64 = 50;
const MIB: u64 = 1 << 20;

/// How far from the floors to production, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of CPU requests.
    pub cpu: u64,
    /// Of memory requests and systems' memory limits.
    pub memory: u64,
}

/// One component's wish for requests, `times` over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Least.
    pub floor: Amount,
    /// Most.
    pub production: Amount,
    /// Replicas.
    pub times: u32,
}

impl Wish {
    /// The larger figures of both.
    pub fn larger(self, other: Self) -> Self {
        let larger = |one: Amount, other: Amount| Amount {
            cpu: one.cpu.max(other.cpu),
            memory: one.memory.max(other.memory),
        };
        Self {
            floor: larger(self.floor, other.floor),
            production: larger(self.production, other.production),
            ..self
        }
    }
}

/// The largest shares that keep the sum of all requests within the budget.
pub fn shares(wishes: &[Wish], budget: Amount) -> Shares {
    let cpu = |amount: Amount| amount.cpu.0;
    let memory = |amount: Amount| amount.memory.0 / MIB;
    Shares {
        cpu: share(wishes, budget.cpu.0, cpu),
        memory: share(wishes, budget.memory.0 / MIB, memory),
    }
}

/// These shares, where the wishes fit into the room with them.
pub fn shares_with(shares: Shares, wishes: &[Wish], room: Amount) -> Option<Shares> {
    let sum = |of: &dyn Fn(Amount) -> u64, share: u64| {
        let one = |wish: &Wish| {
            u128::from(between(of(wish.floor), of(wish.production), share)) * u128::from(wish.times)
        };
        wishes.iter().map(one).sum::<u128>()
    };
    let cpu = sum(&|amount| amount.cpu.0, shares.cpu) <= u128::from(room.cpu.0);
    let memory = sum(&|amount| amount.memory.0 / MIB, shares.memory) <= u128::from(room.memory.0 / MIB);
    (cpu && memory).then_some(shares)
}

fn share(wishes: &[Wish], budget: u64, of: impl Fn(Amount) -> u64) -> u64 {
    let (mut floors, mut room) = (0_u128, 0_u128);
    for wish in wishes {
        let (floor, production) = (of(wish.floor), of(wish.production));
        floors += u128::from(floor) * u128::from(wish.times);
        room += u128::from(production.saturating_sub(floor)) * u128::from(wish.times);
    }
    let left = u128::from(budget).saturating_sub(floors);
    if room == 0 {
        return WHOLE;
    }
    let share = u64::try_from(left * u128::from(WHOLE) / room).map_or(WHOLE, |share| share.min(WHOLE));
    share / STEP * STEP
}

/// `floor` plus so many thousandths of the way to `production`, rounded down; never below `floor`.
fn between(floor: u64, production: u64, share: u64) -> u64 {
    let way = u128::from(production.saturating_sub(floor)) * u128::from(share) / u128::from(WHOLE);
    floor + u64::try_from(way).unwrap_or(0)
}

/// The requests at these shares (rule 1).
pub fn requests(floor: Amount, production: Amount, shares: Shares) -> Amount {
    Amount {
        cpu: MilliCpu(between(floor.cpu.0, production.cpu.0, shares.cpu)),
        memory: mib_between(floor.memory, production.memory, shares.memory),
    }
}

/// A system's memory limit at these shares (rule 2).
pub fn system_memory_limit(floor: Bytes, production: Bytes, shares: Shares) -> Bytes {
    let least = Bytes::mib((floor.as_mib() + floor.as_mib().div_ceil(4)).max(1));
    mib_between(least.min(production), production, shares.memory)
}

fn mib_between(floor: Bytes, production: Bytes, share: u64) -> Bytes {
    Bytes::mib(between(floor.0.div_ceil(MIB), production.as_mib(), share))
}

/// The heap of a memory limit (rule 4), in MiB.
pub fn heap_mib(percent: u32, floor: Bytes, limit: Bytes) -> u64 {
    let heap = limit.as_mib().saturating_mul(u64::from(percent)) / 100;
    heap.max(floor.as_mib())
}

/// Resources with the stated replacements; a limit is raised to its request where the replacement would put it below.
pub fn replaced(resources: Resources, by: ResourceOverride) -> Resources {
    let mut result = resources;
    result.requests.cpu = by.requests.cpu.unwrap_or(resources.requests.cpu);
    result.requests.memory = by.requests.memory.unwrap_or(resources.requests.memory);
    result.limits.cpu = by.limits.cpu.unwrap_or(resources.limits.cpu);
    result.limits.memory = by.limits.memory.unwrap_or(resources.limits.memory);
    if by.limits.cpu.is_some() && by.requests.cpu.is_none() {
        result.requests.cpu = result.requests.cpu.min(result.limits.cpu);
    }
    if by.limits.memory.is_some() && by.requests.memory.is_none() {
        result.requests.memory = result.requests.memory.min(result.limits.memory);
    }
    result.limits.cpu = result.limits.cpu.max(result.requests.cpu);
    result.limits.memory = result.limits.memory.max(result.requests.memory);
    result
}

/// What a wish is when parts of it are replaced: a stated request neither shrinks nor grows with the budget.
pub fn wish(floor: Amount, production: Resources, by: ResourceOverride, times: u32) -> Wish {
    let mut wish = Wish {
        floor,
        production: production.requests,
        times,
    };
    // A lowered limit caps the request, see `replaced`.
    if let Some(limit) = by.limits.cpu {
        wish.floor.cpu = wish.floor.cpu.min(limit);
        wish.production.cpu = wish.production.cpu.min(limit);
    }
    if let Some(limit) = by.limits.memory {
        wish.floor.memory = wish.floor.memory.min(limit);
        wish.production.memory = wish.production.memory.min(limit);
    }
    if let Some(cpu) = by.requests.cpu {
        (wish.floor.cpu, wish.production.cpu) = (cpu, cpu);
    }
    if let Some(memory) = by.requests.memory {
        (wish.floor.memory, wish.production.memory) = (memory, memory);
    }
    wish
}
