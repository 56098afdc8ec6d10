//! Commands in a node's container, through the Engine API: no docker command line, no shell unless asked for.

use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bytes::Bytes;
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::ImageError;

/// How long a command without input may take.
const QUICK: Duration = Duration::from_secs(30);
/// How long an import may take without an end.
const LONG: Duration = Duration::from_mins(15);

/// Runs a command in a node and returns what it prints on standard output.
pub async fn node_output(docker: &Docker, node: &str, command: &[&str]) -> Result<Vec<u8>, ImageError> {
    let run = run(docker, node, command, None);
    timeout(QUICK, run)
        .await
        .unwrap_or_else(|_| Err(late(node, command, QUICK)))
}

/// Runs a command in a node with the received chunks as its standard input. When the command ends early the rest is
/// not waited for: writing to it would block for ever.
pub(super) async fn node_pipe(
    docker: &Docker,
    node: &str,
    command: &[&str],
    input: mpsc::Receiver<std::io::Result<Bytes>>,
) -> Result<Vec<u8>, ImageError> {
    let run = run(docker, node, command, Some(input));
    timeout(LONG, run)
        .await
        .unwrap_or_else(|_| Err(late(node, command, LONG)))
}

fn late(node: &str, command: &[&str], limit: Duration) -> ImageError {
    failed(
        node,
        command,
        format!("it did not end within {} s", limit.as_secs()),
        Vec::new(),
    )
}

fn failed(node: &str, command: &[&str], problem: String, output: Vec<String>) -> ImageError {
    ImageError::Node {
        node: node.to_owned(),
        command: command.join(" "),
        problem,
        output,
    }
}

async fn run(
    docker: &Docker,
    node: &str,
    command: &[&str],
    input: Option<mpsc::Receiver<std::io::Result<Bytes>>>,
) -> Result<Vec<u8>, ImageError> {
    let refused = |source| ImageError::Docker {
        action: "run a command in",
        subject: node.to_owned(),
        source: Box::new(source),
    };
    let options = CreateExecOptions {
        cmd: Some(command.to_vec()),
        attach_stdin: Some(input.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(node, options).await.map_err(refused)?;
    let start = StartExecOptions {
        output_capacity: Some(1 << 16),
        ..StartExecOptions::default()
    };
    let StartExecResults::Attached {
        mut output,
        input: mut stdin,
    } = docker.start_exec(&exec.id, Some(start)).await.map_err(refused)?
    else {
        return Err(failed(
            node,
            command,
            "Docker did not attach to it".to_owned(),
            Vec::new(),
        ));
    };
    let write = async move {
        let Some(mut chunks) = input else { return Ok(()) };
        while let Some(chunk) = chunks.recv().await {
            // A broken source must not look like the end of the input: dropping the connection kills the import.
            stdin.write_all(&chunk?).await?;
        }
        stdin.shutdown().await
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let read = async {
        while let Some(chunk) = output.next().await {
            match chunk? {
                LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    stdout.extend_from_slice(&message);
                }
                LogOutput::StdIn { .. } => {}
            }
        }
        Ok(())
    };
    tokio::pin!(read);
    let ended: Result<(), bollard::errors::Error> = tokio::select! {
        biased;
        ended = &mut read => ended,
        written = write => match written {
            Ok(()) => read.await,
            Err(error) => return Err(failed(node, command, format!("its input broke: {error}"), Vec::new())),
        },
    };
    ended.map_err(refused)?;
    let code = docker.inspect_exec(&exec.id).await.map_err(refused)?.exit_code;
    if code == Some(0) {
        return Ok(stdout);
    }
    let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
    stderr.extend_from_slice(&stdout);
    let text = String::from_utf8_lossy(&stderr);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(10)..]
        .iter()
        .map(|line| (*line).to_owned());
    Err(failed(node, command, code, last.collect()))
}
