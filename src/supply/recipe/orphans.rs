//! Programs of an earlier attempt that outlived their vadev, because that was killed with SIGKILL. They would go on writing into
//! a work folder that another attempt uses by then.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid, getsid, kill_process};
use tokio::time::{Instant, sleep};

/// Ends every program that works in `folder`, and waits until it is gone, at most `within`. The caller holds the lock of whatever
/// is made there, so that no other vadev's are among them. Those that are still there at the end are returned. Where there is no
/// `/proc` none is found.
pub async fn end(folder: &Path, within: Duration) -> Vec<Pid> {
    let spared = ancestors();
    let until = Instant::now() + within;
    loop {
        let found: Vec<Pid> = processes()
            .filter(|pid| !spared.contains(&pid.as_raw_nonzero().get()))
            .filter(|pid| works_in(*pid, folder) && !leads_session(*pid))
            .collect();
        if found.is_empty() || Instant::now() >= until {
            return found;
        }
        for pid in found {
            // Gone already is as good; one that may not be killed is returned at the end.
            let _gone = kill_process(pid, Signal::KILL);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// A login shell that stands in the folder is somebody's, and no program of a build.
fn leads_session(pid: Pid) -> bool {
    getsid(Some(pid)).is_ok_and(|session| session == pid)
}

/// This process and those that it was started by: a script may well name the cache's folders.
fn ancestors() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut pid = getpid().as_raw_nonzero().get();
    while pid > 0 && found.insert(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        pid = parent.and_then(|parent| parent.trim().parse().ok()).unwrap_or(0);
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
        while !processes().any(begun) {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(end(&mine, Duration::from_secs(10)).await, []);
        assert!(ended.await.unwrap().is_err());
        assert!(!left.is_finished());
        left.abort();
    }
}
