//! This machine: inotify, memory, CPUs, disk, control groups.

use super::proc::{self, gibibytes};
use super::report::{Check, Severity};
use crate::supply::tools::Version;
use std::path::{Path, PathBuf};

/// `fs.inotify.max_user_watches` that a kind node and its pods get by with (kind's documentation, "Known Issues: Pod errors due
/// to too many open files").
pub const INOTIFY_WATCHES: u64 = 524_288;
/// `fs.inotify.max_user_instances`, from the same place.
pub const INOTIFY_INSTANCES: u64 = 512;

/// kubeadm's own minimum for a control plane.
const CPUS: u64 = 2;

const GIB: u64 = 1 << 30;
/// Total memory below which not even the minimal profile fits: Kubernetes and Istio alone take about 2 GiB.
const MEMORY_LEAST: u64 = 4 * GIB;
/// Memory that the dev profile's systems and services need, all together.
const MEMORY_GOOD: u64 = 8 * GIB;

/// Free space below which creating the cluster fails: the node image has 1.2 GiB and is there twice, packed and unpacked.
const DISK_LEAST: u64 = 5 * GIB;
/// Free space for all images of the full profile in Docker and in the node, and for the data of its stores.
const DISK_GOOD: u64 = 20 * GIB;

/// The first Kubernetes release whose kubelet refuses control groups v1 by default.
const CGROUP_V2_ONLY: Version = Version::new(1, 35, 0);

/// The checks of the inotify limits; empty where the kernel is not Linux.
pub fn inotify() -> Vec<Check> {
    let limits = [
        (
            "inotify-watches",
            "inotify watches",
            "max_user_watches",
            INOTIFY_WATCHES,
        ),
        (
            "inotify-instances",
            "inotify instances",
            "max_user_instances",
            INOTIFY_INSTANCES,
        ),
    ];
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok();
    let check = |(id, title, name, needed)| Some(limit(id, title, name, needed, &read(name)?));
    limits.into_iter().filter_map(check).collect()
}

fn limit(id: &str, title: &str, name: &str, needed: u64, text: &str) -> Check {
    match text.trim().parse::<u64>() {
        Ok(limit) if limit >= needed => Check::ok(id, title, limit.to_string()),
        Ok(limit) => Check::ok(id, title, format!("{limit}, {needed} recommended by kind"))
            .problem(
                Severity::Warning,
                format!("sudo sysctl -w fs.inotify.{name}={needed}"),
            )
            .fixable(),
        Err(error) => Check::ok(id, title, format!("fs.inotify.{name}: {error}")).unknown(),
    }
}

/// The check of memory. `engine` is what Docker has, which is less than the machine's inside a virtual machine.
pub fn memory(engine: Option<u64>) -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    memory_of(
        engine.or_else(|| proc::meminfo(&text, "MemTotal")),
        proc::meminfo(&text, "MemAvailable"),
    )
}

fn memory_of(total: Option<u64>, available: Option<u64>) -> Check {
    let (id, title) = ("memory", "Memory");
    let Some(total) = total else {
        return Check::ok(id, title, "could not be measured").unknown();
    };
    let mut value = gibibytes(total);
    if let Some(available) = available.filter(|bytes| *bytes <= total) {
        value = format!("{value}, {} available", gibibytes(available));
    }
    let free = available.unwrap_or(total).min(total);
    if total < MEMORY_LEAST {
        let value = format!("{value}, {} needed", gibibytes(MEMORY_LEAST));
        return Check::ok(id, title, value)
            .problem(Severity::Error, "give Docker or this machine more memory");
    }
    if free < MEMORY_GOOD {
        let value = format!("{value}, {} recommended", gibibytes(MEMORY_GOOD));
        return Check::ok(id, title, value).problem(
            Severity::Warning,
            "close other programs, or take a smaller profile: vadev up -p minimal",
        );
    }
    Check::ok(id, title, value)
}

/// The check of the CPUs that Docker, or else this machine, has.
pub fn cpus(engine: Option<u64>) -> Check {
    let machine = || {
        std::thread::available_parallelism()
            .ok()
            .and_then(|n| u64::try_from(n.get()).ok())
    };
    let (id, title) = ("cpus", "CPUs");
    match engine.or_else(machine) {
        Some(count) if count >= CPUS => Check::ok(id, title, count.to_string()),
        Some(count) => Check::ok(id, title, format!("{count}, {CPUS} needed"))
            .problem(Severity::Error, "give Docker or this machine more CPUs"),
        None => Check::ok(id, title, "could not be counted").unknown(),
    }
}

/// The check of free space where `folder` is, or will be.
pub fn disk(id: &str, title: &str, folder: &Path) -> Check {
    let existing = folder
        .ancestors()
        .find(|folder| folder.is_dir())
        .unwrap_or(folder);
    match rustix::fs::statvfs(existing) {
        Ok(fs) => disk_of(id, title, folder, fs.f_bavail.saturating_mul(fs.f_frsize)),
        Err(error) => Check::ok(id, title, format!("{}: {error}", existing.display())).unknown(),
    }
}

fn disk_of(id: &str, title: &str, folder: &Path, free: u64) -> Check {
    let value = format!("{} free at {}", gibibytes(free), folder.display());
    let hint = "docker system prune, vadev supply prune, or free space otherwise";
    if free < DISK_LEAST {
        let value = format!("{value}, {} needed", gibibytes(DISK_LEAST));
        return Check::ok(id, title, value).problem(Severity::Error, hint);
    }
    if free < DISK_GOOD {
        let value = format!("{value}, {} recommended", gibibytes(DISK_GOOD));
        return Check::ok(id, title, value).problem(Severity::Warning, hint);
    }
    Check::ok(id, title, value)
}

/// The version of the control groups, as this machine mounts them.
pub fn cgroup_version() -> Option<u8> {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Some(2);
    }
    PathBuf::from("/sys/fs/cgroup").is_dir().then_some(1)
}

/// The check of the control groups against the Kubernetes release that is to run.
pub fn cgroups(version: Option<u8>, kubernetes: Version) -> Check {
    let (id, title) = ("cgroups", "Control groups");
    match version {
        Some(2) => Check::ok(id, title, "v2"),
        Some(_) if kubernetes < CGROUP_V2_ONLY => Check::ok(
            id,
            title,
            format!("v1, which Kubernetes {kubernetes} still accepts"),
        ),
        Some(_) => Check::ok(id, title, format!("v1, which Kubernetes {kubernetes} refuses")).problem(
            Severity::Error,
            "boot with systemd.unified_cgroup_hierarchy=1, or use Kubernetes 1.34",
        ),
        None => Check::ok(id, title, "could not be found out").unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_compared_with_what_kind_asks_for() {
        let check = |text| limit("i", "I", "max_user_watches", INOTIFY_WATCHES, text);
        assert_eq!(check("524288\n").trouble(), None);
        let low = check("8192\n");
        assert_eq!((low.trouble(), low.fixable), (Some(Severity::Warning), true));
        assert_eq!(
            low.hint.as_deref(),
            Some("sudo sysctl -w fs.inotify.max_user_watches=524288")
        );
        assert_eq!(check("x").state, super::super::report::State::Unknown);
    }

    #[test]
    fn memory_and_disk_have_two_thresholds() {
        let memory = |total: u64, free: u64| memory_of(Some(total * GIB), Some(free * GIB)).trouble();
        assert_eq!(memory(16, 12), None);
        assert_eq!(memory(16, 5), Some(Severity::Warning));
        assert_eq!(memory(3, 2), Some(Severity::Error));
        // Docker's virtual machine is smaller than what the host has free.
        assert_eq!(memory(6, 20), Some(Severity::Warning));
        let disk = |free: u64| disk_of("d", "D", Path::new("/d"), free * GIB).trouble();
        assert_eq!(
            (disk(50), disk(10), disk(4)),
            (None, Some(Severity::Warning), Some(Severity::Error))
        );
    }

    #[test]
    fn old_control_groups_depend_on_kubernetes() {
        let trouble = |groups, minor| cgroups(groups, Version::new(1, minor, 4)).trouble();
        assert_eq!(trouble(Some(1), 34), None);
        assert_eq!(trouble(Some(1), 35), Some(Severity::Error));
        assert_eq!(trouble(Some(2), 35), None);
    }

    #[test]
    fn the_disk_of_a_folder_yet_to_be_made_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let check = disk("d", "D", &folder.path().join("a/b"));
        assert!(check.value.contains("GiB free at"), "{}", check.value);
    }
}
