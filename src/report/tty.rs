//! The live tree on a terminal: the lower lines are redrawn in place, everything else scrolls by above them.

use std::fmt::Write as _;
use std::time::Duration;

use super::color::Palette;
use super::screen::Render;
use super::tree::Tree;
use super::{Event, plain};

/// Draws the tree of steps.
#[derive(Debug)]
pub struct Tty {
    tree: Tree,
    palette: Palette,
    verbose: bool,
    /// Lines that are on the terminal below what scrolled by.
    drawn: usize,
}

impl Tty {
    /// With or without colour; verbose also lets logs and build output scroll by.
    pub fn new(palette: Palette, verbose: bool) -> Self {
        Self {
            tree: Tree::default(),
            palette,
            verbose,
            drawn: 0,
        }
    }

    fn draw(&mut self, now: Duration) -> String {
        let (rows, columns) = size();
        let lines = self
            .tree
            .lines(now, self.palette, columns, rows.saturating_sub(2));
        self.drawn = lines.len();
        lines
            .into_iter()
            .fold(String::new(), |all, line| all + &line + "\n")
    }
}

/// Rows and columns of the terminal behind stderr.
fn size() -> (usize, usize) {
    let (rows, columns) = console::Term::stderr().size();
    (usize::from(rows), usize::from(columns))
}

impl Render for Tty {
    fn event(&mut self, event: &Event, now: Duration) -> String {
        let mut above = self.tree.apply(event, now, self.palette, size().1);
        match event {
            Event::Warning { message, hint } => {
                above.extend(plain::warning(message, hint.as_deref(), self.palette));
            }
            Event::Note { message } => above.push(message.clone()),
            // What a step under way prints is shown in the step's own line.
            Event::Log { source, line } if self.verbose || !self.tree.is_under_way(source) => {
                above.push(plain::log(source, line, self.palette));
            }
            Event::Reload(event) => above.extend(plain::reload(event, self.palette)),
            Event::Progress { .. } | Event::Log { .. } | Event::Started { .. } | Event::Finished { .. } => {}
        }
        if above.is_empty() {
            // The next tick, at most 100 ms away, shows it: thousands of progress lines a second cost nothing.
            return String::new();
        }
        let mut text = self.clear();
        for line in above {
            text += &line;
            text.push('\n');
        }
        text + &self.draw(now)
    }

    fn tick(&mut self, now: Duration) -> String {
        let clear = self.clear();
        clear + &self.draw(now)
    }

    fn clear(&mut self) -> String {
        let mut text = String::new();
        if self.drawn > 0 && write!(text, "\r\u{1b}[{}A\u{1b}[0J", self.drawn).is_ok() {
            self.drawn = 0;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    #[test]
    fn redraws_in_place_and_keeps_what_ended() {
        let mut tty = Tty::new(Palette::new(false), false);
        let started = Event::Started {
            id: "a".into(),
            parent: None,
            title: "Cluster".into(),
            cause: Some("missing".into()),
        };
        assert_eq!(tty.event(&started, Duration::ZERO), "");
        assert_eq!(tty.tick(Duration::ZERO), "⠋ Cluster  (missing)  0.0s\n");
        assert_eq!(
            tty.tick(Duration::from_millis(100)),
            "\r\u{1b}[1A\u{1b}[0J⠙ Cluster  (missing)  0.1s\n"
        );
        let ended = Event::Finished {
            id: "a".into(),
            outcome: Outcome::Done,
            seconds: 2.0,
            detail: "3 nodes".into(),
        };
        assert_eq!(
            tty.event(&ended, Duration::from_secs(2)),
            "\r\u{1b}[1A\u{1b}[0J✔ Cluster  2.0s  3 nodes\n"
        );
        assert_eq!(tty.tick(Duration::from_secs(3)), "");
    }
}
