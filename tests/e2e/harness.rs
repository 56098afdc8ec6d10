//! The shared cluster, and vadev as a user calls it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use vadev::k8s::{Cluster, Target};
use vadev::report::Reporter;
use vadev::supply::{ImageSource, Options, Supply};

/// kind's name of the shared cluster.
pub const CLUSTER: &str = "vadev-e2e";
/// The ingress port of the shared cluster: not the default one, which a developer's own platform may hold.
pub const HTTP_PORT: u16 = 28080;
/// Its https port.
pub const HTTPS_PORT: u16 = 28443;
/// A wait's deadline: generous, because the machine is noisy.
pub const PATIENCE: Duration = Duration::from_mins(7);

/// Stands for the kubeconfig of a user who works on another cluster.
pub const USER_KUBECONFIG: &str = "user.kubeconfig";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The right to use the shared cluster, until dropped.
pub struct Platform {
    _turn: MutexGuard<'static, ()>,
    /// The workspace's folder.
    pub workspace: PathBuf,
}

impl Platform {
    /// Waits for its turn; makes no cluster.
    pub fn turn() -> Self {
        let turn = ONE_AT_A_TIME
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let workspace = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e-workspace");
        crate::sample::lay_out(&workspace, "e2e");
        let user = workspace.join(USER_KUBECONFIG);
        let kept = std::fs::read_to_string(&user).unwrap_or_default();
        if !kept.contains("current-context: work") {
            std::fs::write(&user, "apiVersion: v1\nkind: Config\ncurrent-context: work\n")
                .expect("kubeconfig");
        }
        Self {
            _turn: turn,
            workspace,
        }
    }

    /// The shared cluster with the `dev` profile running.
    pub fn running() -> Self {
        let platform = Self::turn();
        platform.up();
        platform
    }

    /// vadev with the arguments, in the workspace.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vadev"));
        command
            .current_dir(&self.workspace)
            .args(args)
            .stdin(Stdio::null())
            .env("KUBECONFIG", self.workspace.join(USER_KUBECONFIG))
            .env("NO_COLOR", "1");
        command
    }

    /// Runs vadev and returns what it printed, whatever came of it.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("vadev starts")
    }

    /// Runs vadev, which must succeed.
    pub fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "vadev {} ended with {}\n{out}\n{err}",
            args.join(" "),
            output.status
        );
        out
    }

    /// Runs vadev with `-o json`, which must fail with this exit code while the test still has patience, whatever `--timeout`
    /// says; what it told of the failure.
    pub fn failure(&self, args: &[&str], code: i32) -> Value {
        let mut command = self.command(args);
        command.args(["-o", "json", "--quiet"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("vadev starts");
        let id = child.id().to_string();
        let (sender, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(PATIENCE) else {
            let _killed = Command::new("kill").args(["-KILL", &id]).status();
            panic!("vadev {} waits on, though nothing can come of it", args.join(" "));
        };
        let output = output.expect("output");
        let said = text(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "vadev {}: {said}",
            args.join(" ")
        );
        let line = said.lines().find(|line| line.starts_with("{\"error\""));
        let line = line.unwrap_or_else(|| panic!("no failure as JSON: {said}"));
        serde_json::from_str::<Value>(line).expect("JSON")["error"].clone()
    }

    /// Brings everything back to what the sample is, whatever a test did to workspace and cluster.
    pub fn restore(&self) -> Value {
        crate::sample::lay_out(&self.workspace, "e2e");
        let report = self.up();
        assert_eq!(report["verify"]["ok"], true, "{report:#}");
        report
    }

    /// Adds lines to the workspace's file.
    pub fn add_to_workspace(&self, lines: &str) {
        let file = self.workspace.join("vadev.yaml");
        let text = std::fs::read_to_string(&file).expect("vadev.yaml");
        std::fs::write(&file, text + lines).expect("vadev.yaml");
    }

    /// As [`Self::succeed`], with the JSON it printed.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.succeed(args);
        serde_json::from_str(&out)
            .unwrap_or_else(|error| panic!("vadev {} printed no JSON: {error}\n{out}", args.join(" ")))
    }

    /// `vadev up` of the shared platform; its report.
    pub fn up(&self) -> Value {
        self.json(&UP)
    }

    /// What `up` would do, with these flags.
    pub fn dry_run(&self, flags: &[&str]) -> Value {
        self.json(&[&UP[..], &["--dry-run"], flags].concat())
    }

    /// Starts an `up`, kills it with SIGKILL as soon as a step whose id begins with `prefix` has begun, and says whether
    /// there was such a step.
    pub fn up_killed_in(&self, prefix: &str) -> bool {
        let mut args = UP.to_vec();
        args.extend(["--progress", "json"]);
        let mut child = self
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vadev starts");
        let events = BufReader::new(child.stderr.take().expect("stderr"));
        let mut seen = false;
        for line in events.lines().map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "started" && event["id"].as_str().is_some_and(|id| id.starts_with(prefix)) {
                seen = true;
                break;
            }
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
        seen
    }

    /// A connection of the test's own.
    pub async fn connect(&self) -> Cluster {
        connect(&self.workspace).await
    }
}

/// A connection to the shared cluster.
pub async fn connect(workspace: &Path) -> Cluster {
    let target = Target::new(
        workspace.join(format!(".vadev/{CLUSTER}.kubeconfig")),
        format!("kind-{CLUSTER}"),
    );
    Cluster::connect(&target, PATIENCE)
        .await
        .expect("the cluster answers")
}

/// How the shared platform is brought up.
pub const UP: [&str; 11] = [
    "up",
    "--yes",
    "--http-port",
    "28080",
    "--https-port",
    "28443",
    "--timeout",
    "420s",
    "-o",
    "json",
    "--quiet",
];

/// What docker prints, which must succeed.
pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    assert!(
        output.status.success(),
        "docker {}: {}",
        args.join(" "),
        text(&output.stderr)
    );
    text(&output.stdout).trim().to_owned()
}

/// Builds an image in the container engine.
pub fn build(reference: &str, dockerfile: &str) {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("Dockerfile");
    let built = Command::new("docker")
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "-q", "-t", reference])
        .arg(folder.path())
        .output()
        .expect("docker");
    assert!(built.status.success(), "{}", text(&built.stderr));
}

/// The image of vadev's agent.
pub fn agent() -> String {
    format!("vadev.local/vadev-agent:{}", env!("CARGO_PKG_VERSION"))
}

/// A service of the user's own, as an entry of `extraServices`; `rest` are its further fields. Its image is `REPOSITORY:1`.
pub fn extra_service(name: &str, repository: &str, rest: &str) -> String {
    format!(
        "  - apiVersion: vadev.dev/v1\n    kind: Service\n    name: {name}\n    summary: A service of the tests' own\n    \
         language: go\n    source: {name}\n    image: {{ repository: {repository}, version: '1' }}\n    \
         resources: {{ requests: {{ cpu: 20m, memory: 32Mi }}, limits: {{ cpu: 100m, memory: 64Mi }} }}\n    \
         replicas: 1\n    autoscaling: {{ min: 1, max: 1, cpuPercent: 70 }}\n    {rest}\n"
    )
}

/// Polls until `check` returns a value.
pub fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An async runtime for one test.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(work)
}

/// A program that vadev brings along, built where it is not there yet.
pub fn tool(name: &str) -> PathBuf {
    block_on(async {
        let options = Options {
            source: ImageSource::default(),
            bundle: None,
            consent: Arc::new(|_| true),
            cache: None,
        };
        let supply = Supply::open(options).expect("supply");
        let step = Reporter::silent().step(name, name, None);
        supply.tool(name, &step).await.expect("the tool can be had")
    })
}

/// GET, with the status and body.
pub fn get(url: &str) -> (u16, String) {
    block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .expect("client");
        match client.get(url).send().await {
            Ok(response) => (
                response.status().as_u16(),
                response.text().await.unwrap_or_default(),
            ),
            Err(error) => (0, error.to_string()),
        }
    })
}
