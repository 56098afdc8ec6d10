//! Running a command in a container.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::client::Cluster;
use super::error::{K8sError, plain};

/// What a command printed.
#[derive(Debug, Clone, Default)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, lossily.
    pub stderr: String,
}

/// Which container.
#[derive(Debug, Clone)]
pub struct ExecTarget<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Pod.
    pub pod: &'a str,
    /// Container; `None` takes the pod's default.
    pub container: Option<&'a str>,
}

/// Runs `command` with `input` on its standard input, and returns what it prints. Fails when it does not exit with 0,
/// with the last lines it printed.
pub async fn exec(
    cluster: &Cluster,
    target: &ExecTarget<'_>,
    command: &[&str],
    input: Option<&[u8]>,
    within: Duration,
) -> Result<ExecOutput, K8sError> {
    let failed = |problem: String, output: &ExecOutput| K8sError::Exec {
        pod: format!("{}/{}", target.namespace, target.pod),
        command: command.join(" "),
        problem,
        output: last_lines(output),
    };
    let nothing = ExecOutput::default();
    match timeout(within, run(cluster, target, command, input)).await {
        Err(_) => Err(failed(
            format!("it did not end within {} s", within.as_secs()),
            &nothing,
        )),
        Ok(Err(error)) => Err(failed(plain(&error), &nothing)),
        Ok(Ok((output, None))) => Ok(output),
        Ok(Ok((output, Some(problem)))) => Err(failed(problem, &output)),
    }
}

async fn run(
    cluster: &Cluster,
    target: &ExecTarget<'_>,
    command: &[&str],
    input: Option<&[u8]>,
) -> Result<(ExecOutput, Option<String>), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), target.namespace);
    let mut params = AttachParams::default()
        .stdin(input.is_some())
        .stdout(true)
        .stderr(true);
    params.container = target.container.map(str::to_owned);
    // The default of 1 KiB turns a large input into thousands of frames.
    params = params.max_stdin_buf_size(1 << 20).max_stdout_buf_size(1 << 20);
    let mut attached = pods.exec(target.pod, command.to_vec(), &params).await?;
    let status = attached.take_status();
    let stdin = attached.stdin();
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command that ends before it has read everything closes the pipe; its status tells the rest.
            if stdin.write_all(input).await.is_ok() {
                let _closed = stdin.shutdown().await;
            }
        }
    };
    let read = async { tokio::join!(all(attached.stdout()), all(attached.stderr())) };
    let ended = async {
        match status {
            Some(status) => status.await,
            None => None,
        }
    };
    // Written side by side with reading, and never waited for once the command has ended.
    let finish = async { tokio::join!(read, ended) };
    tokio::pin!(finish);
    let ((stdout, stderr), status) = tokio::select! {
        biased;
        done = &mut finish => done,
        () = write => finish.await,
    };
    let output = ExecOutput {
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    };
    let problem = match status {
        Some(status) if status.status.as_deref() == Some("Success") => None,
        Some(status) => Some(status.message.unwrap_or_else(|| "no reason given".to_owned())),
        None => Some("the connection ended before the command did".to_owned()),
    };
    Ok((output, problem))
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // A broken stream shows in the status; what came before it is worth keeping.
        let _read = stream.read_to_end(&mut bytes).await;
    }
    bytes
}

fn last_lines(output: &ExecOutput) -> Vec<String> {
    let text = if output.stderr.trim().is_empty() {
        String::from_utf8_lossy(&output.stdout).into_owned()
    } else {
        output.stderr.clone()
    };
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}
