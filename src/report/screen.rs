//! The stderr side of a run: takes events from any thread, keeps a renderer ticking, and makes room for prompts and data.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::color::{Palette, understands};
use super::lines::{Json, Quiet};
use super::plain::Plain;
use super::tty::Tty;
use super::{Event, Reporter, Sink};

/// How often the live tree is redrawn and plain lines look at the clock.
const TICK: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Progress {
    /// A live tree on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// A live tree.
    Tty,
    /// Plain lines.
    Plain,
    /// JSON lines on stderr, one event each.
    Json,
    /// Warnings only.
    Quiet,
}

/// Turns events into text. `now` is the time since the run began.
pub trait Render: Send {
    /// The text to write for an event; may be empty.
    fn event(&mut self, event: &Event, now: Duration) -> String;
    /// The text to write as time goes by.
    fn tick(&mut self, now: Duration) -> String;
    /// The text that takes back what may be redrawn.
    fn clear(&mut self) -> String {
        String::new()
    }
}

struct State {
    renderer: Box<dyn Render>,
    out: Box<dyn Write + Send>,
    ticker: Option<JoinHandle<()>>,
    /// While something else has the terminal: what happened meanwhile.
    backlog: Option<Vec<Event>>,
    closed: bool,
}

impl State {
    /// Progress that can't be written (a closed pipe) must not end the run.
    fn write(&mut self, text: &str) {
        if !text.is_empty() && (self.out.write_all(text.as_bytes()).is_err() || self.out.flush().is_err()) {
            self.closed = true;
        }
    }
}

struct Shared {
    begun: Instant,
    state: Mutex<State>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Shared {
    fn emit(&self, event: Event) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if let Some(backlog) = &mut state.backlog {
            backlog.push(event);
            return;
        }
        let text = state.renderer.event(&event, self.begun.elapsed());
        state.write(&text);
    }
}

/// Owns a run's renderer. Dropped or closed, it leaves the terminal as it found it.
pub struct Screen(Arc<Shared>);

impl Screen {
    /// A screen on stderr.
    pub fn open(progress: Progress, palette: Palette, verbose: bool) -> Self {
        let terminal = understands(&std::io::stderr());
        let renderer: Box<dyn Render> = match progress {
            Progress::Auto if terminal => Box::new(Tty::new(palette, verbose)),
            Progress::Tty => Box::new(Tty::new(palette, verbose)),
            Progress::Auto | Progress::Plain => Box::new(Plain::new(palette, verbose)),
            Progress::Json => Box::new(Json),
            Progress::Quiet => Box::new(Quiet(palette)),
        };
        Self::with(renderer, Box::new(std::io::stderr()))
    }

    /// A screen over any renderer and writer.
    pub fn with(renderer: Box<dyn Render>, out: Box<dyn Write + Send>) -> Self {
        let state = State {
            renderer,
            out,
            ticker: None,
            backlog: None,
            closed: false,
        };
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            state: Mutex::new(state),
        });
        let ticker = thread::Builder::new().name("screen".to_owned()).spawn({
            let shared = Arc::downgrade(&shared);
            move || keep_ticking(&shared)
        });
        // Without the thread events are still shown, only spinners and signs of life are missing.
        shared.lock().ticker = ticker.ok();
        Self(shared)
    }

    /// The handle that feeds this screen.
    pub fn reporter(&self) -> Reporter {
        Reporter::new(self.0.clone())
    }

    /// Takes the live part away, runs `f` (a prompt, data on stdout), and lets drawing go on afterwards. Whoever reports
    /// events meanwhile is not held up.
    pub fn suspend<R>(&self, f: impl FnOnce() -> R) -> R {
        {
            let mut state = self.0.lock();
            let text = state.renderer.clear();
            state.write(&text);
            state.backlog.get_or_insert_default();
        }
        let result = f();
        let backlog = self.0.lock().backlog.take();
        for event in backlog.into_iter().flatten() {
            self.0.emit(event);
        }
        result
    }

    /// Ends drawing; events that come later are dropped.
    pub fn close(&self) {
        let ticker = {
            let mut state = self.0.lock();
            if !state.closed {
                let text = state.renderer.clear();
                state.write(&text);
            }
            state.closed = true;
            state.ticker.take()
        };
        if let Some(ticker) = ticker {
            ticker.thread().unpark();
            // It holds nothing but the screen: a panic in it has already been printed.
            drop(ticker.join());
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

fn keep_ticking(shared: &Weak<Shared>) {
    loop {
        thread::park_timeout(TICK);
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.begun.elapsed();
        let mut state = shared.lock();
        if state.closed {
            return;
        }
        if state.backlog.is_none() {
            let text = state.renderer.tick(now);
            state.write(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    /// A writer that a test can look into.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn shows_steps_and_what_was_left_open() {
        let shown = Shown::default();
        let screen = Screen::with(
            Box::new(Plain::new(Palette::new(false), false)),
            Box::new(shown.clone()),
        );
        let step = screen.reporter().step("a", "Do a", None);
        let child = step.child("b", "Do b", None);
        drop(child);
        step.finish(Outcome::Done, "");
        screen.suspend(|| screen.reporter().note("meanwhile"));
        screen.close();
        screen.reporter().note("too late");
        let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "  ✘ Do b  0.0s  interrupted\n✔ Do a  0.0s\nmeanwhile\n");
    }
}
