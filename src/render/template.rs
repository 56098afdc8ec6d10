//! Placeholders in catalog texts: `{{name}}`. Only the names listed in the catalog's documentation exist; an unknown one
//! is left as it stands, because configuration files may hold braces of their own.

/// Values of placeholders, in no particular order.
#[derive(Debug, Clone, Default)]
pub struct Template(Vec<(&'static str, String)>);

impl Template {
    /// Adds a placeholder.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl std::fmt::Display) -> Self {
        self.0.push((name, format!("{value}")));
        self
    }
    /// Fills a text in.
    pub fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_placeholders_are_filled_and_others_left() {
        let template = Template::default().with("heapMiB", 512).with("name", "nacos");
        assert_eq!(
            template.fill("-Xmx{{heapMiB}}m {{name}} {{other}} ${x}"),
            "-Xmx512m nacos {{other}} ${x}"
        );
    }
}
