//! What `promote` tells people.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::promote::{Applied, Written, is_manifest};
use crate::failure::{Failure, Family, Plain};
use crate::promote::Target;
use crate::promote::check::{Finding, Severity};
use crate::promote::diff::{Change, Difference, Explanation, Field};
use crate::report::{Palette, Table};

/// Fields of one object that are listed unless all are asked for.
const FEW: usize = 4;

/// All of a report.
pub fn text(
    findings: &[Finding],
    found: Option<&[Difference]>,
    written: Option<&Written>,
    applied: Option<&Applied>,
    notes: &[String],
    wide: bool,
    palette: Palette,
) -> String {
    let mut lines: Vec<String> = findings
        .iter()
        .map(|finding| coloured(finding, palette))
        .collect();
    if let Some(found) = found {
        lines.push(differences(found, wide, palette).trim_end().to_owned());
        return lines.join("\n") + "\n";
    }
    if let Some(applied) = applied {
        lines.push(format!(
            "{}: {} objects created, {} changed, {} as they were",
            applied.context, applied.created, applied.changed, applied.unchanged
        ));
        let passed = applied.verify.iter().map(|verify| verify.checks.len());
        lines.extend(passed.map(|count| format!("{count} checks passed")));
        if !applied.stay.is_empty() {
            lines.push(format!(
                "the tree has no {}: they stay, and `kubectl --context {} delete` takes them away",
                applied.stay.join(", "),
                applied.context
            ));
        }
        return lines.join("\n") + "\n";
    }
    if let Some(written) = written {
        lines.push(format!(
            "{}: {} files written, {} as they were",
            written.folder.display(),
            written.written.len(),
            written.unchanged
        ));
        let removed = written.removed.iter();
        lines.extend(removed.map(|name| format!("removed {name}, which an earlier promotion wrote")));
        let foreign = written.foreign.iter();
        lines.extend(foreign.map(|name| {
            let too = if is_manifest(name) {
                ", and which `kubectl apply -R` applies too"
            } else {
                ""
            };
            format!("left alone: {name}, which is not vadev's{too}")
        }));
    }
    if findings.is_empty() {
        lines.push("nothing that must not reach production".to_owned());
    }
    if wide {
        lines.extend(notes.iter().cloned());
    }
    lines.join("\n") + "\n"
}

/// What `promote -o json` prints.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Of a folder that is checked neither this nor the next two are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The folder that was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// What the target lacks and the tree leaves out, and what was raised to fit.
    pub notes: Vec<String>,
    pub ok: bool,
    pub findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differences: Option<Vec<Difference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
}

/// Whether the tree must not go anywhere.
pub fn refused(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// How a check ends.
pub fn verdict(findings: &[Finding]) -> Result<(), Failure> {
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    match errors.count() {
        0 => Ok(()),
        errors => Err(Plain::new(Family::Unhealthy, must_not(errors))
            .with_hint("each line above names its remedy")
            .into()),
    }
}

fn must_not(errors: usize) -> String {
    let things = if errors == 1 { "thing" } else { "things" };
    format!("{errors} {things} must not reach production")
}

pub fn refusal(findings: &[Finding]) -> Failure {
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(line)
        .collect();
    let hint = if errors.len() > 1 {
        "vadev promote --check lists them again; each line names its remedy"
    } else {
        "the line above names its remedy"
    };
    Plain::new(
        Family::Refused,
        format!("{}; nothing was written", must_not(errors.len())),
    )
    .with_details(errors)
    .with_hint(hint)
    .into()
}

/// One finding on one line.
pub fn line(finding: &Finding) -> String {
    format!(
        "{}: {}: {}: {} ({}); {}",
        finding.file, finding.object, finding.field, finding.problem, finding.rule, finding.remedy
    )
}

fn coloured(finding: &Finding, palette: Palette) -> String {
    match finding.severity {
        Severity::Error => format!("{} {}", palette.red("error"), line(finding)),
        Severity::Warning => format!("{} {}", palette.yellow("warning"), line(finding)),
    }
}

/// The semantic differences, with a count by reason.
pub fn differences(found: &[Difference], wide: bool, palette: Palette) -> String {
    if found.is_empty() {
        return "no difference\n".to_owned();
    }
    let explained = found.iter().any(|one| one.explanation.is_some());
    let heads: &[&str] = if explained {
        &["object", "change", "why", "field"]
    } else {
        &["object", "change", "field"]
    };
    let mut table = Table::new(heads.iter().copied());
    for difference in found {
        let (change, fields) = match difference.change {
            Change::Added => (palette.green("added"), Vec::new()),
            Change::Removed => (palette.red("removed"), Vec::new()),
            Change::Changed => (palette.yellow("changed"), listed(&difference.fields, wide)),
        };
        let first = fields.first().cloned().unwrap_or_default();
        let mut cells = vec![difference.object.clone(), change];
        cells.extend(
            difference
                .explanation
                .map(|explanation| why(explanation, palette)),
        );
        cells.push(first);
        let empty = cells.len() - 1;
        table.row(cells);
        for field in fields.iter().skip(1) {
            let before = std::iter::repeat_n(String::new(), empty);
            table.row(before.chain([field.clone()]));
        }
    }
    if !explained {
        return format!("{}{} objects differ\n", table.render(palette), found.len());
    }
    let count = |explanation| {
        let same = found.iter().filter(|one| one.explanation == Some(explanation));
        same.count()
    };
    format!(
        "{}{} objects differ: {} by size, {} by environment, {} by neither\n",
        table.render(palette),
        found.len(),
        count(Explanation::Sizing),
        count(Explanation::Environment),
        count(Explanation::Drift)
    )
}

fn why(explanation: Explanation, palette: Palette) -> String {
    match explanation {
        Explanation::Drift => palette.red(explanation.word()),
        other => other.word().to_owned(),
    }
}

/// What nothing explains comes first.
fn listed(fields: &[Field], wide: bool) -> Vec<String> {
    let mut fields: Vec<&Field> = fields.iter().collect();
    fields.sort_by_key(|field| std::cmp::Reverse(field.explanation));
    let shown = if wide { fields.len() } else { FEW };
    let mut lines: Vec<String> = fields.iter().take(shown).map(|field| one(field)).collect();
    if fields.len() > shown {
        lines.push(format!("and {} more (-o wide)", fields.len() - shown));
    }
    lines
}

fn one(field: &Field) -> String {
    let short = |text: &Option<String>| -> String {
        let text = text.as_deref().unwrap_or("nothing").replace('\n', " ");
        if text.chars().count() <= 60 {
            text
        } else {
            text.chars().take(59).chain(['…']).collect()
        }
    };
    let why = field
        .explanation
        .map(|explanation| format!(" ({})", explanation.word()));
    format!(
        "{} {} → {}{}",
        field.path,
        short(&field.from),
        short(&field.to),
        why.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_explains_comes_first() {
        let field = |path: &str, explanation| Field {
            path: path.into(),
            from: Some("a".into()),
            to: None,
            explanation: Some(explanation),
        };
        let found = [Difference {
            object: "Deployment/a in n".into(),
            change: Change::Changed,
            explanation: Some(Explanation::Drift),
            fields: vec![
                field("spec.replicas", Explanation::Sizing),
                field("spec.x", Explanation::Drift),
            ],
        }];
        let text = differences(&found, false, Palette::new(false));
        assert!(text.contains("drift  spec.x a → nothing (drift)"), "{text}");
        assert!(
            text.contains("1 objects differ: 0 by size, 0 by environment, 1 by neither"),
            "{text}"
        );
    }
}
