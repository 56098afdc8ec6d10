//! Deterministic YAML: keys in the order Kubernetes people expect, the same text for the same value on every machine.

use serde_json::{Map, Value};
use serde_saphyr::SerializerOptions;

use super::Object;

/// How YAML is written: a long text, such as an image with its digest, stays on its line, where people and `grep` find it.
pub fn options() -> SerializerOptions {
    serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX }
}

/// Keys that come first, in this order, wherever they stand; all others follow by name.
const FIRST: [&str; 5] = ["apiVersion", "kind", "metadata", "name", "namespace"];

/// One YAML stream of all objects, `---` between them.
///
/// # Errors
/// Only if a value cannot be written as YAML, which no rendered object is.
pub fn documents(objects: &[Object]) -> Result<String, serde_saphyr::ser::Error> {
    let ordered: Vec<Value> = objects.iter().map(|object| ordered(object.value())).collect();
    serde_saphyr::to_string_multiple_with_options(&ordered, options())
}

/// As [`documents`], of objects that are values already.
///
/// # Errors
/// See [`documents`].
pub fn values(objects: &[Value]) -> Result<String, serde_saphyr::ser::Error> {
    let ordered: Vec<Value> = objects.iter().map(ordered).collect();
    serde_saphyr::to_string_multiple_with_options(&ordered, options())
}

/// One value as one document.
///
/// # Errors
/// See [`documents`].
pub fn document(value: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string_with_options(&ordered(value), options())
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
