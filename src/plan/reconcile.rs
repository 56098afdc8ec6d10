//! Objects wanted against objects there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

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

/// What to apply, in the order of `desired`, and what to remove. `scaled` are workloads whose replicas an autoscaler decides.
pub fn reconcile(
    desired: &[Object],
    live: &BTreeMap<ObjectId, Value>,
    scaled: &BTreeSet<ObjectId>,
    prune: bool,
) -> (Vec<Change>, Vec<ObjectId>) {
    let changes = desired.iter().filter_map(|object| {
        let live = live.get(&object.id());
        let object = match live {
            Some(live) if scaled.contains(&object.id()) => as_scaled(object, live),
            _ => Cow::Borrowed(object),
        };
        let cause = match live {
            None => "missing".to_owned(),
            Some(value) => named(&object, value)?,
        };
        Some(Change {
            object: object.into_owned(),
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

/// The workload with as many replicas as it has: the autoscaler would undo any other number within seconds. They are stated all
/// the same, because a number that is applied no more falls back to one. At 0 an autoscaler rests, so 0 is a person's wish, and
/// so is the end of it.
fn as_scaled<'a>(object: &'a Object, live: &Value) -> Cow<'a, Object> {
    let replicas = |value: &Value| value["spec"]["replicas"].as_u64().filter(|number| *number > 0);
    let (Some(_), Some(now)) = (replicas(object.value()), replicas(live)) else {
        return Cow::Borrowed(object);
    };
    let mut object = object.clone();
    object.value_mut()["spec"]["replicas"] = json!(now);
    Cow::Owned(object)
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
