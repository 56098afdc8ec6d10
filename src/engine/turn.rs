//! What surrounds an `up`: the workspace's lock before it, and the addresses to look at after it.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;

use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};

/// The right to change what a workspace runs, until dropped.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

/// The file that is locked; in it stands who has it.
const FILE: &str = "lock";

/// Takes the workspace's lock; the operating system frees it when the process ends, however it ends.
///
/// # Errors
/// Another run has it, which the message names; or the state folder can't be written.
pub fn lock(state: &Path) -> Result<Hold, Failure> {
    let trouble = |error: io::Error| {
        Plain::new(
            Family::Environment,
            format!("can't lock the state folder {}: {error}", state.display()),
        )
        .with_hint("check its permissions")
    };
    std::fs::create_dir_all(state).map_err(trouble)?;
    // Not truncated on opening: until the lock is taken, the content is somebody else's.
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(state.join(FILE))
        .map_err(trouble)?;
    match file.try_lock() {
        Ok(()) => {
            let line = format!("{} (process {})", command_line(), std::process::id());
            file.set_len(0)
                .and_then(|()| file.write_all(line.as_bytes()))
                .map_err(trouble)?;
            Ok(Hold { _file: file })
        }
        Err(TryLockError::WouldBlock) => {
            let message = format!(
                "another vadev is working on {}{}",
                state.display(),
                named(&mut file)
            );
            Err(Plain::new(Family::Refused, message)
                .with_hint("wait for it to end, or stop it with Ctrl+C")
                .into())
        }
        Err(TryLockError::Error(error)) => Err(trouble(error).into()),
    }
}

/// As [`lock`], for verbs that have nothing to do where no `up` ever was: they leave no state folder behind.
///
/// # Errors
/// As [`lock`].
pub fn lock_if_used(state: &Path) -> Result<Option<Hold>, Failure> {
    state.is_dir().then(|| lock(state)).transpose()
}

/// Whether another run has the lock at this moment. Changes nothing.
pub fn is_locked(state: &Path) -> bool {
    File::open(state.join(FILE))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Who has the lock, as they wrote it down.
fn named(file: &mut File) -> String {
    let mut line = String::new();
    match file.read_to_string(&mut line) {
        Ok(length) if length > 0 => format!(": {line}"),
        // Just taken and not signed yet: the message does without.
        _ => String::new(),
    }
}

/// How this run was called. A value that a flag sets is nobody else's business.
fn command_line() -> String {
    let arguments = std::env::args()
        .skip(1)
        .map(|argument| match argument.split_once('=') {
            Some((name, _)) => format!("{name}=…"),
            None => argument,
        });
    std::iter::once("vadev".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Where paths of the platform are looked at, through the ingress gateway. Where several platforms share the gateway, it is a
/// host name that leads to this one; the gateway's own address is the cluster's affair.
pub fn base(platform: &Platform) -> Option<String> {
    match (&platform.stack().host, platform.options.place.existing()) {
        (Some(host), _) => Some(format!("http://{host}")),
        (None, Some(_)) => None,
        (None, None) => Some(format!("http://127.0.0.1:{}", platform.options.http_port)),
    }
}

/// Where to look: the platform's health and every prefix.
pub fn urls(platform: &Platform) -> Vec<String> {
    let base = base(platform).filter(|_| platform.stack().mesh.is_some());
    let Some(base) = base else {
        return Vec::new();
    };
    let prefixes = platform
        .stack()
        .services
        .iter()
        .flat_map(|sized| &sized.service.prefixes);
    ["/health", "/api/v1/health"]
        .into_iter()
        .map(str::to_owned)
        .chain(prefixes.cloned())
        .map(|path| format!("{base}{path}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_and_told_whom_it_has_to_wait_for() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".vadev");
        assert!(lock_if_used(&state).unwrap().is_none() && !state.exists());
        let hold = lock(&state).unwrap();
        assert!(is_locked(&state));
        let refused = lock_if_used(&state).unwrap_err();
        let process = format!("(process {})", std::process::id());
        assert!(refused.to_string().ends_with(&process), "{refused}");
        assert_eq!(refused.family(), Family::Refused);
        drop(hold);
        assert!(!is_locked(&state));
        lock(&state).unwrap();
    }
}
