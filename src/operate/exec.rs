//! A command in a component's container, with this process's streams.

use k8s_openapi::api::core::v1::Pod;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::error::OperateError;
use super::site::{Site, pod_name};
use super::terminal::{self, Raw};
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{ExecTarget, Input, Output, Session, SessionOptions, close, closes_input};

/// Where a command runs.
#[derive(Debug, Clone, Default)]
pub struct ExecOptions {
    /// The container; the component's own by default.
    pub container: Option<String>,
    /// The pod; a ready one by default.
    pub pod: Option<String>,
}

/// Which stream bytes came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Runs a command with this process's standard input; with a terminal where both ends are one. Fails with the command's own
/// exit code where it is not 0.
pub async fn exec(
    site: &Site,
    name: &str,
    command: &[String],
    options: &ExecOptions,
    write: impl Fn(Channel, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let workload = site.workload(name).await?;
    let pod = chosen(site, &workload, options).await?;
    let tty = terminal::is_interactive();
    let container = options.container.as_deref().unwrap_or(workload.container());
    let target = ExecTarget {
        container: Some(container),
        ..workload.target(&pod)
    };
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut session = Session::open(
        &site.cluster,
        &target,
        &words,
        SessionOptions { stdin: true, tty },
    )
    .await?;
    let raw = if tty {
        Some(Raw::enter().map_err(|error| {
            Plain::new(
                Family::Environment,
                format!("can't hand the terminal over: {error}"),
            )
            .with_hint("redirect the output, for instance with | cat")
        })?)
    } else {
        None
    };
    let ended = converse(site, &mut session, tty, write).await;
    drop(raw);
    let ended = ended?;
    match ended.problem {
        None => Ok(()),
        Some(problem) => Err(OperateError::Ended {
            pod: target.pod.to_owned(),
            problem,
            code: ended.code.and_then(|code| u8::try_from(code).ok()),
        }
        .into()),
    }
}

async fn chosen(
    site: &Site,
    workload: &super::site::Workload,
    options: &ExecOptions,
) -> Result<Pod, Failure> {
    let Some(wanted) = &options.pod else {
        return site.running_pod(workload).await;
    };
    let pods = site.pods(workload).await?;
    let known = || pods.iter().map(|pod| pod_name(pod).to_owned()).collect();
    let found = pods.iter().find(|pod| pod_name(pod) == wanted);
    Ok(found
        .cloned()
        .ok_or_else(|| OperateError::unknown(wanted, known()))?)
}

/// Carries bytes both ways until the command ends and has been heard out.
async fn converse(
    site: &Site,
    session: &mut Session,
    tty: bool,
    write: impl Fn(Channel, &[u8]) -> Result<(), Failure>,
) -> Result<crate::k8s::Ended, Failure> {
    if let Some((width, height)) = terminal::size().filter(|_| tty) {
        session.resize(width, height).await;
    }
    let mut sizes = signal(SignalKind::window_change()).ok().filter(|_| tty);
    // Its own task: a command that prints before it reads on is heard meanwhile. Ends with this function.
    let mut typing = JoinSet::new();
    if let Some(stdin) = session.stdin.take() {
        typing.spawn(type_in(site.clone(), stdin, terminal::input()));
    }
    let (mut out, mut err) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let (mut out_open, mut err_open) = (true, session.stderr.is_some());
    while out_open || err_open {
        tokio::select! {
            read = session.stdout.read(&mut out), if out_open => match read {
                Ok(0) | Err(_) => out_open = false,
                Ok(count) => write(Channel::Out, &out[..count])?,
            },
            read = read_some(session.stderr.as_mut(), &mut err), if err_open => match read {
                0 => err_open = false,
                count => write(Channel::Err, &err[..count])?,
            },
            () = size_changed(sizes.as_mut()) => {
                if let Some((width, height)) = terminal::size() {
                    session.resize(width, height).await;
                }
            }
        }
    }
    Ok(session.ended().await)
}

/// Hands the command what is typed, and at its end the end of its input, where the cluster can say that without ending the
/// command too.
async fn type_in(site: Site, mut stdin: Input, mut input: mpsc::Receiver<Vec<u8>>) {
    let mut any = false;
    while let Some(bytes) = input.recv().await {
        any = true;
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            // A command that reads no further is still heard to its end.
            return;
        }
    }
    match site.cluster.version().await {
        Ok(version) if !closes_input(&version) => {
            if any {
                site.reporter.note(format!(
                    "Kubernetes {version} can't tell a command that its input has ended: \
                     one that waits for more needs its own word for that (exit, \\q), or Ctrl+C"
                ));
            }
        }
        // Unanswered, the cluster is taken for one of the many that can.
        _ => close(Some(stdin)).await,
    }
}

/// The next change of the terminal's size; never where there is no terminal.
async fn size_changed(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

async fn read_some(stream: Option<&mut Output>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(stream) => stream.read(buffer).await.unwrap_or(0),
        None => 0,
    }
}
