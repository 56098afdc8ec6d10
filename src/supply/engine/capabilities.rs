//! Linux capabilities: which of them this process may have at all (its bounding set), and taking the others out
//! of an OCI runtime specification. Pure.

use serde_json::Value;

/// Names by number, as the kernel's `linux/capability.h` numbers them. A name that is not here (a newer kernel's) is
/// never removed, for nothing is known about it.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The capabilities a process and its children can ever hold: bit n is capability n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundingSet(u64);

impl BoundingSet {
    /// Reads `CapBnd` out of the text of a `/proc/PID/status`.
    pub fn parse(status: &str) -> Option<Self> {
        let hex = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
        u64::from_str_radix(hex.trim(), 16).ok().map(Self)
    }

    /// Whether a capability, by its full name, may be held. Unknown names count as allowed.
    pub fn allows(self, name: &str) -> bool {
        let number = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
        number.is_none_or(|bit| self.0 >> bit & 1 == 1)
    }

    /// The names of the capabilities that are missing, of those that this kernel knows (`last` is the number in
    /// `/proc/sys/kernel/cap_last_cap`).
    pub fn missing(self, last: usize) -> Vec<&'static str> {
        NAMES
            .iter()
            .take(last.saturating_add(1))
            .copied()
            .filter(|name| !self.allows(name))
            .collect()
    }

    /// Takes what is missing out of an OCI `capabilities` object (`{bounding: [..], effective: [..], ..}`).
    /// Returns whether anything was taken out.
    pub fn restrict(self, capabilities: &mut Value) -> bool {
        let Some(sets) = capabilities.as_object_mut() else {
            return false;
        };
        let mut changed = false;
        for list in sets.values_mut().filter_map(Value::as_array_mut) {
            let before = list.len();
            list.retain(|name| name.as_str().is_none_or(|name| self.allows(name)));
            changed |= list.len() != before;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Every capability up to 40 but number 24, `CAP_SYS_RESOURCE`.
    const STATUS: &str =
        "Name:\tx\nCapEff:\t000001ffffffffff\nCapBnd:\t000001fffeffffff\nCapAmb:\t0000000000000000\n";

    #[test]
    fn reads_the_bounding_set_and_not_another() {
        let set = BoundingSet::parse(STATUS).unwrap();
        assert_eq!(set.missing(40), ["CAP_SYS_RESOURCE"]);
        assert!(set.allows("CAP_SYS_ADMIN") && !set.allows("CAP_SYS_RESOURCE"));
        assert!(set.allows("CAP_OF_A_LATER_KERNEL"));
        assert_eq!(BoundingSet::parse("CapEff:\t00"), None);
        assert_eq!(BoundingSet::parse("CapBnd:\tzz"), None);
    }

    #[test]
    fn a_kernel_without_the_newest_capabilities_misses_none() {
        let set = BoundingSet(0x3f_ffff_ffff);
        assert_eq!(set.missing(37), Vec::<&str>::new());
        assert_eq!(
            set.missing(40),
            ["CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"]
        );
    }

    #[test]
    fn restricts_every_set_and_nothing_else() {
        let set = BoundingSet::parse(STATUS).unwrap();
        let mut capabilities = json!({
            "bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"], "ambient": null
        });
        assert!(set.restrict(&mut capabilities));
        assert_eq!(
            capabilities,
            json!({"bounding": ["CAP_CHOWN"], "effective": [], "ambient": null})
        );
        assert!(!set.restrict(&mut capabilities), "a second pass finds nothing");
        assert!(!set.restrict(&mut Value::Null));
    }
}
