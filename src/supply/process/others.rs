//! Programs that no [`super::Command`] of this vadev runs: those of one that was killed with SIGKILL.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// Ends every process that `is` one of those meant, and waits until it is gone, at most `within`. Those that are still there at
/// the end are returned. Where there is no `/proc` none is found.
pub async fn end_all(within: Duration, is: impl Fn(Pid) -> bool) -> Vec<Pid> {
    let until = Instant::now() + within;
    loop {
        let found: Vec<Pid> = processes().filter(|pid| is(*pid)).collect();
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

/// Every process of the machine that this user may see.
pub fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// The process that a process was started by, or has been handed to since; `None` where it has none or is gone.
pub fn parent(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(parent.trim().parse().ok()?)
}
