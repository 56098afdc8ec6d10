//! Objects wanted against objects there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::drift::{drift, dropped};
use crate::render::develop;
use crate::render::object::{COMPONENT, Object, ObjectId};

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
    let here: BTreeSet<&str> = desired.iter().map(Object::component).collect();
    // A part of the profile leaves the rest alone, but for what development left of its own services.
    let leftover = |value: &Value| {
        let labels = &value["metadata"]["labels"];
        labels[develop::DEVELOPMENT].is_string()
            && labels[COMPONENT].as_str().is_some_and(|one| here.contains(one))
    };
    let gone = live
        .iter()
        .filter(|(id, value)| !wanted.contains(id) && (prune || leftover(value)))
        .map(|(id, _)| id.clone())
        .collect();
    (changes.collect(), gone)
}

/// The first two differences; a Secret's values are never named.
fn named(object: &Object, live: &Value) -> Option<String> {
    // What only the live object has is others' business, but for the parts that development put there.
    if develop::ended(object, live) {
        return Some("development ended".to_owned());
    }
    let mut differences = drift(object.value(), live);
    differences.extend(dropped(object.value(), live));
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
