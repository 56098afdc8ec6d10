//! Starting, signalling and reaping processes.

use std::ffi::OsString;
use std::os::unix::fs::fchown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

/// Set for an upgraded agent: the process ID of the service's process, which stays.
pub const ADOPT: &str = "VADEV_AGENT_ADOPT";

/// Starts the command as the leader of a process group of its own, so that signals reach what it starts, too. `user` and
/// group are taken on before that; whoever is not root leaves all privileges behind with it.
pub fn spawn(command: &[OsString], user: Option<(u32, u32)>) -> Result<Pid, String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program);
    child.args(arguments).env_remove(ADOPT).process_group(0);
    // Only root can become somebody else; anybody else is who the service should be.
    if let Some((user, group)) = user.filter(|_| rustix::process::geteuid().is_root()) {
        // As a container's runtime does it: who opens /dev/stdout by name must own what is behind it.
        for outcome in [
            fchown(std::io::stdin(), Some(user), Some(group)),
            fchown(std::io::stdout(), Some(user), Some(group)),
            fchown(std::io::stderr(), Some(user), Some(group)),
        ] {
            // What cannot change its owner is written to through the open descriptor all the same.
            drop(outcome);
        }
        child.uid(user).gid(group);
    }
    let child = child
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", program.to_string_lossy()))?;
    // Not waited for through `child`: the agent reaps every process, as PID 1 has to.
    Ok(Pid::from_child(&child))
}

/// Signals the group. That it is gone already is no error.
pub fn signal(group: Pid, signal: Signal) -> Result<(), String> {
    match rustix::process::kill_process_group(group, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(format!("cannot signal process group {group}: {e}")),
    }
}

/// Reaps one ended process, whoever started it.
pub fn reap() -> Option<(Pid, WaitStatus)> {
    // No children at all is an error to the kernel and nothing to us.
    rustix::process::wait(WaitOptions::NOHANG).ok().flatten()
}

/// Adopts orphans where the agent is not PID 1 (containers that share their process namespace).
pub fn adopt_orphans() {
    // Refused by no kernel that runs containers; without it orphans go to the namespace's PID 1.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// A phrase for people.
pub fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "ended".to_owned(),
    }
}

/// The exit code that a shell would give.
pub fn exit_code(status: WaitStatus) -> u8 {
    let code = status
        .exit_status()
        .or(status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The signals that may be asked for by name.
pub fn by_name(name: &str) -> Option<Signal> {
    Some(match name.trim_start_matches("SIG") {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "TERM" => Signal::TERM,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "WINCH" => Signal::WINCH,
        _ => return None,
    })
}
