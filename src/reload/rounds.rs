//! Builds on this machine that follow from what such a build itself has written, which would never end. Pure.

use std::collections::BTreeMap;

use crate::agent::protocol::Node;

/// The files that a build is made of, by path below the source.
pub type Files = BTreeMap<String, Node>;

/// What is to become of a build that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Round {
    /// Somebody has changed something since the last one.
    Due,
    /// Nobody has, for the second time: to be made after a look whether that is so.
    Doubted,
    /// Nobody has, for the third time: builds write these paths each time.
    Endless(Vec<String>),
}

/// The builds so far.
#[derive(Debug, Default)]
pub struct Rounds {
    /// What was there when the last one had ended.
    after: Option<Files>,
    /// What was written while each of the last ones ran, by its kind.
    written: BTreeMap<String, String>,
    /// How many of the last ones nobody had changed anything for.
    own: usize,
}

impl Rounds {
    /// Decides about a build of `files`.
    pub fn due(&self, files: &Files) -> Round {
        if self.written.is_empty() || self.after.as_ref() != Some(files) {
            return Round::Due;
        }
        match self.own {
            0 => Round::Due,
            1 => Round::Doubted,
            _ => Round::Endless(self.written.values().cloned().collect()),
        }
    }

    /// A build of `before` has ended, well or not, and this is there `after` it.
    pub fn done(&mut self, before: &Files, after: Files) {
        let now = written(before, &after);
        if self.after.as_ref() == Some(before) && !self.written.is_empty() {
            // Somebody who saves while builds run saves one file and another, a build the same ones.
            let again = now
                .into_iter()
                .filter(|(kind, _)| self.written.contains_key(kind));
            self.written = again.collect();
            self.own += 1;
        } else {
            self.written = now;
            self.own = 0;
        }
        self.after = Some(after);
    }
}

/// What came, changed or went, by its kind: `log-1` and `log-2` are of one kind.
fn written(before: &Files, after: &Files) -> BTreeMap<String, String> {
    let differs = |one: &Files, path: &String, node: &Node| one.get(path) != Some(node);
    let came = after.iter().filter(|(path, node)| differs(before, path, node));
    let went = before.iter().filter(|(path, _)| !after.contains_key(*path));
    let kind = |path: &String| path.replace(|c: char| c.is_ascii_digit(), "");
    came.chain(went)
        .map(|(path, _)| (kind(path), path.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> Files {
        let file = |(path, sha256): &(&str, &str)| {
            let (mode, sha256) = (0o644, (*sha256).to_owned());
            ((*path).to_owned(), Node::File { mode, sha256 })
        };
        all.iter().map(file).collect()
    }

    #[test]
    fn a_build_that_writes_into_its_source_is_made_three_times() {
        let mut rounds = Rounds::default();
        let at = |main: &str, log: &str| files(&[("main.go", main), ("build.log", log)]);
        for (number, expected) in [Round::Due, Round::Due, Round::Doubted].into_iter().enumerate() {
            let number = number.to_string();
            let before = rounds.after.clone().unwrap_or_else(|| at("1", ""));
            assert_eq!(rounds.due(&before), expected);
            rounds.done(&before, at("1", &number));
        }
        let before = rounds.after.clone().unwrap();
        assert_eq!(rounds.due(&before), Round::Endless(vec!["build.log".to_owned()]));
        // A save begins anew.
        let mut saved = before;
        saved.extend(files(&[("main.go", "2")]));
        assert_eq!(rounds.due(&saved), Round::Due);
        rounds.done(&saved, at("2", "again"));
        assert_eq!(rounds.due(&at("2", "again")), Round::Due);
    }

    #[test]
    fn saves_while_builds_run_are_no_loop() {
        let mut rounds = Rounds::default();
        let mut before = files(&[("a.go", "0"), ("b.go", "0")]);
        for (round, path) in ["a.go", "b.go", "a.go", "b.go", "a.go"].into_iter().enumerate() {
            assert!(!matches!(rounds.due(&before), Round::Endless(_)), "{round}");
            let mut after = before.clone();
            after.extend(files(&[(path, &format!("saved {round}"))]));
            rounds.done(&before, after.clone());
            before = after;
        }
    }

    #[test]
    fn a_new_log_each_time_is_a_loop_too() {
        let mut rounds = Rounds::default();
        let mut before = files(&[("main.go", "1")]);
        for number in 1..=3 {
            let mut after = before.clone();
            after.extend(files(&[(&format!("log/{number}.txt"), "x")]));
            rounds.done(&before, after.clone());
            before = after;
        }
        assert_eq!(rounds.due(&before), Round::Endless(vec!["log/3.txt".to_owned()]));
    }

    #[test]
    fn the_same_by_products_are_no_reason() {
        let mut rounds = Rounds::default();
        let before = files(&[("main.go", "1")]);
        let after = files(&[("main.go", "1"), ("version", "1")]);
        rounds.done(&before, after.clone());
        rounds.done(&after, after.clone());
        assert_eq!(rounds.due(&after), Round::Due);
    }
}
