//! A sign of life for a step whose work may be silent or chatty: at most ten messages a second, at least one every
//! two seconds.

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::report::Step;

/// Shorter than the two seconds that vadev promises, so that a busy machine keeps the promise too.
const SILENCE: Duration = Duration::from_millis(1500);
const CHATTER: Duration = Duration::from_millis(100);

/// Feeds a step's progress.
#[derive(Debug)]
pub struct Pulse<'a> {
    step: &'a Step,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    message: String,
    told: Option<Instant>,
}

impl<'a> Pulse<'a> {
    /// A pulse that has nothing to tell yet.
    pub fn new(step: &'a Step) -> Self {
        let state = Mutex::new(State {
            message: String::new(),
            told: None,
        });
        Self {
            step,
            begun: Instant::now(),
            state,
        }
    }

    /// Says what to repeat as long as nothing else is told.
    #[must_use]
    pub fn about(self, subject: &str) -> Self {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .message = plain(subject);
        self
    }

    /// Tells the newest line; shown at once unless one was shown a moment ago, and otherwise by the next beat.
    pub fn tell(&self, line: &str) {
        let line = plain(line);
        if line.is_empty() {
            return;
        }
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.message = line;
        if state.told.is_none_or(|told| told.elapsed() >= CHATTER) {
            state.told = Some(Instant::now());
            let message = state.message.clone();
            drop(state);
            self.step.progress(message);
        }
    }

    /// Runs `work`; while nothing is told, the last message is repeated with the seconds gone by.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                () = tokio::time::sleep(SILENCE / 3) => self.beat(),
            }
        }
    }

    fn beat(&self) {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.told.unwrap_or(self.begun).elapsed() < SILENCE {
            return;
        }
        state.told = Some(Instant::now());
        let seconds = self.begun.elapsed().as_secs();
        let message = if state.message.is_empty() {
            format!("{seconds} s")
        } else {
            format!("{} · {seconds} s", state.message)
        };
        drop(state);
        self.step.progress(message);
    }
}

/// One line without colour or other control sequences, cut to a sane length.
pub fn plain(line: &str) -> String {
    let text = console::strip_ansi_codes(line.trim_end());
    let text = text.rsplit(['\n', '\r']).next().unwrap_or_default();
    text.chars()
        .filter(|c| !c.is_control())
        .take(400)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::report::{Event, Reporter, Sink};

    #[derive(Default)]
    struct Tape(Mutex<Vec<String>>);

    impl Sink for Tape {
        fn emit(&self, event: Event) {
            if let Event::Progress { message, .. } = event {
                self.0.lock().unwrap().push(message);
            }
        }
    }

    #[tokio::test]
    async fn silence_is_broken_and_chatter_is_thinned() {
        let tape = Arc::new(Tape::default());
        let step = Reporter::new(tape.clone()).step("s", "s", None);
        let pulse = Pulse::new(&step);
        for n in 0..1000 {
            pulse.tell(&format!("line {n}"));
        }
        assert!(tape.0.lock().unwrap().len() < 5);
        pulse
            .during(tokio::time::sleep(Duration::from_millis(2600)))
            .await;
        let told = tape.0.lock().unwrap().clone();
        assert!(
            told.iter().any(|line| line.starts_with("line 999 · ")),
            "{told:?}"
        );
    }

    #[test]
    fn control_sequences_are_taken_out() {
        assert_eq!(plain("\u{1b}[32m10%\r\u{1b}[32mdone\u{1b}[0m\t\n"), "done");
    }
}
