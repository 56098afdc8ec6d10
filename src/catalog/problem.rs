//! What is wrong in a YAML file, where, and what was probably meant. One type for the catalog, profiles and `vadev.yaml`.

use std::fmt;

use crate::failure::{Diagnose, Family};

/// One problem in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file's name, as given to the loader.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters the offending text has on that line; at least 1.
    pub width: usize,
    /// The whole line of the file.
    pub source: String,
    /// What is wrong, one line.
    pub message: String,
    /// What was probably meant, or what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl Problem {
    /// The offending text itself.
    pub fn offending(&self) -> String {
        self.source
            .chars()
            .skip(self.column - 1)
            .take(self.width)
            .collect()
    }

    /// The problem as a compiler would show it, in plain lines.
    pub fn lines(&self) -> Vec<String> {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (source, indent) = self.part();
        let mut lines = vec![
            format!("error: {}", harmless(&self.message)),
            format!("{margin}--> {}:{}:{}", self.file, self.line, self.column),
            format!("{margin} |"),
            format!("{number} | {source}"),
            format!("{margin} | {indent}{}", "^".repeat(self.caret_width())),
        ];
        if let Some(suggestion) = &self.suggestion {
            lines.push(format!("{margin} = help: {}", harmless(suggestion)));
        }
        lines
    }

    /// The line, or of a long one the part around the offending text; and what stands before the caret: as wide on a
    /// terminal as the text above it, tabs kept.
    fn part(&self) -> (String, String) {
        let from = if self.source.chars().count() > LONGEST {
            self.column.saturating_sub(1 + LONGEST / 4)
        } else {
            0
        };
        let mut source: String = self.source.chars().skip(from).take(LONGEST).collect();
        if self.source.chars().count() > from + LONGEST {
            source.push('…');
        }
        let before = self.source.chars().take(self.column - 1).skip(from);
        let mut indent: String = before
            .map(|c| match c {
                '\t' => "\t".to_owned(),
                c => " ".repeat(unicode_width::UnicodeWidthChar::width(c).unwrap_or(1)),
            })
            .collect();
        if from > 0 {
            source.insert(0, '…');
            indent.insert(0, ' ');
        }
        (harmless(&source), indent)
    }

    fn caret_width(&self) -> usize {
        unicode_width::UnicodeWidthStr::width(self.offending().as_str()).clamp(1, LONGEST)
    }
}

/// So much of a line is shown.
const LONGEST: usize = 160;

/// What a file says must not steer a terminal.
fn harmless(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

/// Every problem of a set of files, sorted by place. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `None` where there is no problem.
    pub fn of(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then(|| Self::some(problems))
    }
    /// There is no mesh entry among the files of a catalog.
    pub fn missing_mesh() -> Self {
        Self(vec![Problem {
            file: "catalog".to_owned(),
            line: 1,
            column: 1,
            width: 1,
            source: String::new(),
            message: "the catalog has no entry of kind Mesh".to_owned(),
            suggestion: Some("add mesh/istio.yaml".to_owned()),
        }])
    }
    /// Problems of which at least one is known to be there.
    pub fn some(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }
    /// The problems, sorted by file, line and column.
    pub fn all(&self) -> &[Problem] {
        &self.0
    }
    fn files(&self) -> usize {
        let mut files: Vec<&str> = self.0.iter().map(|problem| problem.file.as_str()).collect();
        files.dedup();
        files.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_slice(), self.files()) {
            ([only], _) => {
                let message = harmless(&only.message);
                write!(f, "{}:{}:{}: {message}", only.file, only.line, only.column)
            }
            (many, 1) => write!(f, "{} problems in {}", many.len(), many[0].file),
            (many, files) => write!(f, "{} problems in {files} files", many.len()),
        }
    }
}

impl std::error::Error for Problems {}

impl Diagnose for Problems {
    fn hint(&self) -> Option<String> {
        Some(
            "correct the file; `vadev schema` prints what an editor needs to check it while you type"
                .to_owned(),
        )
    }
    fn family(&self) -> Family {
        Family::Usage
    }
    fn details(&self) -> Vec<String> {
        self.0
            .iter()
            .flat_map(|problem| problem.lines().into_iter().chain([String::new()]))
            .collect()
    }
}

/// The candidate most like a misspelt name, where one is like it.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&wanted, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_and_control_characters_shown() {
        let mut problem = Problem {
            file: "x".to_owned(),
            line: 1,
            column: 5001,
            width: 3,
            source: "a".repeat(5000) + "b\u{1b}c" + &"d".repeat(5000),
            message: "no \u{1b}[31mred".to_owned(),
            suggestion: None,
        };
        let lines = problem.lines();
        assert_eq!(lines[0], "error: no \u{fffd}[31mred");
        assert!(
            lines[3].starts_with("1 | …aaa") && lines[3].ends_with("ddd…"),
            "{lines:?}"
        );
        let caret = lines[4].find('^').expect("a caret");
        assert_eq!(
            lines[3].chars().skip(caret).take(3).collect::<String>(),
            "b\u{fffd}c"
        );
        problem.source = "short".to_owned();
        problem.column = 2;
        assert_eq!(problem.lines()[3..], ["1 | short", "  |  ^^^"]);
    }
}
