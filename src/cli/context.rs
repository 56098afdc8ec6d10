//! What a verb works with: the global flags, the workspace, the reporter, questions to the user, stdout.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};

use super::consent::{self, Answers};
use super::globals::Globals;
use super::workspace::Loaded;
use super::{output, runtime};
use crate::catalog::service::Amount;
use crate::failure::{Failure, Family, Plain};
use crate::profile::Profile;
use crate::report::{Palette, Progress, Reporter, Screen};
use crate::supply::machine;

/// One run of vadev. Everything in it is made when it is first asked for.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    globals: Globals,
    no_color: Option<String>,
    answers: Answers,
    screen: Arc<OnceLock<Screen>>,
    loaded: OnceLock<Loaded>,
    machine: OnceLock<Option<Amount>>,
}

impl Context {
    /// For these global flags, this process's streams and environment.
    pub fn new(globals: Globals) -> Self {
        let answers = Answers::decide(globals.yes, &io::stdin(), &io::stderr());
        Self(Arc::new(Inner {
            globals,
            no_color: std::env::var("NO_COLOR").ok(),
            answers,
            screen: Arc::default(),
            loaded: OnceLock::new(),
            machine: OnceLock::new(),
        }))
    }

    /// The same run with the workspace read anew: for work that goes on when its files have changed.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(Arc::new(Inner {
            globals: self.0.globals.clone(),
            no_color: self.0.no_color.clone(),
            answers: self.0.answers,
            screen: Arc::clone(&self.0.screen),
            loaded: OnceLock::new(),
            machine: self.0.machine.clone(),
        }))
    }

    /// The global flags.
    pub fn globals(&self) -> &Globals {
        &self.0.globals
    }

    /// The workspace with catalog and profiles, read once.
    pub fn loaded(&self) -> Result<&Loaded, Failure> {
        if let Some(loaded) = self.0.loaded.get() {
            return Ok(loaded);
        }
        let here = std::env::current_dir().map_err(|error| {
            Plain::new(
                Family::Environment,
                format!("cannot tell the current folder: {error}"),
            )
            .with_hint("change to a folder that exists")
        })?;
        let loaded = Loaded::open(self.0.globals.file.as_deref(), &here)?;
        Ok(self.0.loaded.get_or_init(|| loaded))
    }

    /// The profile `name`, else the one of `-p`, of the workspace, or `dev`.
    pub fn profile(&self, name: Option<&str>) -> Result<&Profile, Failure> {
        self.loaded()?.profile(name.or(self.0.globals.profile.as_deref()))
    }

    /// CPU and memory of the machine that is to run a cluster of vadev's own, asked once.
    pub fn machine(&self) -> Option<Amount> {
        *self.0.machine.get_or_init(machine::size)
    }

    /// Colour on stdout.
    pub fn stdout_palette(&self) -> Palette {
        Palette::decide(self.0.globals.color, &io::stdout(), self.0.no_color.as_deref())
    }

    /// Colour on stderr.
    pub fn stderr_palette(&self) -> Palette {
        Palette::decide(self.0.globals.color, &io::stderr(), self.0.no_color.as_deref())
    }

    fn screen(&self) -> &Screen {
        self.0.screen.get_or_init(|| {
            let progress = match self.0.globals.progress {
                Progress::Auto if self.0.globals.quiet => Progress::Quiet,
                asked => asked,
            };
            Screen::open(progress, self.stderr_palette(), self.0.globals.verbose)
        })
    }

    /// Where effects tell what they do.
    pub fn reporter(&self) -> Reporter {
        self.screen().reporter()
    }

    /// Ends the drawing of progress.
    pub fn close(&self) {
        if let Some(screen) = self.0.screen.get() {
            screen.close();
        }
    }

    /// Writes data to stdout, above whatever is being drawn.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        match self.0.screen.get() {
            Some(screen) => screen.suspend(|| output::write(text)),
            None => output::write(text),
        }
    }

    /// Asks the user; without `--yes` and without a terminal it is a refusal that says what would have been asked.
    pub fn consent(&self, question: &str) -> Result<bool, Failure> {
        match self.0.answers {
            Answers::Yes => Ok(true),
            Answers::Nobody => Err(consent::nobody(question)),
            Answers::Person => {
                let ask = || consent::ask_on_terminal(question, self.stderr_palette());
                self.screen().suspend(ask).map_err(|_| consent::nobody(question))
            }
        }
    }

    /// Like [`Context::consent`], for rooms that have an error of their own for a refusal.
    pub fn agrees(&self, question: &str) -> bool {
        self.consent(question).unwrap_or(false)
    }

    /// Like [`Context::consent`], with a no as a failure: for what makes no sense without it.
    pub fn insist(&self, question: &str) -> Result<(), Failure> {
        if self.consent(question)? {
            Ok(())
        } else {
            Err(consent::declined())
        }
    }

    /// As [`Context::block_on`], for work that goes on until Ctrl+C: then it is `None`.
    pub fn until_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Option<T>, Failure> {
        runtime::until_interrupted(work)
    }

    /// Runs async work; Ctrl+C ends it cleanly, see [`runtime::block_on`].
    pub fn block_on<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        runtime::block_on(work)
    }
}
