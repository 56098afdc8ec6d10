//! Files that vadev and kind write: the kubeconfig and its lock.

use super::report::{Check, Severity};
use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// kind and kubectl hold the lock for milliseconds.
const LOCK_AGE: Duration = Duration::from_mins(1);

/// The kubeconfig that kind and kubectl write to: the first of `KUBECONFIG`, else the one in the home folder.
pub fn default_kubeconfig() -> PathBuf {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let first = std::env::split_paths(&listed).find(|path| !path.as_os_str().is_empty());
    first.unwrap_or_else(|| {
        etcetera::home_dir()
            .unwrap_or_default()
            .join(".kube")
            .join("config")
    })
}

/// The lock that client-go puts beside a kubeconfig while it writes.
pub fn lock_of(kubeconfig: &Path) -> PathBuf {
    let mut name = kubeconfig.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Whether the kubeconfig can be written, and is not locked by a program that was killed.
pub fn kubeconfig(file: &Path) -> Check {
    let (id, title) = ("kubeconfig", "Kubeconfig");
    let lock = lock_of(file);
    if stale(&lock) {
        return Check::ok(
            id,
            title,
            format!("{} was left by a program that was killed", lock.display()),
        )
        .problem(Severity::Error, format!("rm {}", lock.display()))
        .fixable();
    }
    let target = file.ancestors().find(|path| path.exists()).unwrap_or(file);
    match access(target, Access::WRITE_OK) {
        Ok(()) => Check::ok(id, title, format!("{} can be written", file.display())),
        Err(error) => Check::ok(
            id,
            title,
            format!("{} cannot be written: {error}", target.display()),
        )
        .problem(
            Severity::Error,
            format!("make {} writable, or set KUBECONFIG", target.display()),
        ),
    }
}

/// Whether a lock was left by a program that was killed.
pub fn stale(lock: &Path) -> bool {
    let modified = std::fs::metadata(lock).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LOCK_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_lock_is_found_and_a_fresh_one_is_let_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kube/config");
        assert_eq!(kubeconfig(&file).trouble(), None, "a folder yet to be made");
        std::fs::create_dir(folder.path().join("kube")).unwrap();
        let lock = std::fs::File::create(lock_of(&file)).unwrap();
        assert_eq!(kubeconfig(&file).trouble(), None);
        lock.set_modified(std::time::SystemTime::now() - LOCK_AGE * 2)
            .unwrap();
        let check = kubeconfig(&file);
        assert_eq!((check.trouble(), check.fixable), (Some(Severity::Error), true));
        assert!(check.hint.unwrap().ends_with("config.lock"));
    }
}
