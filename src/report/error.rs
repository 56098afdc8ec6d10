//! How a failure is told: what, why, the next command; or the same as one JSON object.

use serde::Serialize;

use super::color::Palette;
use crate::failure::{Diagnose, Family};

/// A failure as `-o json` prints it on stderr, inside `{"error": …}`. A stable format.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    family: Family,
    exit_code: u8,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// The whole document.
#[derive(Debug, Serialize)]
struct Document<'a> {
    error: Record<'a>,
}

/// The errors below this one whose text the message does not already tell.
fn causes(failure: &dyn Diagnose) -> Vec<String> {
    let mut told = failure.to_string();
    let mut causes = Vec::new();
    let mut next = failure.source();
    while let Some(error) = next {
        let text = error.to_string();
        if !text.is_empty() && !told.contains(&text) {
            told.push_str(&text);
            causes.push(text);
        }
        next = error.source();
    }
    causes
}

/// The lines for a person, ended by a newline.
pub fn text(failure: &dyn Diagnose, palette: Palette) -> String {
    let label = if failure.family() == Family::Interrupted {
        palette.yellow("interrupted:")
    } else {
        palette.red("error:")
    };
    let mut lines = vec![format!("{label} {failure}")];
    lines.extend(
        causes(failure)
            .iter()
            .map(|cause| format!("  {} {cause}", palette.dim("because:"))),
    );
    lines.extend(
        failure
            .details()
            .iter()
            .map(|detail| format!("  {detail}").trim_end().to_owned()),
    );
    lines.extend(
        failure
            .hint()
            .map(|hint| format!("{} {hint}", palette.cyan("hint:"))),
    );
    lines.join("\n") + "\n"
}

/// One JSON object on one line, ended by a newline.
pub fn json(failure: &dyn Diagnose) -> String {
    let error = Record {
        family: failure.family(),
        exit_code: failure.family().exit_code(),
        message: &failure.to_string(),
        causes: causes(failure),
        details: failure.details(),
        hint: failure.hint(),
    };
    // Texts and a number only: it can't fail, and if it did the text would still be there.
    serde_json::to_string(&Document { error }).unwrap_or_else(|_| failure.to_string()) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Plain;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read vadev.yaml")]
    struct Reading(#[source] std::io::Error);

    impl Diagnose for Reading {
        fn family(&self) -> Family {
            Family::Internal
        }
    }

    #[test]
    fn says_what_why_and_next() {
        let failure = Plain::new(Family::Timeout, "postgres is not ready after 300 s")
            .with_details(vec!["0/1 nodes available".into()])
            .with_hint("vadev status postgres");
        assert_eq!(
            text(&failure, Palette::new(false)),
            "error: postgres is not ready after 300 s\n  0/1 nodes available\nhint: vadev status postgres\n"
        );
        assert_eq!(
            json(&failure),
            "{\"error\":{\"family\":\"timeout\",\"exitCode\":7,\"message\":\"postgres is not ready after 300 s\",\
             \"details\":[\"0/1 nodes available\"],\"hint\":\"vadev status postgres\"}}\n"
        );
    }

    #[test]
    fn names_the_cause_once() {
        let failure = Reading(std::io::Error::other("disk on fire"));
        let shown = text(&failure, Palette::new(false));
        assert_eq!(shown, "error: cannot read vadev.yaml\n  because: disk on fire\n");
    }
}
