//! Programs of an earlier attempt that outlived their vadev, because that was killed with SIGKILL. They would go on writing into
//! a work folder that another attempt uses by then.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, getpid, getsid};

use crate::supply::process::others;

/// Ends every program that works in `folder`, and waits until it is gone, at most `within`. The caller holds the lock of whatever
/// is made there, so that no other vadev's are among them. Those that are still there at the end are returned. Where there is no
/// `/proc` none is found.
pub async fn end(folder: &Path, within: Duration) -> Vec<Pid> {
    let spared = ancestors();
    others::end_all(within, |pid| {
        !spared.contains(&pid) && works_in(pid, folder) && !leads_session(pid)
    })
    .await
}

/// A login shell that stands in the folder is somebody's, and no program of a build.
fn leads_session(pid: Pid) -> bool {
    getsid(Some(pid)).is_ok_and(|session| session == pid)
}

/// This process and those that it was started by: a script may well name the cache's folders.
fn ancestors() -> HashSet<Pid> {
    let mut found = HashSet::new();
    let mut next = Some(getpid());
    // An ID that was given anew meanwhile must not lead in a circle.
    while let Some(pid) = next.filter(|pid| found.insert(*pid)) {
        next = others::parent(pid);
    }
    found
}

fn works_in(pid: Pid, folder: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let within = |link: &str| fs::read_link(proc.join(link)).is_ok_and(|target| target.starts_with(folder));
    // A bootstrap changes its root folder as well.
    within("cwd")
        || within("root")
        || fs::read(proc.join("cmdline")).is_ok_and(|line| names(&line, folder.as_os_str().as_bytes()))
}

/// Whether an argument of a command line is the folder or a path in it, or ends in one: `-o=/work/x/out`.
fn names(line: &[u8], folder: &[u8]) -> bool {
    line.split(|byte| *byte == 0).any(|argument| {
        argument
            .windows(folder.len().max(1))
            .enumerate()
            .any(|(at, part)| {
                let next = argument.get(at + folder.len());
                part == folder && matches!(next, None | Some(b'/'))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::process::Command;

    #[test]
    fn a_folder_is_told_from_its_neighbours() {
        let folder = b"/c/work/postgres";
        for line in [
            &b"go\0build\0-o=/c/work/postgres/context/out\0"[..],
            b"ls\0/c/work/postgres\0",
        ] {
            assert!(names(line, folder));
        }
        for line in [
            &b"ls\0/c/work/postgres-exporter/context\0"[..],
            b"ls\0/c/work\0",
            b"",
        ] {
            assert!(!names(line, folder));
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn what_works_in_the_folder_is_ended_and_nothing_else() {
        let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mine = fs::canonicalize(mine.path()).unwrap();
        let sleeper = |folder: &Path| {
            let command = Command::new("sleep").arg("60").cwd(folder);
            tokio::spawn(async move { command.output().await })
        };
        let (ended, left) = (sleeper(&mine), sleeper(other.path()));
        let begun = |pid| works_in(pid, &mine);
        while !others::processes().any(begun) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(end(&mine, Duration::from_secs(10)).await, []);
        assert!(ended.await.unwrap().is_err());
        assert!(!left.is_finished());
        left.abort();
    }
}
