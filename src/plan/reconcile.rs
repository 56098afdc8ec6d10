//! Objects wanted against objects there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::drift::drift;
use crate::render::object::{Object, ObjectId};

/// An object that must be applied, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What to apply.
    pub object: Object,
    /// `missing`, or what drifted.
    pub cause: String,
}

/// What to apply, in the order of `desired`, and what to remove. `keep` are components that this run leaves alone
/// (`--only`, `--skip-infra`): theirs are neither applied nor pruned.
pub fn reconcile(
    desired: &[Object],
    live: &BTreeMap<ObjectId, Value>,
    prune: bool,
) -> (Vec<Change>, Vec<ObjectId>) {
    let changes = desired.iter().filter_map(|object| {
        let cause = match live.get(&object.id()) {
            None => "missing".to_owned(),
            Some(value) => named(object, value)?,
        };
        Some(Change {
            object: object.clone(),
            cause,
        })
    });
    let wanted: BTreeSet<ObjectId> = desired.iter().map(Object::id).collect();
    let gone = if prune {
        live.keys().filter(|id| !wanted.contains(id)).cloned().collect()
    } else {
        Vec::new()
    };
    (changes.collect(), gone)
}

/// The first two differences; a Secret's values are never named.
fn named(object: &Object, live: &Value) -> Option<String> {
    let differences = drift(object.value(), live);
    if differences.is_empty() {
        return None;
    }
    if object.id().kind == "Secret" {
        return Some("drifted: data".to_owned());
    }
    let more = if differences.len() > 2 {
        format!(" and {} more", differences.len() - 2)
    } else {
        String::new()
    };
    Some(format!(
        "drifted: {}{more}",
        differences.iter().take(2).cloned().collect::<Vec<_>>().join(", ")
    ))
}
