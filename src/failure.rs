//! What every error of vadev can say about itself: a hint with the next command, and a family that decides
//! the exit code. Each layer has one error enum (`thiserror`) and implements [`Diagnose`] for it; `main` is the
//! only place that prints one and exits.

/// The family of a failure. Its number is the exit code, which scripts may rely on; the README lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Something unexpected inside vadev, or in a file or stream it was using.
    Internal = 1,
    /// The command line or a YAML file is wrong.
    Usage = 2,
    /// This machine lacks something: a tool, Docker, a port, memory.
    Environment = 3,
    /// A tool or an image could not be had.
    Supply = 4,
    /// The cluster refused something, or cannot be reached.
    Cluster = 5,
    /// A build of the user's own service failed.
    Build = 6,
    /// A wait passed its deadline, or ended early because it could never succeed.
    Timeout = 7,
    /// A safety check refused, or the user said no.
    Refused = 8,
    /// `verify`, `doctor` or `--check` found something wrong.
    Unhealthy = 9,
    /// Ctrl+C.
    Interrupted = 130,
}

impl Family {
    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        self as u8
    }
}

/// An error that knows what the user should do next.
pub trait Diagnose: std::error::Error + Send + Sync + 'static {
    /// The next command or action, one line; `None` where nothing sensible can be said.
    fn hint(&self) -> Option<String> {
        None
    }
    /// Decides the exit code.
    fn family(&self) -> Family;
    /// Another exit code than the family's: that of a user's own command, which vadev only passes on.
    fn exit_code(&self) -> Option<u8> {
        None
    }
    /// Lines that belong below the message (last log lines, a table), already without colour.
    fn details(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Any layer's error on its way to `main`.
pub type Failure = Box<dyn Diagnose>;

impl<E: Diagnose> From<E> for Failure {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// Several failures of one run: the first is the message and decides everything else, the others are told below it.
#[derive(Debug)]
pub struct Several {
    first: Failure,
    others: Vec<Failure>,
}

impl Several {
    /// One failure out of all, in their order; `None` where there is none.
    pub fn of(failures: Vec<Failure>) -> Option<Failure> {
        let mut failures = failures.into_iter();
        let first = failures.next()?;
        let others: Vec<Failure> = failures.collect();
        Some(if others.is_empty() {
            first
        } else {
            Box::new(Self { first, others })
        })
    }
}

impl std::fmt::Display for Several {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.first.fmt(f)
    }
}

impl std::error::Error for Several {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.first.source()
    }
}

impl Diagnose for Several {
    fn hint(&self) -> Option<String> {
        self.first.hint()
    }
    fn family(&self) -> Family {
        self.first.family()
    }
    fn exit_code(&self) -> Option<u8> {
        self.first.exit_code()
    }
    fn details(&self) -> Vec<String> {
        let others = self.others.iter().flat_map(|other| {
            let hint = other.hint().map(|hint| format!("  {hint}"));
            let below = other.details().into_iter().map(|line| format!("  {line}"));
            std::iter::once(format!("also: {other}")).chain(below).chain(hint)
        });
        self.first.details().into_iter().chain(others).collect()
    }
}

/// A plain failure for places that need no enum of their own, mostly verbs.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Plain {
    /// What went wrong and with which subject.
    pub message: String,
    /// The next command.
    pub hint: Option<String>,
    /// The exit code's family.
    pub family: Family,
    /// Lines printed below.
    pub details: Vec<String>,
}

impl Plain {
    /// A failure with a message only.
    pub fn new(family: Family, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            family,
            details: Vec::new(),
        }
    }
    /// Adds the next command.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
    /// Adds lines to be printed below the message.
    #[must_use]
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

impl Diagnose for Plain {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
    fn family(&self) -> Family {
        self.family
    }
    fn details(&self) -> Vec<String> {
        self.details.clone()
    }
}
