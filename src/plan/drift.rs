//! What differs between an object as rendered and as it lives in the cluster.

use serde_json::Value;

use crate::render::object::is_empty;

/// Every place where the live object is not what was rendered, for people: `spec.replicas 1 → 2`. Fields that only the live
/// object has are others' business (defaults, status, controllers) and no drift.
pub fn drift(desired: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", desired, live, &mut found);
    found
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
                    None => found.push(format!("{path} removed")),
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
    let names_all = |key: &&str| {
        let mut items = desired.iter().chain(live);
        !desired.is_empty() && items.all(|item| item.get(*key).is_some_and(Value::is_string))
    };
    if let Some(key) = ["mountPath", "name"].into_iter().find(|key| names_all(key)) {
        for wanted in desired {
            let name = wanted[key].as_str().unwrap_or_default();
            let path = format!("{path}[{name}]");
            match live.iter().find(|item| item[key] == wanted[key]) {
                Some(item) => compare(&path, wanted, item, found),
                None => found.push(format!("{path} removed")),
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
            ["env[A] removed", "args 1 entries → 2", "label removed"]
        );
    }
}
