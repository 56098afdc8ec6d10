//! The connectivity matrix as tables.

use crate::engine::{ANYBODY, MeshReport, Pair, Verdict, WITH_TOKEN};
use crate::failure::{Failure, Family, Plain};
use crate::report::{Palette, Table};

/// Callers down, callees across, numbered; one line a pair when `wide`.
pub fn table(report: &MeshReport, wide: bool, palette: Palette) -> String {
    if wide {
        pairs(report, palette)
    } else {
        square(report, palette)
    }
}

/// A failure where a pair is not as expected.
pub fn failed(report: &MeshReport) -> Result<(), Failure> {
    if report.ok {
        return Ok(());
    }
    let wrong: Vec<String> = report.pairs.iter().filter(|pair| !pair.ok).map(line).collect();
    let message = format!(
        "{} of {} pairs are not as the catalog says",
        wrong.len(),
        report.pairs.len()
    );
    Err(Plain::new(Family::Unhealthy, message)
        .with_details(wrong)
        .with_hint("vadev up mends policies that have drifted; vadev status shows what does not run")
        .into())
}

fn line(pair: &Pair) -> String {
    format!(
        "{} → {}: {} expected, {} ({})",
        pair.from,
        pair.to,
        pair.expected.word(),
        pair.measured.word(),
        pair.detail
    )
}

fn pairs(report: &MeshReport, palette: Palette) -> String {
    let mut table = Table::new(["from", "to", "expected", "measured", "detail"]);
    for pair in &report.pairs {
        table.row([
            pair.from.clone(),
            pair.to.clone(),
            pair.expected.word().to_owned(),
            coloured(pair, pair.measured.word(), palette),
            pair.detail.clone(),
        ]);
    }
    table.render(palette) + &summary(report)
}

fn coloured(pair: &Pair, text: &str, palette: Palette) -> String {
    if !pair.ok {
        palette.red(text)
    } else if pair.measured == Verdict::Unknown {
        palette.yellow(text)
    } else {
        palette.green(text)
    }
}

fn square(report: &MeshReport, palette: Palette) -> String {
    let mut columns: Vec<&str> = report.pairs.iter().map(|pair| pair.to.as_str()).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut rows = columns.clone();
    rows.extend([ANYBODY, WITH_TOKEN]);
    let mut header = vec!["#".to_owned(), "from \\ to".to_owned()];
    header.extend((1..=columns.len()).map(|number| number.to_string()));
    let mut table = Table::new(header);
    for (index, caller) in rows.iter().enumerate() {
        let number = if index < columns.len() {
            (index + 1).to_string()
        } else {
            String::new()
        };
        let mut row = vec![number, (*caller).to_owned()];
        row.extend(columns.iter().map(|callee| {
            let found = report
                .pairs
                .iter()
                .find(|pair| pair.from == *caller && pair.to == *callee);
            found.map_or_else(String::new, |pair| coloured(pair, sign(pair), palette))
        }));
        table.row(row);
    }
    let legend = "yes: allowed, -: denied, ?: not measured, !: not as the catalog says\n";
    table.render(palette) + legend + &summary(report)
}

fn sign(pair: &Pair) -> &'static str {
    match pair.measured {
        _ if !pair.ok => "!",
        Verdict::Allowed => "yes",
        Verdict::Denied => "-",
        Verdict::Broken => "!",
        Verdict::Unknown => "?",
    }
}

fn summary(report: &MeshReport) -> String {
    let count = |verdict| {
        report
            .pairs
            .iter()
            .filter(|pair| pair.measured == verdict)
            .count()
    };
    let wrong = report.pairs.iter().filter(|pair| !pair.ok).count();
    format!(
        "{} pairs: {} allowed, {} denied, {} not measured, {wrong} not as expected\n",
        report.pairs.len(),
        count(Verdict::Allowed),
        count(Verdict::Denied),
        count(Verdict::Unknown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(from: &str, to: &str, expected: Verdict, measured: Verdict) -> Pair {
        Pair {
            from: from.into(),
            to: to.into(),
            expected,
            measured,
            ok: expected == measured,
            detail: "200".into(),
        }
    }

    #[test]
    fn a_wrong_pair_stands_out_and_fails() {
        let report = MeshReport {
            ok: false,
            pairs: vec![
                pair("a", "b", Verdict::Allowed, Verdict::Allowed),
                pair("b", "a", Verdict::Denied, Verdict::Allowed),
                pair(ANYBODY, "a", Verdict::Denied, Verdict::Denied),
            ],
        };
        let text = table(&report, false, Palette::new(false));
        assert!(text.contains("yes") && text.contains('!'), "{text}");
        let details = failed(&report).expect_err("wrong").details();
        assert_eq!(details, ["b → a: denied expected, allowed (200)"]);
    }
}
