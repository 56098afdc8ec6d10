//! An agent over a folder that plays the container: `app` is what the image has, `state` the emptyDir.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::UnixStream;
use vadev::agent::embedded;
use vadev::agent::outgoing::{Change, Content, Write};
use vadev::agent::protocol::Then;
use vadev::agent::remote::{Error, Remote};

/// What the service writes on each start: so a test sees which content it ran with. In one write: a start that is cut short
/// leaves a whole line or none.
pub const SERVICE: &str = "echo \"$(cat $APP/version)\" >> $APP/../starts; exec sleep 1000";

pub struct Pod {
    pub folder: TempDir,
    program: PathBuf,
    script: String,
    extra: Vec<String>,
    agent: Option<Child>,
}

/// The program that vadev carries, with some bytes after it, as a file in `folder`.
pub fn program(folder: &Path, appended: &[u8]) -> PathBuf {
    let program = folder.join("vadev-agent");
    // Written by another process: while this one forks elsewhere, a file open for writing could not be executed.
    let mut copy = Command::new("sh");
    copy.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&program)
        .stdin(Stdio::piped());
    let mut copy = copy.spawn().unwrap();
    let mut stdin = copy.stdin.take().unwrap();
    stdin
        .write_all(embedded::BINARY)
        .and_then(|()| stdin.write_all(appended))
        .unwrap();
    drop(stdin);
    assert!(copy.wait().unwrap().success());
    program
}

impl Pod {
    /// A container with `version` 1, whose service is the shell `script`.
    pub fn new(script: &str) -> Self {
        Self::with(script, &[])
    }

    pub fn with(script: &str, extra: &[&str]) -> Self {
        Self::of(script, extra, &[])
    }

    /// A container whose agent is another one than vadev carries: some bytes follow the program.
    pub fn outdated(script: &str) -> Self {
        Self::of(script, &[], b"an older build")
    }

    fn of(script: &str, extra: &[&str], appended: &[u8]) -> Self {
        let folder = TempDir::new().unwrap();
        let program = program(folder.path(), appended);
        fs::create_dir(folder.path().join("app")).unwrap();
        fs::write(folder.path().join("app/version"), "1").unwrap();
        fs::write(folder.path().join("token"), "secret\n").unwrap();
        let extra = extra.iter().map(ToString::to_string).collect();
        let mut pod = Self {
            folder,
            program,
            script: script.into(),
            extra,
            agent: None,
        };
        pod.start();
        pod
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path in the container as changes name it.
    pub fn app(&self, name: &str) -> String {
        self.path("app").join(name).to_str().unwrap().to_owned()
    }

    pub fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .arg("run")
            .arg("--listen")
            .arg(format!("unix:{}", self.path("socket").display()))
            .arg("--token-file")
            .arg(self.path("token"))
            .arg("--state")
            .arg(self.path("state"))
            .arg("--root")
            .arg(self.path("app"))
            .args(&self.extra)
            .args(["--", "sh", "-c", &self.script])
            .env("APP", self.path("app"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.agent = Some(command.spawn().unwrap());
    }

    /// The container's end by SIGKILL: the service goes with its PID 1.
    pub fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", agent.id())).unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
        for group in children.split_whitespace() {
            Command::new("kill")
                .args(["-KILL", "--", &format!("-{group}")])
                .status()
                .unwrap();
        }
        let _ = fs::remove_file(self.path("socket"));
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut agent = self.agent.take().unwrap();
        sigterm(agent.id());
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            if let Some(status) = agent.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the agent did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn agent_pid(&self) -> u32 {
        self.agent.as_ref().unwrap().id()
    }

    pub async fn connect(&self) -> Remote {
        self.try_connect("secret").await.unwrap()
    }

    pub async fn try_connect(&self, token: &str) -> Result<Remote, Error> {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            match UnixStream::connect(self.path("socket")).await {
                Ok(stream) => return Remote::open(stream, token).await,
                Err(e) => assert!(Instant::now() < deadline, "no agent: {e}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether the last start was with this content. A start that was cut short at once may not be among them.
    pub fn ran(&self, version: &str) -> bool {
        self.starts().last().is_some_and(|last| last == version)
    }

    /// The contents that the service was started with.
    pub fn starts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("starts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.kill();
        }
    }
}

/// Sends SIGTERM.
pub fn sigterm(pid: u32) {
    let pid = pid.to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
}

/// Polls until `done` says so.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !done() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn bytes(content: &str) -> Write {
    Write {
        mode: 0o644,
        content: Content::Bytes(content.into()),
    }
}

pub fn change<const N: usize>(writes: [(String, Write); N], then: Then) -> Change {
    Change {
        deletes: vec![],
        writes: BTreeMap::from(writes),
        then,
        compress: false,
    }
}

pub fn restart() -> Then {
    Then::Restart { grace_millis: 2000 }
}

pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
