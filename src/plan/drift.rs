//! What differs between an object as rendered and as it lives in the cluster.

use serde_json::Value;

use crate::render::object::{is_empty, paired};

/// Every place where the live object is not what was rendered, for people: `spec.replicas 1 → 2`. Fields that only the live
/// object has are others' business (defaults, status, controllers) and no drift.
pub fn drift(desired: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", desired, live, &mut found);
    found
}

/// Under this name vadev applies.
pub const APPLIER: &str = "vadev";

/// Every place that vadev applied last time and does not render any more, for people: `data.FOO not wanted any more`. The
/// API server keeps account of who applied which field, so others' fields are never among them.
pub fn dropped(desired: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let applied = entry["manager"] == APPLIER
            && entry["operation"] == "Apply"
            && entry["subresource"].as_str().unwrap_or_default().is_empty()
            // In another version the same fields may have other names.
            && entry["apiVersion"] == desired["apiVersion"];
        if applied {
            owned("", &entry["fieldsV1"], desired, Some(live), &mut found);
        }
    }
    found
}

/// Walks down a tree of fields: `f:name` is a field, `k:{…}` an entry of a list by its keys, `v:…` one by its value, `.` the
/// place itself. A list that is a field as a whole is its applier's with every entry.
fn owned(path: &str, fields: &Value, desired: &Value, live: Option<&Value>, found: &mut Vec<String>) {
    let fields = fields.as_object();
    if fields.is_some_and(serde_json::Map::is_empty)
        && let (Some(wanted), Some(there)) = (desired.as_array(), live.and_then(Value::as_array))
        && there.len() > wanted.len()
        && paired(there, wanted).is_some()
    {
        found.push(format!("{path} {} entries → {}", there.len(), wanted.len()));
    }
    for (step, below) in fields.into_iter().flatten() {
        let Some((sort, text)) = step.split_once(':') else {
            continue;
        };
        let (path, place, live) = match sort {
            "f" => (
                join(path, text),
                desired.get(text),
                live.and_then(|live| live.get(text)),
            ),
            "k" => {
                let keys: Value = serde_json::from_str(text).unwrap_or_default();
                let live = live.and_then(|live| entry(live, &keys));
                (format!("{path}[{}]", shown(&keys)), entry(desired, &keys), live)
            }
            "v" => {
                let value: Value = serde_json::from_str(text).unwrap_or_default();
                let items = desired.as_array();
                let item = items.and_then(|items| items.iter().find(|item| **item == value));
                (format!("{path}[{}]", brief(&value)), item, None)
            }
            _ => continue,
        };
        match place {
            Some(place) => owned(&path, below, place, live, found),
            None => found.push(format!("{path} not wanted any more")),
        }
    }
}

/// The entry of a list with these keys. One that it leaves out has its default value.
fn entry<'a>(list: &'a Value, keys: &Value) -> Option<&'a Value> {
    let keys = keys.as_object()?;
    let has = |item: &&Value| {
        keys.iter()
            .all(|(key, value)| item.get(key).is_none_or(|there| same(value, there)))
    };
    list.as_array()?.iter().find(has)
}

/// The first key's value: enough to know an entry by.
fn shown(keys: &Value) -> String {
    let first = keys.as_object().and_then(|keys| keys.values().next());
    first.map(brief).unwrap_or_default()
}

fn compare(path: &str, desired: &Value, live: &Value, found: &mut Vec<String>) {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => {
            for (key, wanted) in desired {
                let path = join(path, key);
                match live.get(key) {
                    Some(value) => compare(&path, wanted, value, found),
                    // The API server drops empty values.
                    None if is_empty(wanted) => {}
                    None => found.push(format!("{path} is missing")),
                }
            }
        }
        (Value::Array(desired), Value::Array(live)) => lists(path, desired, live, found),
        (desired, live) if same(desired, live) => {}
        (desired, live) => found.push(format!("{path} {} → {}", brief(live), brief(desired))),
    }
}

/// Lists of named things are compared by name, others place by place. What is mounted is known by where: several files of one
/// volume have one name.
fn lists(path: &str, desired: &[Value], live: &[Value], found: &mut Vec<String>) {
    if let Some(pairs) = paired(live, desired) {
        for (name, item, wanted) in pairs {
            let path = format!("{path}[{name}]");
            match (item, wanted) {
                (Some(item), Some(wanted)) => compare(&path, wanted, item, found),
                (None, _) => found.push(format!("{path} is missing")),
                // Others' business.
                (_, None) => {}
            }
        }
    } else if desired.len() == live.len() {
        for (index, (wanted, item)) in desired.iter().zip(live).enumerate() {
            compare(&format!("{path}[{index}]"), wanted, item, found);
        }
    } else {
        found.push(format!("{path} {} entries → {}", live.len(), desired.len()));
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// `false`, `0` and `""` are what the API server leaves out of some fields; a number and its text are one quantity.
fn same(desired: &Value, live: &Value) -> bool {
    desired == live || text(desired).is_some_and(|wanted| text(live) == Some(wanted))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Values in a message are cut: a whole pod template helps nobody, and a Secret's data must not be shown.
fn brief(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(_) | Value::Array(_) => "…".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() > 60 {
        text.chars().take(57).chain("…".chars()).collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_files_of_one_volume_are_told_apart() {
        let mount = |path: &str, key: &str| json!({ "name": "files", "mountPath": path, "subPath": key });
        let desired = json!({ "volumeMounts": [mount("/etc/a", "a"), mount("/etc/b", "b")] });
        let live = json!({ "volumeMounts": [mount("/etc/b", "b"), mount("/etc/a", "a")] });
        assert!(drift(&desired, &live).is_empty(), "{:?}", drift(&desired, &live));
        let other = json!({ "volumeMounts": [mount("/etc/a", "c"), mount("/etc/b", "b")] });
        assert_eq!(drift(&desired, &other), ["volumeMounts[/etc/a].subPath c → a"]);
    }

    #[test]
    fn a_list_that_is_owned_as_a_whole_has_no_entries_of_others() {
        let route = |name: &str| json!({ "name": name });
        let object = |names: &[&str], fields: Value| {
            let routes: Vec<Value> = names.iter().map(|name| route(name)).collect();
            let entry = json!({ "manager": APPLIER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": { "f:spec": fields } });
            json!({ "apiVersion": "v1", "metadata": { "managedFields": [entry] }, "spec": { "http": routes } })
        };
        let whole = json!({ "f:http": {} });
        let live = object(&["cart", "chat"], whole.clone());
        let desired = object(&["chat"], whole.clone());
        assert!(drift(&desired, &live).is_empty());
        assert_eq!(dropped(&desired, &live), ["spec.http 2 entries → 1"]);
        assert!(dropped(&live, &live).is_empty());
        // Where entries have owners, what others have added is theirs.
        let by_entry = json!({ "f:http": { "k:{\"name\":\"chat\"}": { ".": {}, "f:name": {} } } });
        assert!(dropped(&desired, &object(&["cart", "chat"], by_entry)).is_empty());
    }

    #[test]
    fn what_was_applied_and_is_not_rendered_any_more_is_named() {
        assert_eq!(APPLIER, crate::k8s::MANAGER);
        let applied = json!({
            "f:metadata": { "f:labels": { "f:app": {} } },
            "f:data": { ".": {}, "f:FOO": {}, "f:LEVEL": {} },
            "f:spec": {
                "f:containers": { "k:{\"name\":\"a\"}": {
                    ".": {}, "f:name": {},
                    "f:env": { "k:{\"name\":\"OLD\"}": { ".": {}, "f:name": {}, "f:value": {} } },
                    "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
                } },
                "f:finalizers": { "v:\"x\"": {}, "v:\"y\"": {} },
            },
        });
        let entry = |manager: &str, operation: &str, fields: Value| json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields });
        let live = json!({ "metadata": { "managedFields": [
            entry(APPLIER, "Apply", applied),
            entry(APPLIER, "Update", json!({ "f:data": { "f:BY_HAND": {} } })),
            entry("kubectl", "Apply", json!({ "f:data": { "f:THEIRS": {} } })),
        ] } });
        let container =
            json!({ "name": "a", "env": [{ "name": "NEW" }], "ports": [{ "containerPort": 80 }] });
        let desired = json!({
            "apiVersion": "v1",
            "metadata": { "labels": { "app": "a" } },
            "data": { "LEVEL": "info" },
            "spec": { "containers": [container], "finalizers": ["x"] },
        });
        assert_eq!(
            dropped(&desired, &live),
            [
                "data.FOO not wanted any more",
                "spec.containers[a].env[OLD] not wanted any more",
                "spec.finalizers[y] not wanted any more",
            ]
        );
        let other_version = json!({ "apiVersion": "v2" });
        assert!(dropped(&other_version, &live).is_empty());
    }

    #[test]
    fn only_what_was_rendered_counts() {
        let desired = json!({ "spec": { "replicas": 2, "template": { "containers": [{ "name": "a", "image": "x:1" }] } } });
        let live = json!({
            "metadata": { "uid": "1" },
            "spec": { "replicas": 1, "paused": false, "template": { "containers": [{ "name": "istio-proxy" }, { "name": "a", "image": "x:2", "pull": "Always" }] } },
        });
        assert_eq!(
            drift(&desired, &live),
            [
                "spec.replicas 1 → 2",
                "spec.template.containers[a].image x:2 → x:1"
            ]
        );
    }

    #[test]
    fn what_the_api_server_leaves_out_is_no_drift() {
        assert!(
            drift(
                &json!({ "a": [], "e": "", "b": {}, "c": { "d": null } }),
                &json!({})
            )
            .is_empty()
        );
        assert!(drift(&json!({ "port": "80" }), &json!({ "port": 80 })).is_empty());
    }

    #[test]
    fn removals_are_named() {
        let desired = json!({ "env": [{ "name": "A", "value": "1" }], "args": ["x", "y"], "label": "l" });
        let live = json!({ "env": [{ "name": "B", "value": "1" }], "args": ["x"] });
        assert_eq!(
            drift(&desired, &live),
            ["env[A] is missing", "args 1 entries → 2", "label is missing"]
        );
    }
}
