//! Keeps the service's process: starts it, restarts it on request, tries again when it ends by itself, passes signals on
//! and reaps whatever ends. One task owns all of it; sessions send orders.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitStatus};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::process;
use super::shared::Shared;
use crate::agent::log;
use crate::agent::protocol::{Child, Then};

/// First wait before a process that ended by itself is tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Longest such wait: someone is watching, and a dependency may have come up.
const LAST_RETRY: Duration = Duration::from_secs(10);
/// A process that ran this long gets the first wait again.
const STEADY: Duration = Duration::from_secs(10);

/// What sessions ask for.
pub enum Order {
    /// Restart or signal; answered when the new process runs.
    Act(Then, oneshot::Sender<Result<Acted, String>>),
    /// End the wait for the first session; answered when the process runs.
    Start(oneshot::Sender<Result<Acted, String>>),
    /// A session began or ended.
    Sessions(usize),
    /// Become this program, keeping the service's process.
    Become(PathBuf),
}

/// An order carried out.
pub struct Acted {
    /// Until the new process was started.
    pub micros: u64,
    /// The process now.
    pub child: Child,
}

type Answer = oneshot::Sender<Result<Acted, String>>;

enum Phase {
    Waiting {
        until: Instant,
    },
    Running {
        pid: Pid,
        since: Instant,
    },
    /// A restart was asked for and the old process has not ended yet.
    Stopping {
        pid: Pid,
        kill_at: Instant,
        asked: Vec<(Instant, Answer)>,
    },
    Down {
        retry_at: Instant,
    },
}

/// The task's state.
pub struct Supervisor {
    command: Vec<OsString>,
    user: Option<(u32, u32)>,
    shared: Arc<Shared>,
    phase: Phase,
    starts: u64,
    retry: Duration,
    sessions: usize,
    waits: bool,
    ending: bool,
}

impl Supervisor {
    /// Waits for the first session as long as `wait` says (or starts at once), or keeps the process `adopted`.
    pub fn new(
        (command, user): (Vec<OsString>, Option<(u32, u32)>),
        shared: Arc<Shared>,
        wait: Option<Duration>,
        adopted: Option<Pid>,
    ) -> Self {
        let now = Instant::now();
        let phase = match adopted {
            Some(pid) => Phase::Running { pid, since: now },
            None => Phase::Waiting {
                until: now + wait.unwrap_or_default(),
            },
        };
        let starts = u64::from(adopted.is_some());
        let supervisor = Self {
            command,
            user,
            shared,
            phase,
            starts,
            retry: FIRST_RETRY,
            sessions: 0,
            waits: wait.is_some(),
            ending: false,
        };
        if let Some(pid) = adopted {
            supervisor.publish_running(pid);
        }
        supervisor
    }

    /// Runs until a signal ends it; returns the exit code.
    pub async fn run(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut signals: mpsc::UnboundedReceiver<Signal>,
    ) -> u8 {
        loop {
            let deadline = self.deadline();
            let timer = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                Some(signal) = signals.recv() => self.signalled(signal),
                Some(order) = orders.recv() => {
                    self.order(order);
                    None
                }
                () = timer => {
                    self.due();
                    None
                }
            };
            if let Some(code) = ended {
                return code;
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            // A session that is connected is replaying: it says when it is done. Nobody can keep a service waiting
            // that was not told to wait.
            Phase::Waiting { until } => (self.sessions == 0 || !self.waits).then_some(*until),
            Phase::Running { .. } => None,
            Phase::Stopping { kill_at, .. } => Some(*kill_at),
            Phase::Down { retry_at } => Some(*retry_at),
        }
    }

    fn due(&mut self) {
        match &mut self.phase {
            Phase::Waiting { .. } | Phase::Down { .. } => {
                // What went wrong is in the published state.
                let _ = self.start();
            }
            Phase::Stopping { pid, kill_at, .. } => {
                if let Err(why) = process::signal(*pid, Signal::KILL) {
                    log::line("error", &why, json!({}));
                }
                // Once is enough; what survives SIGKILL hangs in the kernel and ends when that lets go.
                *kill_at = Instant::now() + LAST_RETRY;
            }
            Phase::Running { .. } => {}
        }
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Start(answer) => {
                let asked = Instant::now();
                let waiting = matches!(self.phase, Phase::Waiting { .. });
                let started = if waiting { self.start() } else { Ok(()) };
                reply(answer, started.map(|()| self.acted(asked)));
            }
            Order::Sessions(count) => self.sessions = count,
            Order::Act(then, answer) => self.act(then, answer),
            Order::Become(program) => self.become_program(&program),
        }
    }

    fn act(&mut self, then: Then, answer: Answer) {
        let asked = Instant::now();
        match (&mut self.phase, then) {
            (Phase::Stopping { asked: waiting, .. }, Then::Nothing | Then::Restart { .. }) => {
                waiting.push((asked, answer));
            }
            (Phase::Running { pid, .. }, Then::Restart { grace_millis }) => {
                let pid = *pid;
                if let Err(why) = process::signal(pid, Signal::TERM) {
                    reply(answer, Err(why));
                    return;
                }
                let kill_at = asked + Duration::from_millis(grace_millis);
                self.phase = Phase::Stopping {
                    pid,
                    kill_at,
                    asked: vec![(asked, answer)],
                };
            }
            (Phase::Running { pid, .. } | Phase::Stopping { pid, .. }, Then::Signal { name }) => {
                let sent = process::by_name(&name)
                    .ok_or_else(|| format!("no signal {name:?} to send"))
                    .and_then(|signal| process::signal(*pid, signal));
                let child = self.shared.child();
                reply(answer, sent.map(|()| Acted { micros: 0, child }));
            }
            (Phase::Running { .. }, Then::Nothing) | (Phase::Waiting { .. }, _) => {
                reply(
                    answer,
                    Ok(Acted {
                        micros: 0,
                        child: self.shared.child(),
                    }),
                );
            }
            // A change may be what makes it work: no waiting for the next try.
            (Phase::Down { .. }, _) => {
                self.retry = FIRST_RETRY;
                let started = self.start();
                reply(answer, started.map(|()| self.acted(asked)));
            }
        }
    }

    fn acted(&self, asked: Instant) -> Acted {
        let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
        Acted {
            micros,
            child: self.shared.child(),
        }
    }

    /// Starts the process, or plans the next try.
    fn start(&mut self) -> Result<(), String> {
        match process::spawn(&self.command, self.user) {
            Ok(pid) => {
                self.starts += 1;
                self.phase = Phase::Running {
                    pid,
                    since: Instant::now(),
                };
                self.publish_running(pid);
                Ok(())
            }
            Err(why) => {
                self.down(why.clone(), Duration::ZERO);
                Err(why)
            }
        }
    }

    fn publish_running(&self, pid: Pid) {
        let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
        self.shared.publish(Child::Running {
            pid,
            starts: self.starts,
        });
    }

    fn down(&mut self, why: String, ran: Duration) {
        if ran >= STEADY {
            self.retry = FIRST_RETRY;
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (ran_millis, retry_millis) = (millis(ran), millis(self.retry));
        log::line(
            "error",
            "service ended",
            json!({"why": why, "ranMillis": ran_millis, "retryMillis": retry_millis}),
        );
        self.phase = Phase::Down {
            retry_at: Instant::now() + self.retry,
        };
        self.retry = (self.retry * 2).min(LAST_RETRY);
        self.shared.publish(Child::Down {
            why,
            ran_millis,
            retry_millis,
        });
    }

    /// A signal to the agent. SIGCHLD: reap. Others go on to the service; TERM and INT end both.
    fn signalled(&mut self, signal: Signal) -> Option<u8> {
        if signal == Signal::CHILD {
            return self.reap();
        }
        self.ending |= signal == Signal::TERM || signal == Signal::INT;
        let pid = match &self.phase {
            Phase::Running { pid, .. } | Phase::Stopping { pid, .. } => *pid,
            Phase::Waiting { .. } | Phase::Down { .. } => return self.ending.then_some(0),
        };
        if let Err(why) = process::signal(pid, signal) {
            log::line("error", &why, json!({}));
        }
        None
    }

    fn reap(&mut self) -> Option<u8> {
        let mut code = None;
        while let Some((pid, status)) = process::reap() {
            code = code.or(self.ended(pid, status));
        }
        code
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) -> Option<u8> {
        let ours = matches!(&self.phase, Phase::Running { pid: child, .. } | Phase::Stopping { pid: child, .. } if *child == pid);
        if !ours {
            return None;
        }
        if self.ending {
            return Some(process::exit_code(status));
        }
        // Workers of the old process would keep its port.
        if let Err(why) = process::signal(pid, Signal::KILL) {
            log::line("error", &why, json!({}));
        }
        let why = process::describe(status);
        match std::mem::replace(
            &mut self.phase,
            Phase::Down {
                retry_at: Instant::now(),
            },
        ) {
            Phase::Stopping { asked, .. } => {
                self.retry = FIRST_RETRY;
                let started = self.start();
                for (since, answer) in asked {
                    reply(answer, started.clone().map(|()| self.acted(since)));
                }
            }
            Phase::Running { since, .. } => self.down(why, since.elapsed()),
            Phase::Waiting { .. } | Phase::Down { .. } => {}
        }
        None
    }

    /// Replaces the agent's program. Only returns when that fails.
    fn become_program(&self, program: &std::path::Path) {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(program);
        command
            .args(std::env::args_os().skip(1))
            .env_remove(process::ADOPT);
        match &self.phase {
            Phase::Running { pid, .. } => {
                command.env(process::ADOPT, pid.as_raw_nonzero().get().to_string());
            }
            Phase::Waiting { .. } | Phase::Down { .. } => {}
            // The answer to the restart would be lost; the CLI asks again.
            Phase::Stopping { .. } => return,
        }
        let error = command.exec();
        log::line(
            "error",
            "upgrade failed",
            json!({"program": program.to_string_lossy(), "why": error.to_string()}),
        );
    }
}

/// The session that asked may be gone; its order was carried out all the same.
fn reply(answer: Answer, result: Result<Acted, String>) {
    let _ = answer.send(result);
}
