//! What was checked, and what was found.

use serde::Serialize;

use super::ingress::Answer;
use crate::report::Step;

/// The result of all checks.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// Whether every check passed.
    pub ok: bool,
    /// One entry a check.
    pub checks: Vec<CheckResult>,
}

/// The result of one check.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// `object`, `workload`, `ingress` or `dependencies`.
    pub group: &'static str,
    /// What was checked.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl VerifyReport {
    pub(super) fn told(checks: Vec<CheckResult>, step: Step) -> Self {
        let failed = checks.iter().filter(|check| !check.ok).count();
        let all = checks.len();
        if failed == 0 {
            step.done(format!("{all} checks passed"));
        } else {
            step.finish(
                crate::report::Outcome::Failed,
                format!("{failed} of {all} checks failed"),
            );
        }
        Self {
            ok: failed == 0,
            checks,
        }
    }

    /// What failed, one line each.
    pub fn failures(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| !check.ok);
        failed
            .map(|check| format!("{} {}: {}", check.group, check.name, check.detail))
            .collect()
    }
}

impl CheckResult {
    /// Of an HTTP answer, which is to be 200.
    pub(super) fn of(group: &'static str, name: String, answer: &Answer) -> Self {
        let detail = match answer.status {
            Some(200) => "200".to_owned(),
            Some(status) => format!("{status}: {}", answer.body.trim()),
            None => answer.body.clone(),
        };
        Self {
            group,
            name,
            ok: answer.status == Some(200),
            detail,
        }
    }
}
