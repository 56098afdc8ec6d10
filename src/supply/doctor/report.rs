//! What the doctor found, as data. `-o json` prints it as it is.

/// How much it matters when a check finds a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; nothing stops.
    Info,
    /// It works, but badly, or will stop working.
    Warning,
    /// `vadev up` cannot succeed.
    Error,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not as it should be; the severity says how bad that is.
    Problem,
    /// It could not be found out.
    Unknown,
}

/// One check and its result.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Stable name, for scripts: `inotify-watches`.
    pub id: String,
    /// What was looked at, for people.
    pub title: String,
    /// How much a problem matters.
    pub severity: Severity,
    /// The result.
    pub state: State,
    /// What was measured, with what is needed where that is not met.
    pub value: String,
    /// The command or action that mends it.
    pub hint: Option<String>,
    /// Whether `vadev doctor --fix` mends it.
    pub fixable: bool,
}

impl Check {
    /// A check whose result is as it should be.
    pub fn ok(id: impl Into<String>, title: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            severity: Severity::Info,
            state: State::Ok,
            value: value.into(),
            hint: None,
            fixable: false,
        }
    }
    /// Turns it into a problem.
    #[must_use]
    pub fn problem(mut self, severity: Severity, hint: impl Into<String>) -> Self {
        self.severity = severity;
        self.state = State::Problem;
        self.hint = Some(hint.into());
        self
    }
    /// Turns it into an open question.
    #[must_use]
    pub fn unknown(mut self) -> Self {
        self.state = State::Unknown;
        self
    }
    /// Marks a problem as one that `--fix` mends.
    #[must_use]
    pub fn fixable(mut self) -> Self {
        self.fixable = true;
        self
    }
    /// Whether something has to be done, and how urgent it is.
    pub fn trouble(&self) -> Option<Severity> {
        (self.state == State::Problem).then_some(self.severity)
    }
}

/// All checks of one run.
#[derive(Debug, Clone, PartialEq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether no check found an error; warnings do not count.
    pub healthy: bool,
    /// Problems with the severity error.
    pub errors: usize,
    /// Problems with the severity warning.
    pub warnings: usize,
    /// Wall-clock seconds for all checks.
    pub seconds: f64,
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Counts the checks up.
    pub fn new(checks: Vec<Check>, seconds: f64) -> Self {
        let count = |severity| {
            checks
                .iter()
                .filter(|check| check.trouble() == Some(severity))
                .count()
        };
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        Self {
            healthy: errors == 0,
            errors,
            warnings,
            seconds,
            checks,
        }
    }
    /// The check of that name.
    pub fn check(&self, id: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_make_ill() {
        let ok = || Check::ok("a", "A", "1");
        let report = Report::new(
            vec![ok(), ok().problem(Severity::Warning, "do"), ok().unknown()],
            0.1,
        );
        assert!(report.healthy);
        assert_eq!((report.errors, report.warnings), (0, 1));
        let report = Report::new(
            vec![
                ok().problem(Severity::Error, "do"),
                ok().problem(Severity::Info, "do"),
            ],
            0.1,
        );
        assert!(!report.healthy);
        let json = serde_json::to_value(&report.checks[0]).unwrap();
        assert_eq!(
            (json["severity"].as_str(), json["state"].as_str()),
            (Some("error"), Some("problem"))
        );
    }
}
