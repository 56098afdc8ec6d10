//! Colour, or none: decided once for each of the two streams, then carried as a value.

use std::io::IsTerminal;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal that is not dumb, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whether a stream is a terminal that understands more than text: editors' shells call theirs `dumb`.
pub fn understands(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colours a text when it is switched on, and leaves it alone otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Palette(bool);

impl Palette {
    /// A palette that is on or off.
    pub const fn new(on: bool) -> Self {
        Self(on)
    }

    /// The palette for a stream. `no_color` is the value of `NO_COLOR`: any value but the empty one switches `auto` off.
    pub fn decide(color: Color, stream: &impl IsTerminal, no_color: Option<&str>) -> Self {
        Self(match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => understands(stream) && no_color.is_none_or(str::is_empty),
        })
    }

    fn paint(self, code: u8, text: &str) -> String {
        if self.0 && !text.is_empty() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// For headings.
    pub fn bold(self, text: &str) -> String {
        self.paint(1, text)
    }
    /// For what matters less.
    pub fn dim(self, text: &str) -> String {
        self.paint(2, text)
    }
    /// For failures.
    pub fn red(self, text: &str) -> String {
        self.paint(31, text)
    }
    /// For successes.
    pub fn green(self, text: &str) -> String {
        self.paint(32, text)
    }
    /// For warnings.
    pub fn yellow(self, text: &str) -> String {
        self.paint(33, text)
    }
    /// For what comes from many sources: each name has a colour of its own, always the same.
    pub fn of(self, name: &str, text: &str) -> String {
        const CODES: [u8; 10] = [36, 35, 34, 33, 32, 96, 95, 94, 93, 92];
        // A sum would give `a-b` and `b-a` one colour.
        let hash = name.bytes().fold(7usize, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        self.paint(CODES[hash % CODES.len()], text)
    }
    /// One of six colours by number, to tell many sources apart.
    pub fn tint(self, number: usize, text: &str) -> String {
        const TINTS: [u8; 6] = [36, 33, 32, 35, 34, 96];
        self.paint(TINTS[number % TINTS.len()], text)
    }
    /// For commands, names and what is under way.
    pub fn cyan(self, text: &str) -> String {
        self.paint(36, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_leaves_text_alone() {
        assert_eq!(Palette::new(false).red("x"), "x");
        assert_eq!(Palette::new(true).red("x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Palette::new(true).red(""), "");
    }
}
