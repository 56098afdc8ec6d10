//! Label selectors as objects hold them: what they take, and how a list is asked for by them.

use serde_json::Value;

/// Whether a label selector takes these labels.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    let exact = exact.into_iter().all(|(key, value)| labels[key] == *value);
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    exact
        && expressions.into_iter().all(|expression| {
            let has = &labels[expression["key"].as_str().unwrap_or_default()];
            let among = expression["values"]
                .as_array()
                .is_some_and(|values| values.contains(has));
            match expression["operator"].as_str().unwrap_or_default() {
                "In" => among,
                "NotIn" => !among,
                "Exists" => !has.is_null(),
                "DoesNotExist" => has.is_null(),
                _ => false,
            }
        })
}

/// A label selector in the form that lists are asked with; empty for one that takes everything.
pub fn selector_text(selector: &Value) -> String {
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    let exact = exact.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    let expressions = expressions.filter_map(|expression| {
        let key = expression["key"].as_str()?;
        let values = expression["values"].as_array().into_iter().flatten();
        let values = values.filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        Some(match expression["operator"].as_str()? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        })
    });
    exact.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expressions_count_as_labels_do() {
        let selector = json!({
            "matchLabels": {"app": "a"},
            "matchExpressions": [
                {"key": "track", "operator": "In", "values": ["stable", "canary"]},
                {"key": "tier", "operator": "NotIn", "values": ["x"]},
                {"key": "version", "operator": "Exists"},
                {"key": "retired", "operator": "DoesNotExist"},
            ],
        });
        assert_eq!(
            selector_text(&selector),
            "app=a,track in (stable,canary),tier notin (x),version,!retired"
        );
        assert!(selects(
            &selector,
            &json!({"app": "a", "track": "canary", "version": "1"})
        ));
        assert!(!selects(
            &selector,
            &json!({"app": "a", "track": "beta", "version": "1"})
        ));
        assert!(!selects(
            &selector,
            &json!({"app": "a", "track": "stable", "version": "1", "retired": ""})
        ));
        assert_eq!(selector_text(&json!({})), "");
    }
}
