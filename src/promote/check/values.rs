//! Rules about values: passwords and keys that stand there, and settings of development.

use serde_json::Value;

use super::{Known, Place, looks, pods, secret};

/// Beginning of keys that switch vadev's own programs.
const OWN: &str = "VADEV_";
/// What opens a Java process to a debugger, in arguments and in variables like `JAVA_TOOL_OPTIONS`.
const JAVA_DEBUGGERS: [&str; 2] = ["-agentlib:jdwp", "-Xrunjdwp"];
/// The remedy for every secret.
const DECLARE: &str = "declare it under `secrets` in the catalog, which refers to a Secret";
/// The remedy for every setting of development.
const TAKE_OUT: &str =
    "take it out of vadev.yaml, or state production's under `overrides` in the environment file";

pub(super) fn check(place: &mut Place<'_>, known: &Known) {
    let object = place.object;
    texts(place, known);
    if place.kind() == "ConfigMap" {
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            setting(place, &format!("data.{key}"), key, value);
        }
    }
    let Some((pod_path, pod)) = pods::spec(object) else {
        return;
    };
    for list in ["initContainers", "containers"] {
        for container in pod[list].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or("?");
            let path = format!("{pod_path}.{list}[{name}]");
            for variable in container["env"].as_array().into_iter().flatten() {
                let (Some(key), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) else {
                    continue;
                };
                setting(place, &format!("{path}.env[{key}]"), key, value);
            }
            for field in ["command", "args"] {
                let words = container[field].as_array().into_iter().flatten();
                let words: Vec<&str> = words.filter_map(Value::as_str).collect();
                command(place, &format!("{path}.{field}"), &words);
            }
        }
    }
}

fn stated(place: &mut Place<'_>, field: impl Into<String>) {
    place.refuse(
        "password-in-tree",
        field,
        "a password or key stands in the tree",
        DECLARE,
    );
}

/// Passwords that a program is started with, and switches that make it talk.
fn command(place: &mut Place<'_>, field: &str, words: &[&str]) {
    for (index, word) in words.iter().enumerate() {
        for (_, key) in secret::stated(word) {
            stated(place, format!("{field}[{index}], {key}"));
        }
    }
    if let Some(flag) = secret::in_command(words.iter().copied()) {
        stated(place, format!("{field}, {flag}"));
    }
    let single: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
    for (at, word) in single.iter().enumerate() {
        let (flag, value) = word.split_once('=').unwrap_or((word, ""));
        let name = flag
            .trim_start_matches('-')
            .replace(['-', '.', '_'], "")
            .to_lowercase();
        let value = if value.is_empty() {
            single.get(at + 1).copied().unwrap_or_default()
        } else {
            value
        };
        let level = flag.starts_with('-') && name == "loglevel" && talks(value);
        if level || *word == "--debug" || *word == "--debug=true" {
            place.refuse(
                "debug-setting",
                field,
                format!("`{word}` is a setting of development"),
                "take it out of the catalog",
            );
        }
    }
}

/// Whether a level of logging is for development.
fn talks(level: &str) -> bool {
    matches!(
        level.trim().to_lowercase().as_str(),
        "debug" | "trace" | "all" | "verbose"
    )
}

/// Whether a switch's value is that it is off.
fn is_off(value: &str) -> bool {
    matches!(
        value.trim().to_lowercase().as_str(),
        "" | "0" | "false" | "f" | "no" | "n" | "off" | "none" | "null" | "disabled"
    )
}

fn setting(place: &mut Place<'_>, field: &str, key: &str, value: &str) {
    let upper = key.to_uppercase();
    if secret::is_secret_key(key) {
        if secret::is_value_of(key, value) {
            stated(place, field);
        }
    } else if secret::is_suspect(key, value) {
        stated(place, field);
    } else {
        // A file, or a connection's settings in one line.
        let several = value.trim_end().contains('\n');
        for (line, key) in secret::stated(value) {
            let line = if several {
                format!(", line {line}")
            } else {
                String::new()
            };
            stated(place, format!("{field}{line}, {key}"));
        }
    }
    if upper.starts_with(OWN) {
        place.refuse(
            "development-setting",
            field,
            format!("`{key}` is a switch of vadev's own programs"),
            "remove it from vadev.yaml",
        );
    }
    let lower = value.to_lowercase();
    let debugs = match upper.as_str() {
        "RUST_LOG" | "LOG" => lower.split([',', '=']).any(talks),
        // Its other settings are about compatibility.
        "GODEBUG" => lower.split(',').any(|one| {
            let (name, value) = one.split_once('=').unwrap_or((one, "0"));
            (name.ends_with("trace") || name.ends_with("debug")) && !is_off(value)
        }),
        "NODE_OPTIONS" => lower.contains("--inspect"),
        name if names_environment(name) => {
            let mut names = lower.split(',').map(str::trim);
            names.any(|one| matches!(one, "debug" | "dev" | "development" | "local" | "test"))
        }
        // Some programs read a pattern there, of which parts are to talk.
        name if name == "DEBUG" || name.ends_with("_DEBUG") => !is_off(&lower),
        name if name.starts_with("DEBUG_") => matches!(lower.as_str(), "1" | "true" | "yes" | "on" | "*"),
        name if ["LOG_LEVEL", "LOGLEVEL", "LOGGING_LEVEL"]
            .iter()
            .any(|end| name.ends_with(end))
            || name.starts_with("LOGGING_LEVEL_") =>
        {
            talks(value)
        }
        _ => false,
    };
    if debugs {
        place.refuse(
            "debug-setting",
            field,
            format!("`{key}: {value}` is a setting of development"),
            TAKE_OUT,
        );
    }
}

/// Whether a variable says which environment a program runs in.
fn names_environment(upper: &str) -> bool {
    matches!(
        upper,
        "GIN_MODE" | "MODE" | "ENV" | "ENVIRONMENT" | "SPRING_PROFILES_ACTIVE" | "QUARKUS_PROFILE"
    ) || upper.ends_with("_ENV")
        || upper == "PROFILE"
        || upper.ends_with("_PROFILE")
        || upper.ends_with("_ENVIRONMENT")
}

/// Looks at every text, wherever it stands.
fn texts(place: &mut Place<'_>, known: &Known) {
    let mut found = Vec::new();
    walk("", place.object, &mut |path, text| {
        // Short values would be found in texts that have nothing to do with them.
        let development = known
            .development_secrets
            .iter()
            .any(|secret| secret.len() >= 12 && text.contains(secret.as_str()));
        if text.contains("-----BEGIN") && text.contains("PRIVATE KEY") {
            found.push((
                path.to_owned(),
                "private-key",
                "a private key stands in the tree",
                DECLARE,
            ));
        } else if development {
            let problem = "a password that this machine made for development stands in the tree";
            found.push((path.to_owned(), "development-password", problem, DECLARE));
        } else if secret::has_url_with_password(text) {
            let problem = "a password stands in an address";
            found.push((path.to_owned(), "password-in-tree", problem, DECLARE));
        } else if looks::has_credentials(text) {
            let problem = "a token, a login or a private key stands in the tree";
            found.push((path.to_owned(), "password-in-tree", problem, DECLARE));
        }
        if JAVA_DEBUGGERS.iter().any(|agent| text.contains(agent)) {
            let problem = "the process would be open to a debugger";
            found.push((path.to_owned(), "debug-setting", problem, TAKE_OUT));
        }
    });
    for (path, rule, problem, remedy) in found {
        place.refuse(rule, path, problem, remedy);
    }
}

fn walk(path: &str, value: &Value, seen: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => seen(path, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{path}[{index}]"), item, seen);
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(&path, item, seen);
            }
        }
        _ => {}
    }
}
