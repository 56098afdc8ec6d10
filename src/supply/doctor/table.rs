//! The doctor's report as text for a terminal.

use super::report::{Check, Report, Severity, State};
use std::fmt::Write as _;
use unicode_width::UnicodeWidthStr as _;

/// One line a check, the hint below what has to be mended, and a last line that counts up. Widths are those of the
/// terminal, so that wide characters align. `colour` adds ANSI colours to the marks.
pub fn table(report: &Report, colour: bool) -> String {
    let width = report
        .checks
        .iter()
        .map(|check| check.title.width())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for check in &report.checks {
        let pad = " ".repeat(width - check.title.width());
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{} {}{pad}  {}",
            mark(check, colour),
            check.title,
            check.value
        );
        if let (Some(hint), State::Problem) = (&check.hint, check.state) {
            let fix = if check.fixable {
                "  (or: vadev doctor --fix)"
            } else {
                ""
            };
            let _ = writeln!(text, "  {:width$}  → {hint}{fix}", "");
        }
    }
    let _ = writeln!(text, "\n{}", summary(report));
    text
}

fn mark(check: &Check, colour: bool) -> String {
    let (sign, code) = match (check.state, check.severity) {
        (State::Ok, _) => ("✔", 32),
        (State::Unknown, _) => ("?", 33),
        (State::Problem, Severity::Error) => ("✘", 31),
        (State::Problem, Severity::Warning) => ("!", 33),
        (State::Problem, Severity::Info) => ("·", 36),
    };
    if colour {
        format!("\u{1b}[{code}m{sign}\u{1b}[0m")
    } else {
        sign.to_owned()
    }
}

fn summary(report: &Report) -> String {
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let checks = plural(report.checks.len(), "check");
    let verdict = match (report.errors, report.warnings) {
        (0, 0) => "all well".to_owned(),
        (0, warnings) => plural(warnings, "warning"),
        (errors, 0) => plural(errors, "error"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    };
    format!("{checks} in {:.1} s: {verdict}", report.seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_like_this() {
        let checks = vec![
            Check::ok("cpus", "CPUs", "8"),
            Check::ok("watches", "inotify watches", "8192, 524288 needed")
                .problem(Severity::Warning, "sysctl -w x")
                .fixable(),
            Check::ok("engine", "引擎", "stopped").problem(Severity::Error, "start it"),
            Check::ok("hub", "Docker Hub", "not reachable").problem(Severity::Info, "no matter"),
            Check::ok("mem", "Memory", "no /proc").unknown(),
        ];
        let text = table(&Report::new(checks, 0.25), false);
        let expected = "\
✔ CPUs             8
! inotify watches  8192, 524288 needed
                   → sysctl -w x  (or: vadev doctor --fix)
✘ 引擎             stopped
                   → start it
· Docker Hub       not reachable
                   → no matter
? Memory           no /proc

5 checks in 0.2 s: 1 error, 1 warning
";
        assert_eq!(text, expected);
    }

    #[test]
    fn colour_touches_the_marks_only() {
        let report = Report::new(vec![Check::ok("a", "A", "1")], 1.0);
        assert!(table(&report, true).starts_with("\u{1b}[32m✔\u{1b}[0m A  1\n"));
        assert!(table(&report, true).ends_with("1 check in 1.0 s: all well\n"));
    }
}
