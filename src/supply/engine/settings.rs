//! Docker's `daemon.json`: adding the runtime wrapper to what the user has there. Pure.

use serde_json::{Map, Value, json};

/// The runtime's name in `daemon.json`.
pub const RUNTIME: &str = "vadev";

/// Where the engine reads its settings on Linux.
pub const PATH: &str = "/etc/docker/daemon.json";

/// Why the settings cannot be merged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It does not parse.
    #[error("it is not valid JSON: {0}")]
    Syntax(String),
    /// The document, or `runtimes` in it, is something else.
    #[error("{0} is not an object")]
    NotAnObject(&'static str),
    /// The user chose another runtime as the default; vadev does not take its place.
    #[error("`default-runtime` is already set to `{0}`")]
    OtherDefault(String),
}

/// The settings with the wrapper at `wrapper` registered and made the default; everything else stays. `None` if nothing has
/// to change. `current` is empty where there is no file yet.
pub fn with_wrapper(current: &str, wrapper: &str) -> Result<Option<String>, MergeError> {
    let mut settings = parse(current)?;
    let before = settings.clone();
    match settings.get("default-runtime").and_then(Value::as_str) {
        None | Some("" | "runc" | RUNTIME) => {}
        Some(other) => return Err(MergeError::OtherDefault(other.to_owned())),
    }
    let runtimes = settings.entry("runtimes").or_insert_with(|| json!({}));
    let runtimes = runtimes
        .as_object_mut()
        .ok_or(MergeError::NotAnObject("`runtimes`"))?;
    runtimes.insert(RUNTIME.to_owned(), json!({ "path": wrapper }));
    settings.insert("default-runtime".to_owned(), json!(RUNTIME));
    Ok((settings != before).then(|| format!("{:#}\n", Value::Object(settings))))
}

/// The wrapper's path in the settings, if vadev registered one.
pub fn registered_wrapper(current: &str) -> Option<String> {
    let settings = parse(current).ok()?;
    settings
        .get("runtimes")?
        .get(RUNTIME)?
        .get("path")?
        .as_str()
        .map(str::to_owned)
}

fn parse(text: &str) -> Result<Map<String, Value>, MergeError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text).map_err(|e| MergeError::Syntax(e.to_string()))? {
        Value::Object(map) => Ok(map),
        _ => Err(MergeError::NotAnObject("the document")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(current: &str) -> Value {
        serde_json::from_str(&with_wrapper(current, "/w").unwrap().unwrap()).unwrap()
    }

    #[test]
    fn starts_a_file_and_then_leaves_it() {
        let text = with_wrapper("", "/w").unwrap().unwrap();
        assert_eq!(registered_wrapper(&text).as_deref(), Some("/w"));
        assert_eq!(with_wrapper(&text, "/w").unwrap(), None);
    }

    #[test]
    fn keeps_what_the_user_has() {
        let got = merged(
            r#"{"registry-mirrors": ["https://m"], "runtimes": {"kata": {"path": "/k"}}, "default-runtime": "runc"}"#,
        );
        assert_eq!(
            got,
            json!({"registry-mirrors": ["https://m"], "default-runtime": "vadev",
                   "runtimes": {"kata": {"path": "/k"}, "vadev": {"path": "/w"}}})
        );
    }

    #[test]
    fn replaces_an_older_path_of_its_own() {
        let got = merged(
            r#"{"runtimes": {"vadev": {"path": "/old", "runtimeArgs": ["x"]}}, "default-runtime": "vadev"}"#,
        );
        assert_eq!(got["runtimes"]["vadev"], json!({"path": "/w"}));
    }

    #[test]
    fn refuses_rather_than_guesses() {
        assert_eq!(
            with_wrapper(r#"{"default-runtime": "kata"}"#, "/w"),
            Err(MergeError::OtherDefault("kata".into()))
        );
        assert_eq!(
            with_wrapper("[]", "/w"),
            Err(MergeError::NotAnObject("the document"))
        );
        assert_eq!(
            with_wrapper(r#"{"runtimes": 3}"#, "/w"),
            Err(MergeError::NotAnObject("`runtimes`"))
        );
        assert!(matches!(with_wrapper("{", "/w"), Err(MergeError::Syntax(_))));
        assert_eq!(registered_wrapper("{"), None);
    }
}
