//! Commands in a node's container, through the Engine API: no docker command line, no shell unless asked for.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::ImageError;

/// How long a command without input may take.
const QUICK: Duration = Duration::from_secs(30);
/// How long an import may take without an end.
const LONG: Duration = Duration::from_mins(15);

/// Runs a command in a node and returns what it prints on standard output.
pub async fn node_output(docker: &Docker, node: &str, command: &[&str]) -> Result<Vec<u8>, ImageError> {
    timeout(QUICK, run(docker, node, command))
        .await
        .unwrap_or_else(|_| Err(late(node, &command.join(" "), QUICK)))
}

/// Runs a command in a node with the received chunks as its standard input. When the command ends early the rest is
/// not waited for: writing to it would block for ever.
pub(super) async fn node_pipe(
    docker: &Docker,
    node: &str,
    command: &[&str],
    input: Input,
) -> Result<Vec<u8>, ImageError> {
    Running::start(docker, node, command, true)
        .await?
        .end(b"", input)
        .await
}

/// What a command reads.
pub(super) type Input = mpsc::Receiver<std::io::Result<Bytes>>;

async fn run(docker: &Docker, node: &str, command: &[&str]) -> Result<Vec<u8>, ImageError> {
    Running::start(docker, node, command, false).await?.read().await
}

fn late(node: &str, command: &str, limit: Duration) -> ImageError {
    ImageError::Node {
        node: node.to_owned(),
        command: command.to_owned(),
        problem: format!("it did not end within {} s", limit.as_secs()),
        output: Vec::new(),
    }
}

/// A command that runs in a node.
pub(super) struct Running {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    stdin: Pin<Box<dyn AsyncWrite + Send>>,
    told: Told,
}

/// Which command it is, and what it has printed.
struct Told {
    docker: Docker,
    node: String,
    command: String,
    id: String,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Running {
    /// Starts it.
    pub(super) async fn start(
        docker: &Docker,
        node: &str,
        command: &[&str],
        reads: bool,
    ) -> Result<Self, ImageError> {
        let refused = |source| ImageError::Docker {
            action: "run a command in",
            subject: node.to_owned(),
            source: Box::new(source),
        };
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdin: Some(reads),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = docker.create_exec(node, options).await.map_err(refused)?;
        let start = StartExecOptions {
            output_capacity: Some(1 << 16),
            ..StartExecOptions::default()
        };
        let started = docker.start_exec(&exec.id, Some(start)).await.map_err(refused)?;
        let told = Told {
            docker: docker.clone(),
            node: node.to_owned(),
            command: command.join(" "),
            id: exec.id,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        match started {
            StartExecResults::Attached { output, input } => Ok(Self {
                output,
                stdin: input,
                told,
            }),
            StartExecResults::Detached => {
                Err(told.failed("Docker did not attach to it".to_owned(), Vec::new()))
            }
        }
    }

    /// What it prints on standard output before it prints `mark`. It is an error if it ends before.
    pub(super) async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, ImageError> {
        let begun = Instant::now();
        let Self { output, told, .. } = self;
        loop {
            if let Some(at) = told.stdout.windows(mark.len()).position(|bytes| bytes == mark) {
                let mut before: Vec<u8> = told.stdout.drain(..at + mark.len()).collect();
                before.truncate(at);
                return Ok(before);
            }
            let left = QUICK.saturating_sub(begun.elapsed());
            match timeout(left, output.next()).await {
                Ok(Some(chunk)) => told.take(chunk)?,
                Ok(None) => return Err(told.failure(told.code().await?)),
                Err(_) => return Err(late(&told.node, &told.command, QUICK)),
            }
        }
    }

    /// Everything that it prints, to its end.
    async fn read(self) -> Result<Vec<u8>, ImageError> {
        let Self {
            mut output,
            mut told,
            stdin: _stdin,
        } = self;
        while let Some(chunk) = output.next().await {
            told.take(chunk)?;
        }
        told.outcome().await
    }

    /// Gives it its input, first `before`, and waits for its end.
    pub(super) async fn end(self, before: &[u8], input: Input) -> Result<Vec<u8>, ImageError> {
        let (node, command) = (self.told.node.clone(), self.told.command.clone());
        timeout(LONG, self.feed(before, input))
            .await
            .unwrap_or_else(|_| Err(late(&node, &command, LONG)))
    }

    async fn feed(self, before: &[u8], mut input: Input) -> Result<Vec<u8>, ImageError> {
        let Self {
            mut output,
            mut stdin,
            mut told,
        } = self;
        let write = async move {
            stdin.write_all(before).await?;
            while let Some(chunk) = input.recv().await {
                // A broken source must not look like the end of the input: dropping the connection kills the import.
                stdin.write_all(&chunk?).await?;
            }
            stdin.shutdown().await
        };
        let broken = {
            let read = async {
                while let Some(chunk) = output.next().await {
                    told.take(chunk)?;
                }
                Ok::<_, ImageError>(())
            };
            tokio::pin!(read);
            tokio::select! {
                biased;
                ended = &mut read => { ended?; None }
                written = write => match written {
                    Ok(()) => { read.await?; None }
                    Err(error) => Some(error),
                },
            }
        };
        match broken {
            Some(error) => Err(told.failed(format!("its input broke: {error}"), Vec::new())),
            None => told.outcome().await,
        }
    }
}

impl Told {
    fn take(&mut self, chunk: Result<LogOutput, bollard::errors::Error>) -> Result<(), ImageError> {
        match chunk.map_err(|source| self.refused(source))? {
            LogOutput::StdErr { message } => self.stderr.extend_from_slice(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => {
                self.stdout.extend_from_slice(&message);
            }
            LogOutput::StdIn { .. } => {}
        }
        Ok(())
    }

    async fn outcome(self) -> Result<Vec<u8>, ImageError> {
        match self.code().await? {
            Some(0) => Ok(self.stdout),
            code => Err(self.failure(code)),
        }
    }

    async fn code(&self) -> Result<Option<i64>, ImageError> {
        let inspected = self.docker.inspect_exec(&self.id).await;
        Ok(inspected.map_err(|source| self.refused(source))?.exit_code)
    }

    fn refused(&self, source: bollard::errors::Error) -> ImageError {
        ImageError::Docker {
            action: "run a command in",
            subject: self.node.clone(),
            source: Box::new(source),
        }
    }

    fn failed(&self, problem: String, output: Vec<String>) -> ImageError {
        ImageError::Node {
            node: self.node.clone(),
            command: self.command.clone(),
            problem,
            output,
        }
    }

    fn failure(&self, code: Option<i64>) -> ImageError {
        let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
        let mut text = String::from_utf8_lossy(&self.stderr).into_owned();
        text.push_str(&String::from_utf8_lossy(&self.stdout));
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..]
            .iter()
            .map(|line| (*line).to_owned());
        self.failed(code, last.collect())
    }
}
