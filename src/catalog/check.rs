//! Checks a tree against the JSON Schema of a Rust type, and collects every problem instead of the first. It knows the part
//! of JSON Schema that `schemars` writes for this crate's types, and nine formats: `dns-label`, `absolute-path`, `url-path`,
//! `cpu`, `memory`, `image`, `image-repository`, `image-tag`, and for keys `config-key`.

use serde_json::Value as Json;

use super::problem::{Problem, nearest};
use super::quantity::{Bytes, MilliCpu};
use super::text::{
    CONFIG_KEY, IMAGE, as_label, is_config_key, is_dns_label, is_image, is_image_repository, is_image_tag,
    is_url_path,
};
use super::tree::{Node, Place, Source, Value};

/// Every way in which `root` is not what `schema` says.
pub fn check(source: &Source<'_>, root: &Node, schema: &Json) -> Vec<Problem> {
    let mut checker = Checker {
        source,
        definitions: &schema["$defs"],
        problems: Vec::new(),
    };
    checker.node(root, schema, "the file");
    checker.problems
}

struct Checker<'a> {
    source: &'a Source<'a>,
    definitions: &'a Json,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    fn report(&mut self, place: Place, message: String, suggestion: Option<String>) {
        self.problems
            .push(self.source.problem(place, message, suggestion));
    }

    fn resolve(&self, schema: &'a Json) -> &'a Json {
        let name = schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|path| path.strip_prefix("#/$defs/"));
        name.and_then(|name| self.definitions.get(name))
            .map_or(schema, |target| self.resolve(target))
    }

    /// `name` is how the node is called in messages.
    fn node(&mut self, node: &Node, schema: &'a Json, name: &str) {
        let schema = self.resolve(schema);
        for keyword in ["anyOf", "oneOf"] {
            if let Some(alternatives) = schema.get(keyword).and_then(Json::as_array) {
                self.alternatives(node, alternatives, name);
                return;
            }
        }
        let allowed = words(schema);
        if !allowed.is_empty() {
            self.word(node, &allowed, name);
            return;
        }
        if !has_type(node, schema) {
            self.wrong_type(node, schema, name);
            return;
        }
        match &node.value {
            Value::Map(_) => self.map(node, schema, name),
            Value::List(items) => {
                if let Some(least) = schema.get("minItems").and_then(Json::as_u64)
                    && (items.len() as u64) < least
                {
                    self.report(node.place, format!("{name} needs at least {least} item"), None);
                }
                for (index, item) in items.iter().enumerate() {
                    self.node(item, &schema["items"], &format!("item {} of {name}", index + 1));
                }
            }
            Value::Integer(number) => {
                if self.bounds(node, *number, schema, name) {
                    self.format(node, &self.written(node), schema, name);
                }
            }
            Value::Float(_) => self.format(node, &self.written(node), schema, name),
            Value::Text(text) => self.format(node, text, schema, name),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn wrong_type(&mut self, node: &Node, schema: &Json, name: &str) {
        let types = types(schema);
        let found = match &node.value {
            Value::Integer(_) | Value::Float(_) => format!("the number {}", self.written(node)),
            value => describe(value),
        };
        let help = match &node.value {
            Value::Null => Some("give it a value, or take the line away"),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) if types == ["string"] => {
                Some("put it between double quotes")
            }
            Value::Text(text) if types.contains(&"integer") && text.parse::<u64>().is_ok() => {
                Some("leave the quotes away")
            }
            Value::Text(text) if types.contains(&"boolean") => match text.as_str() {
                "yes" | "on" | "y" => Some("write true"),
                "no" | "off" | "n" => Some("write false"),
                _ => None,
            },
            _ => None,
        };
        let message = format!("{name} must be {}, and is {found}", expectation(schema));
        self.report(node.place, message, help.map(str::to_owned));
    }

    /// A node as it stands in the file.
    fn written(&self, node: &Node) -> String {
        self.source.problem(node.place, "", None).offending()
    }

    fn map(&mut self, node: &Node, schema: &'a Json, name: &str) {
        let Value::Map(entries) = &node.value else { return };
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else {
            let inner = schema
                .get("additionalProperties")
                .filter(|inner| inner.is_object());
            let is_config = schema["propertyNames"]["format"] == "config-key";
            for (key, value) in entries {
                if is_config && !is_config_key(&key.name) {
                    self.report(key.place, format!("`{}` {CONFIG_KEY}", key.name), None);
                }
                if let Some(inner) = inner {
                    self.node(value, inner, &format!("`{}`", key.name));
                }
            }
            return;
        };
        for (key, value) in entries {
            if let Some(inner) = properties.get(&key.name) {
                self.node(value, inner, &format!("`{}`", key.name));
            } else {
                let unused = properties
                    .keys()
                    .map(String::as_str)
                    .filter(|known| node.get(known).is_none());
                let help = nearest(&key.name, unused).map(|known| format!("did you mean `{known}`?"));
                let known: Vec<&str> = properties.keys().map(String::as_str).collect();
                let help = help.unwrap_or_else(|| format!("known fields: {}", known.join(", ")));
                self.report(key.place, format!("unknown field `{}`", key.name), Some(help));
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for field in required.into_iter().flatten().filter_map(Json::as_str) {
            if node.get(field).is_none() {
                self.report(
                    node.place,
                    format!("{name} lacks the field `{field}`"),
                    about(properties.get(field)),
                );
            }
        }
    }

    fn alternatives(&mut self, node: &Node, alternatives: &'a [Json], name: &str) {
        let resolved: Vec<&'a Json> = alternatives
            .iter()
            .map(|alternative| self.resolve(alternative))
            .collect();
        let is_null = |schema: &Json| schema["type"] == "null";
        if node.value == Value::Null && resolved.iter().any(|schema| is_null(schema)) {
            return;
        }
        let rest: Vec<&'a Json> = resolved.into_iter().filter(|schema| !is_null(schema)).collect();
        let allowed: Vec<&str> = rest.iter().flat_map(|schema| words(schema)).collect();
        let only_words = rest.iter().all(|schema| !words(schema).is_empty());
        if only_words {
            self.word(node, &allowed, name);
            return;
        }
        let mut best: Option<Vec<Problem>> = None;
        for schema in &rest {
            let mut trial = Checker {
                source: self.source,
                definitions: self.definitions,
                problems: Vec::new(),
            };
            trial.node(node, schema, name);
            if trial.problems.is_empty() {
                return;
            }
            // An alternative of the right type whose fields are wrong says more than one of another type.
            let comparable =
                has_type(node, schema) && (words(schema).is_empty() || matches!(node.value, Value::Text(_)));
            if comparable && best.as_ref().is_none_or(|best| trial.problems.len() < best.len()) {
                best = Some(trial.problems);
            }
        }
        if let Some(problems) = best {
            self.problems.extend(problems);
            return;
        }
        let expected: Vec<String> = rest.iter().map(|schema| expectation(schema)).collect();
        let message = format!(
            "{name} must be {}, and is {}",
            expected.join(" or "),
            describe(&node.value)
        );
        self.report(node.place, message, None);
    }

    fn word(&mut self, node: &Node, allowed: &[&str], name: &str) {
        let Value::Text(text) = &node.value else {
            let message = format!(
                "{name} must be one of {}, and is {}",
                allowed.join(", "),
                describe(&node.value)
            );
            return self.report(node.place, message, None);
        };
        if allowed.contains(&text.as_str()) {
            return;
        }
        let help = nearest(text, allowed.iter().copied()).map(|known| format!("did you mean `{known}`?"));
        let message = match allowed {
            [only] => format!("{name} must be `{only}`, and is `{text}`"),
            _ => format!("{name} must be one of {}, and is `{text}`", allowed.join(", ")),
        };
        self.report(node.place, message, help);
    }

    /// Whether the number is within them.
    fn bounds(&mut self, node: &Node, number: i128, schema: &Json, name: &str) -> bool {
        let before = self.problems.len();
        let bound = |keyword: &str| schema.get(keyword).and_then(Json::as_f64);
        #[allow(clippy::cast_precision_loss)] // Bounds are far below 2^53.
        let value = number as f64;
        if let Some(least) = bound("minimum").filter(|least| value < *least) {
            self.report(
                node.place,
                format!("{name} is {}, and must be at least {least}", self.written(node)),
                None,
            );
        }
        let by_format = match schema.get("format").and_then(Json::as_str) {
            Some("uint16") => Some(f64::from(u16::MAX)),
            Some("uint32") => Some(f64::from(u32::MAX)),
            _ => None,
        };
        if let Some(most) = bound("maximum").or(by_format).filter(|most| value > *most) {
            self.report(
                node.place,
                format!("{name} is {}, and must be at most {most}", self.written(node)),
                None,
            );
        }
        self.problems.len() == before
    }

    fn format(&mut self, node: &Node, text: &str, schema: &Json, name: &str) {
        let mut help = None;
        let wrong = match schema.get("format").and_then(Json::as_str) {
            Some("dns-label") => (!is_dns_label(text)).then(|| {
                help = as_label(text);
                format!(
                    "`{text}` must be lower case letters, digits and hyphens, begin with a letter, end with a letter or \
                     digit, and have 1 to 63 characters"
                )
            }),
            Some("absolute-path") => (!text.starts_with('/')).then(|| format!("`{text}` must begin with `/`")),
            Some("url-path") => (!is_url_path(text)).then(|| {
                format!("`{text}` must be a path alone: begin with `/`, without `?`, `#` and white space")
            }),
            Some("cpu") => MilliCpu::stated(text).err(),
            Some("memory") => Bytes::stated(text).err(),
            Some("image") => (!is_image(text)).then(|| format!("`{text}` {IMAGE}")),
            Some("image-repository") => (!is_image_repository(text)).then(|| {
                format!("`{text}` is no name of an image in lower case and without a tag, such as ghcr.io/team/name")
            }),
            Some("image-tag") => (!is_image_tag(text)).then(|| {
                format!("`{text}` is no tag of an image: letters, digits, `_`, `.` and `-`, the first a letter, digit or `_`")
            }),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let help = help.map(|label| format!("for instance `{label}`"));
            self.report(node.place, format!("{name}: {wrong}"), help);
        }
    }
}

/// The words that a schema allows, where it allows only words.
fn words(schema: &Json) -> Vec<&str> {
    let constant = schema.get("const").and_then(Json::as_str);
    let listed = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    listed.filter_map(Json::as_str).chain(constant).collect()
}

fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(node: &Node, schema: &Json) -> bool {
    let types = types(schema);
    let own: &[&str] = match node.value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Integer(_) => &["integer", "number"],
        Value::Float(_) => &["number"],
        Value::Text(_) => &["string"],
        Value::List(_) => &["array"],
        Value::Map(_) => &["object"],
    };
    types.is_empty() || own.iter().any(|own| types.contains(own))
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => format!("the truth value {value}"),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Text(text) if text.chars().count() <= 40 => format!("the text `{text}`"),
        Value::Text(_) => "a text".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

fn expectation(schema: &Json) -> String {
    let words = words(schema);
    if !words.is_empty() {
        return format!("`{}`", words.join("` or `"));
    }
    match schema.get("format").and_then(Json::as_str) {
        Some("cpu") => return "an amount of CPU such as 250m".to_owned(),
        Some("memory") => return "an amount of memory such as 512Mi".to_owned(),
        _ => {}
    }
    let names = types(schema)
        .into_iter()
        .filter(|name| *name != "null")
        .map(|name| match name {
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "text",
            "array" => "a list",
            _ => "a mapping",
        });
    names.collect::<Vec<_>>().join(" or ")
}

/// What a field is for, as its documentation says.
fn about(schema: Option<&Json>) -> Option<String> {
    let text = schema?.get("description")?.as_str()?;
    Some(text.lines().next()?.trim_end_matches('.').to_owned())
}
