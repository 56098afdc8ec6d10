//! Questions to the user. Asked only where somebody can answer; `--yes` answers them all.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Family, Plain};
use crate::report::Palette;

/// Who answers questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// `--yes`.
    Yes,
    /// A person on a terminal.
    Person,
    /// Nobody: a pipe, CI, a service manager.
    Nobody,
}

impl Answers {
    /// From `--yes`, what stdin is and what stderr is: a question that nobody sees would be waited for until somebody
    /// gives up.
    pub fn decide(yes: bool, stdin: &impl IsTerminal, stderr: &impl IsTerminal) -> Self {
        match (yes, stdin.is_terminal() && stderr.is_terminal()) {
            (true, _) => Self::Yes,
            (false, true) => Self::Person,
            (false, false) => Self::Nobody,
        }
    }
}

/// Whether a question is open. A thread that waits for a line cannot be cancelled, so Ctrl+C then ends the process.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether a question is open.
pub fn is_asking() -> bool {
    ASKING.load(Ordering::Relaxed)
}

/// Asks on this process's terminal; also from within async work.
pub fn ask_on_terminal(question: &str, palette: Palette) -> io::Result<bool> {
    let wait = || {
        ASKING.store(true, Ordering::Relaxed);
        let answer = ask(question, palette, &mut io::stdin().lock(), &mut io::stderr());
        ASKING.store(false, Ordering::Relaxed);
        answer
    };
    // Other tasks of this worker thread move to another one while the person thinks.
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::task::block_in_place(wait)
    } else {
        wait()
    }
}

/// Asks until the answer is clear; an empty answer and the end of input mean no.
pub fn ask(
    question: &str,
    palette: Palette,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> io::Result<bool> {
    loop {
        write!(out, "{} {question} [y/N] ", palette.cyan("?"))?;
        out.flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            writeln!(out)?;
            return Ok(false);
        }
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" | "是" => return Ok(true),
            "" | "n" | "no" | "否" => return Ok(false),
            _ => writeln!(out, "  Please answer y or n.")?,
        }
    }
}

/// The failure when nobody is there to be asked.
pub fn nobody(question: &str) -> Failure {
    Plain::new(
        Family::Refused,
        format!("this needs a yes, and there is no terminal to ask on: {question}"),
    )
    .with_hint("run it again with --yes to agree")
    .into()
}

/// The failure when the person said no.
pub fn declined() -> Failure {
    Plain::new(Family::Refused, "not confirmed, nothing was changed").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(typed: &str) -> (bool, String) {
        let mut out = Vec::new();
        let said = ask("Delete it?", Palette::new(false), &mut typed.as_bytes(), &mut out).unwrap();
        (said, String::from_utf8(out).unwrap())
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        assert_eq!(answer("y\n"), (true, "? Delete it? [y/N] ".into()));
        assert!(answer("是\n").0);
        assert!(!answer("\n").0);
        assert!(!answer("").0);
        let (said, shown) = answer("maybe\nYES\n");
        assert!(said && shown.contains("Please answer y or n."));
    }

    #[test]
    fn without_a_terminal_nobody_is_asked() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Answers::decide(false, &file, &file), Answers::Nobody);
        assert_eq!(Answers::decide(true, &file, &file), Answers::Yes);
        assert_eq!(nobody("Delete it?").family(), Family::Refused);
    }
}
