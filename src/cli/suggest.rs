//! "Did you mean": the one place that compares what was typed with the names that exist.

use crate::failure::{Failure, Family, Plain};

/// Below this similarity (Jaro, 0 to 1) a name is not what was meant.
const CLOSE: f64 = 0.7;

/// The known name nearest to the typed one, if it is near enough to be meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro(typed, name), name))
        .filter(|(similarity, _)| *similarity >= CLOSE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The failure for a name that does not exist. `kind` is `service`, `profile` and so on; `list` the command that lists them.
pub fn unknown(kind: &str, typed: &str, known: &[&str], list: &str) -> Failure {
    let hint = match nearest(typed, known.iter().copied()) {
        Some(name) => format!("did you mean '{name}'? `{list}` lists them all"),
        None => format!("`{list}` lists them all"),
    };
    Plain::new(Family::Usage, format!("there is no {kind} '{typed}'"))
        .with_hint(hint)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_near() {
        let known = ["agent-engine", "rag-engine", "voice-engine"];
        assert_eq!(nearest("agent-engin", known), Some("agent-engine"));
        assert_eq!(nearest("rag", known), Some("rag-engine"));
        assert_eq!(nearest("zzz", known), None);
    }
}
