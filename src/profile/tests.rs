//! The planner on the built-in catalog and profiles.

use super::*;
use crate::catalog::service::Amount;
use crate::catalog::{Bytes, Catalog, MilliCpu, embedded_files, load};

pub fn catalog() -> Catalog {
    load(&embedded_files()).expect("the built-in catalog")
}

pub fn builtin(name: &str) -> Profile {
    builtin_profiles().expect("the built-in profiles")[name].clone()
}

pub fn machine(cores: u64, gib: u64) -> Amount {
    Amount {
        cpu: MilliCpu(cores * 1000),
        memory: Bytes::mib(gib * 1024),
    }
}

pub fn stack(profile: &str, selection: &Selection, host: Amount) -> Stack {
    let workspace = Workspace::unnamed("test");
    resolve(&catalog(), &builtin(profile), &workspace, selection, Some(host)).expect("resolves")
}

#[test]
fn the_promised_machines_hold_their_profiles() {
    for (profile, host) in [
        ("minimal", machine(2, 6)),
        ("dev", machine(2, 7)),
        ("demo", machine(2, 24)),
    ] {
        let capacity = Capacity::of(&stack(profile, &Selection::default(), host), host, false);
        assert!(capacity.fits(), "{profile}\n{}", capacity.table().join("\n"));
    }
}
