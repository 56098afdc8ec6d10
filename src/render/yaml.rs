//! Deterministic YAML: keys in the order Kubernetes people expect, the same text for the same value on every machine.

use serde_json::{Map, Value};

use super::Object;

/// Keys that come first, in this order, wherever they stand; all others follow by name.
const FIRST: [&str; 5] = ["apiVersion", "kind", "metadata", "name", "namespace"];

/// One YAML stream of all objects, `---` between them.
///
/// # Errors
/// Only if a value cannot be written as YAML, which no rendered object is.
pub fn documents(objects: &[Object]) -> Result<String, serde_saphyr::ser::Error> {
    let ordered: Vec<Value> = objects.iter().map(|object| ordered(object.value())).collect();
    serde_saphyr::to_string_multiple(&ordered)
}

/// As [`documents`], of objects that are values already.
///
/// # Errors
/// See [`documents`].
pub fn values(objects: &[Value]) -> Result<String, serde_saphyr::ser::Error> {
    let ordered: Vec<Value> = objects.iter().map(ordered).collect();
    serde_saphyr::to_string_multiple(&ordered)
}

/// One value as one document.
///
/// # Errors
/// See [`documents`].
pub fn document(value: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&ordered(value))
}

fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by_key(|key| {
                (
                    FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()),
                    key.as_str(),
                )
            });
            Value::Object(
                keys.into_iter()
                    .map(|key| (key.clone(), ordered(&map[key])))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(ordered).collect()),
        other => other.clone(),
    }
}
