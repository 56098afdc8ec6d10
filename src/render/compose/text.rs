//! Texts that Compose and Kubernetes both read, each with variables of its own: `${NAME}` and `$(NAME)`.

use indexmap::IndexMap;

/// A text that Compose is to leave as it is.
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// A text in which whatever asks `host` at port `from` asks it at port `to`.
pub fn at_port(text: &str, host: &str, from: u16, to: u16) -> String {
    let (asked, answers) = (format!("{host}:{from}"), format!("{host}:{to}"));
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&asked) {
        let after = &rest[at + asked.len()..];
        result.push_str(&rest[..at]);
        // The end of a longer name is another host, and more digits are another port.
        let longer = result.ends_with(|c: char| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if longer || after.starts_with(|c: char| c.is_ascii_digit()) {
            result.push_str(&asked);
        } else {
            result.push_str(&answers);
        }
        rest = after;
    }
    result + rest
}

/// Compose's word for a variable that must be set.
pub fn required(variable: &str) -> String {
    format!("${{{variable}:?set it or use vadev compose up}}")
}

/// A text in which Kubernetes would fill in `$(NAME)`; `known` has the values as Compose writes them. An unknown name stays,
/// as it does in Kubernetes; `$$(NAME)` means the text itself.
pub fn expanded(text: &str, known: &IndexMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(escaped) = rest.strip_prefix("$$(") {
            result.push_str("$$(");
            rest = escaped;
            continue;
        }
        let name = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        if let Some((value, after)) = name.and_then(|(name, after)| Some((known.get(name)?, after))) {
            result.push_str(value);
            rest = after;
        } else {
            result.push_str("$$");
            rest = &rest[1..];
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_readers_variables_stay_apart() {
        let known = IndexMap::from([("PASSWORD".to_owned(), required("REDIS_PASSWORD"))]);
        assert_eq!(
            expanded("--requirepass $(PASSWORD)", &known),
            "--requirepass ${REDIS_PASSWORD:?set it or use vadev compose up}"
        );
        assert_eq!(expanded("$(OTHER) $HOME 5$", &known), "$$(OTHER) $$HOME 5$$");
        assert_eq!(expanded("$$(PASSWORD)", &known), "$$(PASSWORD)");
        assert_eq!(literal("a$b"), "a$$b");
    }
}
