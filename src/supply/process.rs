//! The one seam through which vadev runs external programs.
//!
//! A program runs in a process group of its own, so that Ctrl+C reaches vadev alone and vadev decides; the whole group
//! is killed when its future is dropped. Output is handed on line by line while it is captured. A failure carries the
//! argument list, the exit code and the last lines; never the environment, where secrets live.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

mod error;
pub mod others;
mod pipes;

pub use error::ProcessError;

use pipes::{Group, Lines, feed};

use super::pulse::Pulse;
use crate::report::Step;

/// How many of the last output lines a [`ProcessError`] keeps.
pub const TAIL_LINES: usize = 30;

/// A program to run: built up, then run by one of [`Command::output`], [`Command::run`], [`Command::run_in`].
#[derive(Debug, Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, Option<OsString>>,
    cwd: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    deadline: Option<Duration>,
}

/// What a program left behind.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    /// Everything written to standard output.
    pub stdout: Vec<u8>,
    /// Everything written to standard error.
    pub stderr: Vec<u8>,
    /// The last [`TAIL_LINES`] lines of both, in the order of their arrival.
    pub tail: Vec<String>,
}

impl Output {
    /// Standard output as text, ends trimmed; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Command {
    /// A command without arguments that inherits the environment.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            stdin: None,
            deadline: None,
        }
    }
    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }
    /// Adds arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }
    /// Sets one environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .insert(key.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }
    /// Takes one inherited environment variable away.
    #[must_use]
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Self {
        self.env.insert(key.as_ref().to_owned(), None);
        self
    }
    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<Path>) -> Self {
        self.cwd = Some(folder.as_ref().to_owned());
        self
    }
    /// Feeds these bytes to standard input, which is empty otherwise.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }
    /// Kills the program when it has not ended after this long.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
    /// The argument list as one would type it, quoted for a POSIX shell, without the environment.
    pub fn argv(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|word| quote(word))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it to its end and returns what it wrote; another exit code than 0 is an error.
    pub async fn output(&self) -> Result<Output, ProcessError> {
        self.run(|_, _| {}).await
    }

    /// Like [`Command::output`], with its newest line shown as the step's progress, and a sign of life while it is silent.
    pub async fn run_in(&self, step: &Step) -> Result<Output, ProcessError> {
        let pulse = Pulse::new(step).about(&self.argv());
        pulse.during(self.run(|_, line| pulse.tell(line))).await
    }

    /// Like [`Command::output`], with each line handed to `on_line` as it comes.
    pub async fn run(&self, on_line: impl FnMut(Channel, &str)) -> Result<Output, ProcessError> {
        self.check(self.finish(on_line).await?)
    }

    /// The output, where the exit code is 0.
    pub fn check(&self, output: Output) -> Result<Output, ProcessError> {
        if output.code == 0 {
            return Ok(output);
        }
        Err(ProcessError::Failed {
            argv: self.argv(),
            code: output.code,
            tail: output.tail,
        })
    }

    /// Like [`Command::run`], but any exit code is a result.
    pub async fn finish(&self, mut on_line: impl FnMut(Channel, &str)) -> Result<Output, ProcessError> {
        let mut output = Output::default();
        let mut tail = VecDeque::with_capacity(TAIL_LINES);
        let collect = self.collect(&mut output, &mut tail, &mut on_line);
        let result = match self.deadline {
            None => collect.await,
            Some(deadline) => match tokio::time::timeout(deadline, collect).await {
                Ok(result) => result,
                Err(_) => {
                    return Err(ProcessError::Deadline {
                        argv: self.argv(),
                        deadline,
                        tail: tail.into(),
                    });
                }
            },
        };
        output.code = result?;
        output.tail = tail.into();
        Ok(output)
    }

    async fn collect(
        &self,
        output: &mut Output,
        tail: &mut VecDeque<String>,
        on_line: &mut impl FnMut(Channel, &str),
    ) -> Result<i32, ProcessError> {
        let lost = |source| ProcessError::Pipe {
            argv: self.argv(),
            source,
        };
        let mut child = self.spawn().map_err(|source| ProcessError::Start {
            argv: self.argv(),
            source,
        })?;
        let group = Group(child.id());
        let feeding = feed(child.stdin.take(), self.stdin.as_deref());
        let mut stdout = Lines::new(child.stdout.take());
        let mut stderr = Lines::new(child.stderr.take());
        let read = async {
            while stdout.open() || stderr.open() {
                let (channel, line) = tokio::select! {
                    line = stdout.next(), if stdout.open() => (Channel::Stdout, line?),
                    line = stderr.next(), if stderr.open() => (Channel::Stderr, line?),
                };
                let Some(bytes) = line else { continue };
                match channel {
                    Channel::Stdout => output.stdout.extend_from_slice(&bytes),
                    Channel::Stderr => output.stderr.extend_from_slice(&bytes),
                }
                let text = String::from_utf8_lossy(&bytes);
                // A carriage return redraws the line: what counts is its last state.
                let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
                if text.is_empty() {
                    continue;
                }
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(text.to_owned());
                on_line(channel, text);
            }
            Ok::<(), std::io::Error>(())
        };
        let (fed, read) = tokio::join!(feeding, read);
        read.map_err(lost)?;
        let status = child.wait().await.map_err(lost)?;
        group.forget();
        // A program that ends well without reading all of its input is no failure of the pipe.
        if !status.success()
            || fed.is_ok()
            || fed
                .as_ref()
                .is_err_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
        {
            return Ok(status.code().unwrap_or(-1));
        }
        fed.map_err(lost).map(|()| 0)
    }

    fn spawn(&self) -> std::io::Result<tokio::process::Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.stdin(if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command.process_group(0);
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        command.spawn()
    }
}

fn quote(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@,+%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Diagnose, Family};

    fn sh(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[tokio::test]
    async fn output_is_captured_by_stream_and_line() {
        let mut lines = Vec::new();
        let output = sh("echo one; echo two >&2; cat")
            .stdin("three")
            .run(|channel, line| lines.push((channel, line.to_owned())))
            .await
            .unwrap();
        assert_eq!(output.text(), "one\nthree");
        assert_eq!(output.stderr, b"two\n");
        assert_eq!(lines.len(), 3);
    }

    #[tokio::test]
    async fn failure_tells_arguments_code_and_tail_but_no_environment() {
        let error = sh("seq 1 100; exit 3")
            .env("TOKEN", "hush")
            .output()
            .await
            .unwrap_err();
        let ProcessError::Failed { argv, code, tail } = &error else {
            panic!("{error}")
        };
        assert_eq!((argv.as_str(), *code), ("sh -c 'seq 1 100; exit 3'", 3));
        assert_eq!(
            (tail.len(), tail.last().map(String::as_str)),
            (TAIL_LINES, Some("100"))
        );
        assert!(!format!("{error:?}").contains("hush"));
    }

    #[tokio::test]
    async fn a_deadline_kills_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let error = sh(&script)
            .deadline(Duration::from_millis(500))
            .output()
            .await
            .unwrap_err();
        assert!(matches!(error, ProcessError::Deadline { .. }), "{error}");
        let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        let stat = Path::new("/proc").join(pid.to_string()).join("stat");
        for _ in 0..100 {
            // Nobody may be there to reap it: a zombie is dead enough.
            let state = std::fs::read_to_string(&stat).unwrap_or_else(|_| "0 (sleep) Z".to_owned());
            if state.contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the grandchild survived");
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error_of_the_environment() {
        let error = Command::new("no-such-program-here").output().await.unwrap_err();
        assert_eq!(error.family(), Family::Environment);
    }
}
