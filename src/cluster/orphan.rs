//! A `kind create` that outlived its vadev, because that was killed with SIGKILL.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

use crate::supply::process::others;

/// Ends every orphaned `kind create cluster` of the cluster `name`, and waits until it is gone. One whose vadev still runs
/// is left alone. Where there is no `/proc` nothing is found.
pub async fn stop(name: &str, within: Duration) {
    // One that cannot be ended is met again by kind itself, which says so.
    let _left = others::end_all(within, |pid| makes(pid, name) && is_orphan(pid)).await;
}

fn makes(pid: Pid, name: &str) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let arguments: Vec<&str> = line
        .split(|byte| *byte == 0)
        .filter_map(|part| std::str::from_utf8(part).ok())
        .collect();
    creates_cluster(&arguments, name)
}

/// Whether a command line is kind's, making the cluster `name`.
fn creates_cluster(arguments: &[&str], name: &str) -> bool {
    let [program, rest @ ..] = arguments else {
        return false;
    };
    program.ends_with("kind")
        && rest.starts_with(&["create", "cluster"])
        && rest.windows(2).any(|pair| pair == ["--name", name])
}

/// Whether its parent is no vadev.
fn is_orphan(pid: Pid) -> bool {
    let command = others::parent(pid)
        .and_then(|parent| fs::read_to_string(format!("/proc/{}/comm", parent.as_raw_nonzero())).ok())
        .unwrap_or_default();
    command.trim() != "vadev"
}

#[cfg(test)]
mod tests {
    use super::creates_cluster;

    #[test]
    fn only_kind_making_this_very_cluster_counts() {
        let line = [
            "/cache/bin/kind",
            "create",
            "cluster",
            "--name",
            "vadev-a",
            "--config",
            "c.yaml",
        ];
        assert!(creates_cluster(&line, "vadev-a"));
        assert!(!creates_cluster(&line, "vadev-b"));
        assert!(!creates_cluster(
            &["vi", "create", "cluster", "--name", "vadev-a"],
            "vadev-a"
        ));
        assert!(!creates_cluster(
            &["/cache/bin/kind", "delete", "cluster", "--name", "vadev-a"],
            "vadev-a"
        ));
        assert!(!creates_cluster(&[], "vadev-a"));
    }
}
