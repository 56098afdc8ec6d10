//! Rules about values: passwords and keys that stand there, and settings of development.

use serde_json::Value;

use super::{Known, Place};

/// Words in a key that say its value is to be kept secret. An object store's `ACCESS_KEY` is the name of a user; the key that
/// is secret says so.
const SECRET_WORDS: [&str; 6] = [
    "PASSWORD",
    "PASSWD",
    "SECRET",
    "PRIVATE_KEY",
    "API_KEY",
    "CREDENTIAL",
];
/// Beginning of keys that switch vadev's own programs.
const OWN: &str = "VADEV_";

pub(super) fn check(place: &mut Place<'_>, known: &Known) {
    let object = place.object;
    texts(place, known);
    if place.kind() == "ConfigMap" {
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            setting(
                place,
                &format!("data.{key}"),
                key,
                value.as_str().unwrap_or_default(),
            );
        }
    }
    let pod = &object["spec"]["template"]["spec"];
    for list in ["initContainers", "containers"] {
        for container in pod[list].as_array().into_iter().flatten() {
            let name = container["name"].as_str().unwrap_or("?");
            for variable in container["env"].as_array().into_iter().flatten() {
                let (Some(key), Some(value)) = (variable["name"].as_str(), variable["value"].as_str()) else {
                    continue;
                };
                let field = format!("spec.template.spec.{list}[{name}].env[{key}]");
                setting(place, &field, key, value);
            }
        }
    }
}

fn setting(place: &mut Place<'_>, field: &str, key: &str, value: &str) {
    let upper = key.to_uppercase();
    // A reference to a variable is no value.
    let stated = !value.is_empty() && !value.starts_with("$(");
    let secret = SECRET_WORDS.iter().any(|word| upper.contains(word))
        && !upper.ends_with("_FILE")
        && !upper.ends_with("_PATH");
    if secret && stated {
        place.refuse(
            "password-in-tree",
            field,
            "a password or key stands in the tree",
            "declare it under `secrets` in the catalog, which refers to a Secret",
        );
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
        "DEBUG" => matches!(lower.as_str(), "1" | "true" | "yes" | "on" | "*"),
        "GIN_MODE" | "FLASK_ENV" | "NODE_ENV" | "APP_ENV" | "ENVIRONMENT" | "ENV" => {
            matches!(lower.as_str(), "debug" | "dev" | "development" | "local" | "test")
        }
        name if name.ends_with("LOG_LEVEL") || name.ends_with("LOGLEVEL") => {
            matches!(lower.as_str(), "debug" | "trace" | "all")
        }
        _ => false,
    };
    if debugs {
        place.refuse(
            "debug-setting",
            field,
            format!("`{key}: {value}` is a setting of development"),
            "take it out of vadev.yaml, or state production's under `overrides` in the environment file",
        );
    }
}

/// Looks at every text, wherever it stands.
fn texts(place: &mut Place<'_>, known: &Known) {
    let mut found = Vec::new();
    walk("", place.object, &mut |path, text| {
        let private_key = text.contains("-----BEGIN") && text.contains("PRIVATE KEY-----");
        // Short values would be found in texts that have nothing to do with them.
        let development = known
            .development_secrets
            .iter()
            .any(|secret| secret.len() >= 12 && text.contains(secret.as_str()));
        if private_key || development {
            found.push((path.to_owned(), private_key));
        }
    });
    for (path, private_key) in found {
        let (rule, problem) = if private_key {
            ("private-key", "a private key stands in the tree")
        } else {
            (
                "development-password",
                "a password that this machine made for development stands in the tree",
            )
        };
        place.refuse(
            rule,
            path,
            problem,
            "declare it under `secrets` in the catalog, which refers to a Secret",
        );
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
