//! Saved files become running services: the sample workspace, edited while `vadev dev` watches it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vadev::k8s::{self, Cluster, Tunnel};

use crate::harness::{CLUSTER, Platform, block_on, eventually, text};
use crate::sample::edit;

pub const APPS: &str = "voiceassistant-prod";
pub const PYTHON: &str = "agent-engine";
pub const GO: &str = "conversation-service";
pub const GREETING: &str = "services/agent-engine/agent_engine/greeting.py";
pub const MAIN: &str = "services/conversation-service/main.go";

/// A `vadev dev` over the sample services, with the events that it told.
pub struct Session<'p> {
    platform: &'p Platform,
    child: Child,
    events: Arc<Mutex<Vec<Value>>>,
}

impl<'p> Session<'p> {
    /// With two replicas of the Python service.
    pub fn with_two_replicas(platform: &'p Platform) -> Self {
        edit(
            &platform.workspace.join("vadev.yaml"),
            "  agent-engine:\n",
            "  agent-engine:\n    replicas: 2\n",
        );
        let session = Self::start(platform);
        session.sees("two replicas", |session| session.infos(PYTHON).len() == 2);
        session
    }

    pub fn start(platform: &'p Platform) -> Self {
        let args = [
            "dev",
            PYTHON,
            GO,
            "--yes",
            "--no-logs",
            "--explain",
            "--progress",
            "json",
            "--timeout",
            "420s",
        ];
        let mut child = platform
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vadev starts");
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let stderr = BufReader::new(child.stderr.take().expect("stderr"));
        let told = Arc::clone(&events);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                told.lock().expect("events").push(event);
            }
        });
        let session = Self {
            platform,
            child,
            events,
        };
        session.sees("both services attached", |session| {
            session.told(0, "attached", PYTHON) && session.told(0, "attached", GO)
        });
        session.settles();
        session
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.platform.workspace.join(name)
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(path, content).expect("write");
    }

    pub fn greet(&self, greeting: &str) {
        self.write(GREETING, &format!("GREETING = \"{greeting}\"\n"));
    }

    pub fn count(&self) -> usize {
        self.events.lock().expect("events").len()
    }

    /// Whether a reload event of this phase, after the first `since` events, holds `word`.
    pub fn told(&self, since: usize, phase: &str, word: &str) -> bool {
        self.all(since, phase, word) > 0
    }

    /// How many do.
    pub fn all(&self, since: usize, phase: &str, word: &str) -> usize {
        let events = self.events.lock().expect("events");
        let newer = events.iter().skip(since);
        let of_it = newer.filter(|event| {
            event["event"] == "reload" && event["phase"] == phase && event.to_string().contains(word)
        });
        of_it.count()
    }

    pub fn sees(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || done(self).then_some(()));
        }));
        if seen.is_err() {
            let events = self.events.lock().expect("events");
            let last: Vec<String> = events.iter().rev().take(40).map(ToString::to_string).collect();
            panic!("{what}; the newest events first:\n{}", last.join("\n"));
        }
    }

    /// Every replica of both services has what the source has, by hash.
    pub fn settles(&self) {
        self.sees("all replicas in step with their sources", |session| {
            let output = session
                .platform
                .run(&["reload", "status", PYTHON, GO, "-o", "json"]);
            let Ok(Value::Array(found)) = serde_json::from_slice(&output.stdout) else {
                return false;
            };
            let same = |one: &Value| one["inStep"] == true && one["sourceHash"] == one["replicaHash"];
            found.len() >= 2 && found.iter().all(same)
        });
    }

    /// Every replica of a service greets so.
    pub fn hears(&self, service: &str, greeting: &str) {
        self.sees(&format!("{service} saying {greeting}"), |session| {
            let answers = session.infos(service);
            !answers.is_empty() && answers.iter().all(|info| info["greeting"] == *greeting)
        });
    }

    /// What each replica says of itself.
    pub fn infos(&self, service: &str) -> Vec<Value> {
        block_on(async {
            let cluster = self.platform.connect().await;
            let mut answers = Vec::new();
            for pod in pods(&cluster, service).await {
                answers.push(info(&cluster, &pod).await.unwrap_or_default());
            }
            answers
        })
    }

    /// Ctrl+C.
    pub fn ends(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().expect("kill");
        eventually("the session's end", || self.child.try_wait().expect("wait"))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn pods(cluster: &Cluster, service: &str) -> Vec<String> {
    let found = k8s::pods(cluster, APPS, &[service.to_owned()])
        .await
        .expect("pods");
    found.into_iter().map(|pod| pod.name).collect()
}

/// `/info` of the service in one pod.
async fn info(cluster: &Cluster, pod: &str) -> Option<Value> {
    let ask = async {
        let mut tunnel = Tunnel::open(cluster, APPS, pod, 8080).await.ok()?;
        let request = b"GET /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        tunnel.write_all(request).await.ok()?;
        let mut answer = Vec::new();
        tunnel.read_to_end(&mut answer).await.ok()?;
        let answer = text(&answer);
        serde_json::from_str(&answer[answer.find('{')?..=answer.rfind('}')?]).ok()
    };
    tokio::time::timeout(Duration::from_secs(10), ask).await.ok()?
}

#[test]
#[ignore = "needs a cluster"]
fn saves_of_every_kind_are_served() {
    let platform = Platform::running();
    let session = Session::start(&platform);
    // Python: edited, added, renamed, deleted.
    session.greet("edited");
    session.hears(PYTHON, "edited");
    assert!(session.told(0, "explained", "sync agent_engine"));
    session.write(
        "services/agent-engine/agent_engine/words.py",
        "WORD = \"added\"\n",
    );
    session.write(GREETING, "from .words import WORD as GREETING\n");
    session.hears(PYTHON, "added");
    let folder = session.path("services/agent-engine/agent_engine");
    fs::rename(folder.join("words.py"), folder.join("phrases.py")).expect("rename");
    session.write(GREETING, "from .phrases import WORD as GREETING\n");
    session.hears(PYTHON, "added");
    session.greet("without");
    fs::remove_file(folder.join("phrases.py")).expect("remove");
    session.hears(PYTHON, "without");
    session.settles();
    // Go: built on this machine, the binary synced.
    edit(
        &session.path(MAIN),
        "greeting = \"hello\"",
        "greeting = \"from go\"",
    );
    session.hears(GO, "from go");
    // Ten thousand files at once, and away again.
    for number in 0..10_000 {
        session.write(
            &format!(
                "services/agent-engine/agent_engine/data/d{}/f{number}.txt",
                number % 100
            ),
            &number.to_string(),
        );
    }
    session.settles();
    fs::remove_dir_all(folder.join("data")).expect("remove");
    session.settles();
    // Two hundred saves in ten seconds: the last one wins, everywhere.
    for number in 0..200 {
        session.greet(&format!("save {number}"));
        std::thread::sleep(Duration::from_millis(50));
    }
    session.hears(PYTHON, "save 199");
    session.settles();
    // Each save that was served is in the ledger.
    let stats = platform.json(&["reload", "stats", "-o", "json"]);
    let of = |service: &str| {
        stats
            .as_array()
            .expect("rows")
            .iter()
            .any(|row| row["service"] == service && row["way"] == "sync")
    };
    assert!(of(PYTHON) && of(GO), "{stats:#}");
    assert!(session.ends().success(), "Ctrl+C is how a session ends");
    // A session's end takes nothing away; `up` takes the development parts out, once.
    let report = platform.up();
    assert!(
        report["plan"].to_string().contains("development ended"),
        "{:#}",
        report["plan"]
    );
    let again = platform.up();
    assert_eq!(again["changed"], false, "{:#}", again["plan"]);
}

#[test]
#[ignore = "needs a cluster"]
fn trouble_is_told_and_the_next_save_mends_it() {
    let platform = Platform::running();
    let session = Session::start(&platform);
    session.greet("before");
    session.hears(PYTHON, "before");
    // A build that fails: the old version serves.
    let good = fs::read_to_string(session.path(MAIN)).expect("main.go");
    let since = session.count();
    session.write(MAIN, &format!("{good}\nthis is no Go\n"));
    session.sees("the failed build", |session| {
        session.told(since, "failed", "no Go") || session.told(since, "failed", "syntax error")
    });
    session.hears(GO, "hello");
    session.write(
        MAIN,
        &good.replace("greeting = \"hello\"", "greeting = \"mended\""),
    );
    session.hears(GO, "mended");
    // A service that does not start: told with its last lines, and mended by the next save.
    let since = session.count();
    session.write(GREETING, "raise SystemExit(\"no greeting today\")\n");
    session.sees("the crash", |session| {
        session.told(since, "crashed", "no greeting today")
    });
    session.greet("again");
    session.hears(PYTHON, "again");
    // A pod that goes in the middle of saves: its successor has them all.
    block_on(async {
        let cluster = platform.connect().await;
        let api: Api<Pod> = Api::namespaced(cluster.client(), APPS);
        for pod in pods(&cluster, PYTHON).await {
            session.greet("while it goes");
            api.delete(&pod, &DeleteParams::default()).await.expect("deleted");
        }
    });
    session.greet("to the new one");
    session.hears(PYTHON, "to the new one");
    session.settles();
    // The node restarts: everything is connected again, and in step.
    let node = format!("{CLUSTER}-control-plane");
    let done = Command::new("docker")
        .args(["restart", &node])
        .output()
        .expect("docker");
    assert!(done.status.success(), "{}", text(&done.stderr));
    session.greet("after the restart");
    session.hears(PYTHON, "after the restart");
    session.settles();
    assert!(session.ends().success());
    platform.succeed(&["dev", "--stop"]);
    let report = platform.up();
    assert_eq!(report["verify"]["ok"], true, "{:#}", report["verify"]);
}

#[test]
#[ignore = "needs a cluster"]
fn the_service_keeps_its_user_and_cannot_write_its_files() {
    let platform = Platform::running();
    let session = Session::start(&platform);
    let probe = "import os\ntry:\n    open(__file__, 'a').close()\n    can = 'writes'\nexcept OSError:\n    can = 'reads'\n\
                 GREETING = f'{os.getuid()} {can}'\n";
    session.write(GREETING, probe);
    session.hears(PYTHON, "65532 reads");
    session.settles();
    drop(session);
}
