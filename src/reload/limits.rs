//! The kernel's limits on watching, looked at before they are hit.

use std::fs;

use super::ReloadError;

/// Watches that one user may have: each watched folder takes one.
const WATCHES: &str = "fs.inotify.max_user_watches";
/// Watching programs that one user may run.
const INSTANCES: &str = "fs.inotify.max_user_instances";

/// Whether `folders` more folders can be watched, as far as the limits themselves tell; what other programs of this user
/// hold is not known and comes out when watching begins.
///
/// # Errors
/// There are more folders than the limit.
pub fn check(folders: usize) -> Result<(), ReloadError> {
    match value(WATCHES) {
        Some(limit) if (folders as u64) > limit => Err(exceeded(folders)),
        _ => Ok(()),
    }
}

/// The error of a limit that was hit.
pub fn exceeded(folders: usize) -> ReloadError {
    ReloadError::WatchLimit {
        folders,
        limit: WATCHES,
        value: value(WATCHES).unwrap_or_default(),
    }
}

/// The error of too many watching programs.
pub fn instances(folders: usize) -> ReloadError {
    ReloadError::WatchLimit {
        folders,
        limit: INSTANCES,
        value: value(INSTANCES).unwrap_or_default(),
    }
}

/// A sysctl's number; none where the system is not Linux.
fn value(name: &str) -> Option<u64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
