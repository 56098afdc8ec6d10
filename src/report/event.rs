//! The event stream and the handle through which rooms with effects feed it.

use std::sync::Arc;
use std::time::Instant;

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Something was done.
    Done,
    /// Nothing had to be done.
    Unchanged,
    /// Left out on request or because it does not apply; the detail says why.
    Skipped,
    /// It failed; the detail says why.
    Failed,
}

/// One thing that happened. Serialised as it is by `--progress json`: a stable format, one object a line.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step began. `id` is unique within the run; `parent` is the id of the step it belongs to.
    Started {
        /// Unique within the run, for instance `image/postgres`.
        id: String,
        /// The step this one is a part of.
        parent: Option<String>,
        /// What is being done, for people: `Build image postgres`.
        title: String,
        /// Why: `missing`, `image changed`, `drifted: spec.replicas 1 → 2`.
        cause: Option<String>,
    },
    /// A sign of life within a step: the newest line of output, bytes moved, pods ready.
    Progress {
        /// The step.
        id: String,
        /// One line, without colour.
        message: String,
    },
    /// A step ended.
    Finished {
        /// The step.
        id: String,
        /// How.
        outcome: Outcome,
        /// Wall-clock seconds since it began.
        seconds: f64,
        /// A result or a reason, one line; may be empty.
        detail: String,
    },
    /// A line of a service's log or of a build's output.
    Log {
        /// Service, pod or step.
        source: String,
        /// The line, without its newline.
        line: String,
    },
    /// Something the user should know that stops nothing.
    Warning {
        /// What.
        message: String,
        /// The next command.
        hint: Option<String>,
    },
    /// A remark that belongs to no step.
    Note {
        /// The remark.
        message: String,
    },
    /// Something about a service under development.
    Reload(Reload),
}

/// What happened to a service under development.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReloadPhase {
    /// A change was detected and its way chosen.
    Detected,
    /// A path and the rule that decided about it.
    Explained,
    /// It takes long until the service answers with the change; the message says what it waits for.
    Waiting,
    /// The service answers with the change.
    Served,
    /// The change is not served; the details say why.
    Failed,
    /// A replica is connected and in step with the source.
    Attached,
    /// The connection to a replica was lost; it is tried again.
    Lost,
    /// The service's process ended by itself.
    Crashed,
}

/// An event of a service under development, for editors as for people.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reload {
    /// The service.
    pub service: String,
    /// What happened.
    pub phase: ReloadPhase,
    /// `sync`, `swap` or `build`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<&'static str>,
    /// The changed paths below the source, at most twenty of them.
    pub paths: Vec<String>,
    /// How many paths changed.
    pub files: usize,
    /// Stage → milliseconds, for what was served.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    pub milliseconds: serde_json::Value,
    /// One line for people.
    pub message: String,
    /// More lines: of a build, of a log.
    pub details: Vec<String>,
}

impl Reload {
    /// An event with a message only.
    pub fn new(service: &str, phase: ReloadPhase, message: impl Into<String>) -> Self {
        Self {
            service: service.to_owned(),
            phase,
            way: None,
            paths: Vec::new(),
            files: 0,
            milliseconds: serde_json::Value::Null,
            message: message.into(),
            details: Vec::new(),
        }
    }
}

/// Where events go. Implementations must not block for long: they are called from within async tasks.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// A sink that drops everything, for `-q` and for tests.
struct Nowhere;

impl Sink for Nowhere {
    fn emit(&self, _: Event) {}
}

/// A cheap, clonable handle to the event stream.
#[derive(Clone)]
pub struct Reporter(Arc<dyn Sink>);

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporter")
    }
}

impl Reporter {
    /// A reporter over any sink.
    pub fn new(sink: Arc<dyn Sink>) -> Self {
        Self(sink)
    }
    /// A reporter that drops everything.
    pub fn silent() -> Self {
        Self(Arc::new(Nowhere))
    }
    /// Sends one event as it is.
    pub fn emit(&self, event: Event) {
        self.0.emit(event);
    }
    /// Begins a step without a parent.
    pub fn step(&self, id: impl Into<String>, title: impl Into<String>, cause: Option<String>) -> Step {
        Step::begin(self.clone(), id.into(), None, title.into(), cause)
    }
    /// Sends a warning.
    pub fn warn(&self, message: impl Into<String>, hint: Option<String>) {
        self.emit(Event::Warning {
            message: message.into(),
            hint,
        });
    }
    /// Sends a remark.
    pub fn note(&self, message: impl Into<String>) {
        self.emit(Event::Note {
            message: message.into(),
        });
    }
}

/// A step under way. Dropped without being finished it counts as failed with the detail `interrupted`, so that no
/// renderer shows it as running for ever.
#[derive(Debug)]
pub struct Step {
    reporter: Reporter,
    id: String,
    begun: Instant,
    open: bool,
}

impl Step {
    fn begin(
        reporter: Reporter,
        id: String,
        parent: Option<String>,
        title: String,
        cause: Option<String>,
    ) -> Self {
        reporter.emit(Event::Started {
            id: id.clone(),
            parent,
            title,
            cause,
        });
        Self {
            reporter,
            id,
            begun: Instant::now(),
            open: true,
        }
    }
    /// Begins a step that is a part of this one.
    #[must_use]
    pub fn child(&self, id: impl Into<String>, title: impl Into<String>, cause: Option<String>) -> Step {
        Step::begin(
            self.reporter.clone(),
            id.into(),
            Some(self.id.clone()),
            title.into(),
            cause,
        )
    }
    /// The step's id.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// The reporter behind it.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }
    /// Shows a sign of life.
    pub fn progress(&self, message: impl Into<String>) {
        self.reporter.emit(Event::Progress {
            id: self.id.clone(),
            message: message.into(),
        });
    }
    /// Ends the step.
    pub fn finish(mut self, outcome: Outcome, detail: impl Into<String>) -> f64 {
        self.close(outcome, detail.into())
    }
    /// Ends the step as done.
    pub fn done(self, detail: impl Into<String>) -> f64 {
        self.finish(Outcome::Done, detail)
    }
    /// Ends the step with an error's message.
    pub fn failed(self, error: &dyn std::error::Error) -> f64 {
        self.finish(Outcome::Failed, error.to_string())
    }
    fn close(&mut self, outcome: Outcome, detail: String) -> f64 {
        self.open = false;
        let seconds = self.begun.elapsed().as_secs_f64();
        self.reporter.emit(Event::Finished {
            id: self.id.clone(),
            outcome,
            seconds,
            detail,
        });
        seconds
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.open {
            self.close(Outcome::Failed, "interrupted".to_owned());
        }
    }
}
