//! What is different between two versions of an object, in words that fit into a step's cause.

use serde_json::Value;

use crate::render::object::paired;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldChange {
    /// For instance `spec.replicas` or `spec.template.spec.containers[app].image`.
    pub path: String,
    /// Compact JSON before; `None` where it was absent.
    pub from: Option<String>,
    /// Compact JSON after; `None` where it is removed.
    pub to: Option<String>,
}

impl std::fmt::Display for FieldChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "{} {} → {}", self.path, short(from), short(to)),
            (None, Some(to)) => write!(f, "{} + {}", self.path, short(to)),
            (Some(from), None) => write!(f, "{} − {}", self.path, short(from)),
            (None, None) => f.write_str(&self.path),
        }
    }
}

fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// Fields that servers and controllers write by themselves; differences there are not anybody's intent.
const BOOKKEEPING: &[&str] = &[
    "status",
    "metadata.resourceVersion",
    "metadata.uid",
    "metadata.generation",
    "metadata.creationTimestamp",
    "metadata.managedFields",
    "metadata.selfLink",
    "metadata.annotations.deployment.kubernetes.io/revision",
];

/// Differences from `before` to `after` outside the servers' own bookkeeping. Lists whose entries have a `name` are
/// matched by it, so that an inserted container is not told as a change of all that follow. A Secret's values are
/// never shown.
pub fn differences(before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    walk("", before, after, &mut found);
    // Whatever order the two were written in.
    found.sort_by(|a, b| a.path.cmp(&b.path));
    if after.get("kind").or(before.get("kind")).and_then(Value::as_str) == Some("Secret") {
        for change in &mut found {
            if change.path.starts_with("data") || change.path.starts_with("stringData") {
                change.from = change.from.take().map(|_| "(hidden)".to_owned());
                change.to = change.to.take().map(|_| "(hidden)".to_owned());
            }
        }
    }
    found
}

fn walk(path: &str, before: &Value, after: &Value, found: &mut Vec<FieldChange>) {
    if before == after || BOOKKEEPING.contains(&path) {
        return;
    }
    match (before, after) {
        (Value::Object(b), Value::Object(a)) => {
            for (key, value) in b {
                pair(&join(path, key), Some(value), a.get(key), found);
            }
            for (key, value) in a.iter().filter(|(key, _)| !b.contains_key(*key)) {
                pair(&join(path, key), None, Some(value), found);
            }
        }
        (Value::Array(b), Value::Array(a)) if !b.is_empty() && !a.is_empty() => match paired(b, a) {
            Some(pairs) => {
                for (name, item, other) in pairs {
                    pair(&format!("{path}[{name}]"), item, other, found);
                }
            }
            None => whole(path, before, after, found),
        },
        (b, a) => whole(path, b, a, found),
    }
}

fn whole(path: &str, before: &Value, after: &Value, found: &mut Vec<FieldChange>) {
    found.push(FieldChange {
        path: path.to_owned(),
        from: Some(compact(before)),
        to: Some(compact(after)),
    });
}

fn pair(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<FieldChange>) {
    if BOOKKEEPING.contains(&path) {
        return;
    }
    match (before, after) {
        (Some(b), Some(a)) => walk(path, b, a, found),
        (b, a) => found.push(FieldChange {
            path: path.to_owned(),
            from: b.map(compact),
            to: a.map(compact),
        }),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn compact(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lines(before: &Value, after: &Value) -> Vec<String> {
        differences(before, after)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn drift_is_told_by_path() {
        let before = json!({"spec": {"replicas": 1, "paused": true}, "metadata": {"resourceVersion": "1"}});
        let after = json!({"spec": {"replicas": 2}, "metadata": {"resourceVersion": "2"}});
        assert_eq!(
            lines(&before, &after),
            ["spec.paused − true", "spec.replicas 1 → 2"]
        );
    }

    #[test]
    fn containers_are_matched_by_name() {
        let before = json!({"c": [{"name": "app", "image": "a:1"}]});
        let after = json!({"c": [{"name": "init"}, {"name": "app", "image": "a:2"}]});
        assert_eq!(
            lines(&before, &after),
            ["c[app].image a:1 → a:2", r#"c[init] + {"name":"init"}"#]
        );
    }

    #[test]
    fn secrets_stay_secret() {
        let before = json!({"kind": "Secret", "data": {"password": "b2xk"}});
        let after = json!({"kind": "Secret", "data": {"password": "bmV3"}});
        assert_eq!(lines(&before, &after), ["data.password (hidden) → (hidden)"]);
    }

    #[test]
    fn status_and_bookkeeping_are_nobodys_intent() {
        let before = json!({"status": {"a": 1}, "metadata": {"generation": 1}});
        let after = json!({"status": {"a": 2}, "metadata": {"generation": 2}});
        assert!(differences(&before, &after).is_empty());
    }
}
