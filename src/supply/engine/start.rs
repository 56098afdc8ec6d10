//! Starting an installed engine: through systemd where it is process 1, otherwise by running `dockerd` in a session of its
//! own, so that it outlives vadev. What a killed engine leaves behind is put aside first.

use super::error::EngineError;
use super::privilege::{Privilege, find_program, search_path};
use crate::report::Step;
use crate::supply::docker;
use crate::supply::pulse::Pulse;
use bollard::Docker;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// After a crash dockerd first stops what was running, up to ten seconds a container, several at a time; and a disk that was
/// just attached can take a minute until dockerd and containerd are read from it.
const DEADLINE: Duration = Duration::from_mins(4);
/// How dockerd ends when its containerd does not answer within the fifteen seconds that it allows.
const SLOW_CONTAINERD: &str = "timeout waiting for containerd to start";
/// Marks the lines that say nothing but that a connection is tried again.
const CHATTER: &str = "module=grpc";
/// How often a connection is tried.
const POLL: Duration = Duration::from_millis(100);
/// How many of the log's last lines an error shows.
const TAIL: usize = 15;

/// The engine's own pid files, and the program each must belong to.
const PID_FILES: [(&str, &str); 3] = [
    ("/var/run/docker.pid", "dockerd"),
    ("/var/run/docker/containerd/containerd.pid", "containerd"),
    // The name before Docker 20.10.
    ("/var/run/docker/containerd/docker-containerd.pid", "containerd"),
];

/// Whether systemd is process 1 here (the test that `sd_booted(3)` makes).
pub fn under_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The process id of the `dockerd` that runs on this machine.
pub fn running() -> Option<u32> {
    let (file, program) = PID_FILES[0];
    owner(Path::new(file), program)
}

/// Starts the engine and waits until it answers. `log` is where a `dockerd` of our own writes.
pub async fn start(privilege: &Privilege, log: &Path, step: &Step) -> Result<Docker, EngineError> {
    if running().is_some() {
        step.progress("dockerd runs, but does not answer yet");
        return answer(None, log, step).await;
    }
    if under_systemd() {
        step.progress("systemctl enable --now docker");
        let command = privilege
            .command("systemctl")
            .args(["enable", "--now", "docker"])
            .deadline(DEADLINE);
        let started = command.run_in(step).await;
        started.map_err(|source| EngineError::Tool {
            action: "starting Docker",
            source,
        })?;
        return answer(None, log, step).await;
    }
    let begun = Instant::now();
    loop {
        clear_stale(privilege).await?;
        step.progress("starting dockerd");
        let child = spawn(privilege, log)?;
        match answer(Some(child), log, step).await {
            // By now the disk has been read: the next containerd is faster.
            Err(error) if gave_up_on_containerd(&error) && begun.elapsed() < DEADLINE => {
                step.progress("containerd was slow; starting dockerd again");
            }
            other => return other,
        }
    }
}

fn gave_up_on_containerd(error: &EngineError) -> bool {
    matches!(error, EngineError::NotStarted { tail, .. } if tail.iter().any(|line| line.contains(SLOW_CONTAINERD)))
}

/// dockerd refuses to start, and waits in vain for its containerd, when a pid file names a live process, whoever that is: after
/// a kill or a reboot the number may have gone to another program.
async fn clear_stale(privilege: &Privilege) -> Result<(), EngineError> {
    for (file, program) in PID_FILES {
        let path = Path::new(file);
        if path.exists() && owner(path, program).is_none() {
            let command = privilege
                .command("rm")
                .arg("-f")
                .arg(path)
                .deadline(Duration::from_secs(10));
            let removed = command.output().await;
            removed.map_err(|source| EngineError::Tool {
                action: "removing a stale pid file",
                source,
            })?;
        }
    }
    Ok(())
}

/// The process that a pid file names, if it is alive and really runs that program.
fn owner(file: &Path, program: &str) -> Option<u32> {
    let pid: u32 = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == program && !is_zombie(pid)).then_some(pid)
}

fn is_zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('Z'))
}

fn spawn(privilege: &Privilege, log: &Path) -> Result<Child, EngineError> {
    let file = |action, path: &Path| {
        let path = path.to_owned();
        move |source| EngineError::File { action, path, source }
    };
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder).map_err(file("create", folder))?;
    }
    if log.exists() {
        let older = log.with_extension("log.old");
        std::fs::rename(log, &older).map_err(file("rename", log))?;
    }
    let output = std::fs::File::create(log).map_err(file("write", log))?;
    let errors = output.try_clone().map_err(file("write", log))?;
    let mut words: Vec<PathBuf> = Vec::new();
    if let Privilege::Sudo(sudo) = privilege {
        words.extend([sudo.clone(), "-n".into(), "--".into()]);
    }
    // A session of its own: neither Ctrl+C nor the terminal's end reaches it.
    words.extend(find_program("setsid"));
    words.push(find_program("dockerd").unwrap_or_else(|| "dockerd".into()));
    let (program, args) = words.split_first().ok_or(EngineError::NotInstallable)?;
    raise_file_limit();
    std::process::Command::new(program)
        .args(args)
        .current_dir("/")
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(file("run", program))
}

/// Containers inherit the engine's limit of open files, and 1024, a usual soft limit, is too few for a node.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised the engine runs with what there is.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

async fn answer(mut child: Option<Child>, log: &Path, step: &Step) -> Result<Docker, EngineError> {
    let begun = Instant::now();
    let pulse = Pulse::new(step);
    let wait = async {
        loop {
            let reason = match docker::connect().await {
                Ok(docker) => return Ok(docker),
                Err(error) => error.to_string(),
            };
            if reason.contains("ermission denied") {
                return Err(EngineError::Permission {
                    endpoint: docker::DEFAULT_SOCKET.to_owned(),
                });
            }
            // Ours may lose against one that was started at the same moment: then that one is waited for.
            if let Some(Ok(Some(status))) = child.as_mut().map(Child::try_wait)
                && running().is_none()
            {
                return Err(not_started(format!("ended with {status}"), log, false));
            }
            if begun.elapsed() > DEADLINE {
                let what = format!("did not answer within {} s: {reason}", DEADLINE.as_secs());
                return Err(not_started(what, log, true));
            }
            if let Some(line) = tail(log, 1).first() {
                pulse.tell(line);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    pulse.during(wait).await
}

fn not_started(what: String, log: &Path, late: bool) -> EngineError {
    EngineError::NotStarted {
        what,
        log: log.to_owned(),
        tail: tail(log, TAIL),
        late,
    }
}

fn tail(log: &Path, lines: usize) -> Vec<String> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().filter(|line| !line.contains(CHATTER)).collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_pid_file_counts_only_for_its_own_program() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.pid");
        assert_eq!(owner(&file, "sleep"), None, "no file");
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(&file, child.id().to_string()).unwrap();
        // The name is there once the program has been executed, a moment after the fork.
        let late = Instant::now() + Duration::from_secs(10);
        while owner(&file, "sleep") != Some(child.id()) {
            assert!(Instant::now() < late, "the process is not found");
            std::thread::yield_now();
        }
        assert_eq!(
            owner(&file, "dockerd"),
            None,
            "the number went to another program"
        );
        child.kill().unwrap();
        assert!(!is_zombie(std::process::id()));
        let late = Instant::now() + Duration::from_secs(10);
        while owner(&file, "sleep").is_some() {
            assert!(Instant::now() < late, "a zombie counts as gone");
            std::thread::yield_now();
        }
        child.wait().unwrap();
        std::fs::write(&file, "nonsense").unwrap();
        assert_eq!(owner(&file, "sleep"), None);
    }

    #[test]
    fn a_slow_containerd_is_worth_another_try() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("dockerd.log");
        let ended = || not_started("ended with exit status: 1".to_owned(), &log, false);
        std::fs::write(
            &log,
            "failed to start containerd: timeout waiting for containerd to start\n",
        )
        .unwrap();
        assert!(gave_up_on_containerd(&ended()));
        std::fs::write(&log, "unable to configure the Docker daemon\n").unwrap();
        assert!(!gave_up_on_containerd(&ended()));
    }

    #[test]
    fn shows_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("dockerd.log");
        assert!(tail(&log, 3).is_empty());
        std::fs::write(&log, "a\nb\nc\nd\n").unwrap();
        assert_eq!(tail(&log, 3), ["b", "c", "d"]);
        std::fs::write(&log, "a\nx module=grpc\nb\n").unwrap();
        assert_eq!(tail(&log, 2), ["a", "b"], "what says nothing is left out");
    }
}
