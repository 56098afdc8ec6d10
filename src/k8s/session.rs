//! A command in a container with its streams open: for what is too large to hold in memory, and for terminals.

use std::time::Duration;

use futures::{FutureExt, SinkExt, channel::mpsc};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, AttachedProcess, TerminalSize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::Cluster;
use super::error::{K8sError, plain};
use super::exec::ExecTarget;
use super::streams::{Ending, Input, Output};

/// Bytes that each direction may run ahead. The default of 1 KiB turns a large stream into thousands of frames.
const BUFFER: usize = 1 << 20;

/// How long a container may take to answer at all.
const OPENING: Duration = Duration::from_secs(30);

/// How a session is to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionOptions {
    /// Something will be written to the command.
    pub stdin: bool,
    /// The command gets a terminal: its standard error comes with its output.
    pub tty: bool,
}

/// A command that runs. It is cut off when this is dropped.
pub struct Session {
    /// Written to the command; [`close`] tells it the end.
    pub stdin: Option<Input>,
    /// What it prints.
    pub stdout: Output,
    /// What it complains of; with a terminal there is none.
    pub stderr: Option<Output>,
    resize: Option<mpsc::Sender<TerminalSize>>,
    ending: Ending,
    name: String,
    command: String,
    process: AttachedProcess,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("pod", &self.name)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` where it could not be started or the connection was lost.
    pub code: Option<i32>,
    /// What is said about it, where it is not 0.
    pub problem: Option<String>,
}

impl Session {
    /// Starts `command` in a container.
    pub async fn open(
        cluster: &Cluster,
        target: &ExecTarget<'_>,
        command: &[&str],
        options: SessionOptions,
    ) -> Result<Self, K8sError> {
        let name = format!("{}/{}", target.namespace, target.pod);
        let failed = |problem: String| K8sError::Exec {
            pod: name.clone(),
            command: command.join(" "),
            problem,
            output: Vec::new(),
        };
        let pods: Api<Pod> = Api::namespaced(cluster.client(), target.namespace);
        let mut params = AttachParams::default()
            .stdin(options.stdin)
            .stdout(true)
            .stderr(!options.tty)
            .tty(options.tty)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER);
        params.container = target.container.map(str::to_owned);
        let opening = timeout(OPENING, pods.exec(target.pod, command.to_vec(), &params)).await;
        let mut process = opening
            .map_err(|_| failed(format!("no answer within {} s", OPENING.as_secs())))?
            .map_err(|error| failed(plain(&error)))?;
        let stdout = process
            .stdout()
            .ok_or_else(|| failed("it gave no output stream".to_owned()))?;
        let status = match process.take_status() {
            Some(status) => status.boxed(),
            None => futures::future::ready(None).boxed(),
        };
        let ending = status.shared();
        Ok(Self {
            stdin: process.stdin().map(|stream| Input::new(stream, &ending)),
            stdout: Output::new(stdout, &ending),
            stderr: process.stderr().map(|stream| Output::new(stream, &ending)),
            resize: process.terminal_size(),
            ending,
            command: command.join(" "),
            name,
            process,
        })
    }

    /// Tells the command's terminal its size, in characters.
    pub async fn resize(&mut self, width: u16, height: u16) {
        if let Some(resize) = &mut self.resize {
            // A command that has just ended needs no size.
            let _sent = resize.send(TerminalSize { width, height }).await;
        }
    }

    /// The sender of sizes, for a task of its own.
    pub fn resizer(&mut self) -> Option<mpsc::Sender<TerminalSize>> {
        self.resize.take()
    }

    /// Waits for the command's end. What it still prints must be read beside this, or it may never end.
    pub async fn ended(&mut self) -> Ended {
        outcome(self.ending.clone().await)
    }

    /// Gives the command its input and returns what it prints; it has to succeed. The input is not ended, which API servers
    /// before 1.30 can't do without ending everything: the command has to know the end from what it reads.
    pub async fn answer(mut self, input: &[u8]) -> Result<String, K8sError> {
        let mut stdin = self.stdin.take();
        let write = async {
            if let Some(stdin) = &mut stdin {
                // A command that has ended already says why in its end.
                drop(stdin.write_all(input).await);
            }
        };
        let stderr = self.stderr.take();
        let ((), out, said) = tokio::join!(write, drain(Some(&mut self.stdout)), drain(stderr));
        self.succeed(&said).await?;
        Ok(out)
    }

    /// The end of a command that has to succeed; `said` is what it printed on standard error.
    pub async fn succeed(mut self, said: &str) -> Result<(), K8sError> {
        let ended = self.ended().await;
        let result = match ended.problem {
            None => Ok(()),
            Some(problem) => Err(K8sError::Exec {
                pod: self.name.clone(),
                command: short(&self.command),
                problem,
                output: last_lines(said),
            }),
        };
        self.process.abort();
        result
    }
}

/// Scripts are long; their beginning says enough.
fn short(command: &str) -> String {
    let line = command.lines().next().unwrap_or_default();
    if line.len() == command.len() && line.chars().count() <= 100 {
        return line.to_owned();
    }
    line.chars().take(100).chain("…".chars()).collect()
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

/// The first Kubernetes whose API servers can end a command's input alone. Earlier ones end the whole session instead.
const CLOSES_INPUT: (u32, u32) = (1, 30);

/// Whether an API server of this version, for instance `v1.34.4`, can end a command's input and still hear the command out.
pub fn closes_input(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|number| number.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) >= CLOSES_INPUT,
        // Whoever calls its versions something else has become known since.
        _ => true,
    }
}

/// Tells the command that no more input comes. A command that has ended already does not care. Before [`closes_input`] it
/// ends the session with it.
pub async fn close(stdin: Option<Input>) {
    if let Some(mut stdin) = stdin {
        let _closed = stdin.shutdown().await;
    }
}

/// Everything that a stream holds, as text. What came before a broken connection is worth keeping; that it broke shows
/// in the command's end.
pub async fn drain(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _read = stream.read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn outcome(status: Option<Status>) -> Ended {
    let Some(status) = status else {
        return Ended {
            code: None,
            problem: Some("the connection ended before the command did".to_owned()),
        };
    };
    if status.status.as_deref() == Some("Success") {
        return Ended {
            code: Some(0),
            problem: None,
        };
    }
    let causes = status
        .details
        .and_then(|details| details.causes)
        .unwrap_or_default();
    let code = causes
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_deref()?.parse().ok());
    let said = status.message.unwrap_or_else(|| "no reason given".to_owned());
    Ended {
        code,
        problem: Some(code.map_or(said, |code| format!("it ended with exit code {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_exit_code_is_found() {
        let status = serde_json::from_value(json!({
            "status": "Failure", "message": "command terminated with non-zero exit code",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
        }))
        .unwrap();
        assert_eq!(outcome(Some(status)).code, Some(3));
        assert_eq!(outcome(None).code, None);
        let well = serde_json::from_value(json!({"status": "Success"})).unwrap();
        assert_eq!(
            outcome(Some(well)),
            Ended {
                code: Some(0),
                problem: None
            }
        );
    }

    #[test]
    fn input_is_ended_where_that_is_possible() {
        assert!(closes_input("v1.34.4") && closes_input("v1.30.0-eks-1") && closes_input("v2.0.0"));
        assert!(!closes_input("v1.29.14-gke.1") && !closes_input("v1.25.3+k3s1"));
        assert!(closes_input("unknown"));
    }

    #[test]
    fn a_script_is_named_by_its_beginning() {
        assert_eq!(short("ls -l"), "ls -l");
        assert_eq!(short("sh -c set -e\nmore"), "sh -c set -e…");
    }
}
