//! What vadev wants to know of a Dockerfile before it is built: on which images it stands, through which arguments these
//! can be replaced, and whether it speaks a dialect that only BuildKit understands. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::instructions::instructions;

/// An image that a build begins with or copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The reference, with arguments filled in.
    pub reference: String,
    /// The `ARG` whose value the whole reference is; only such a base can be replaced from outside.
    pub argument: Option<String>,
}

/// A Dockerfile, as far as it is understood here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// `ARG`s before the first `FROM`, with their defaults.
    global: BTreeMap<String, String>,
    /// The texts after `FROM` and `COPY --from=`, in order, with the names of stages known by then.
    references: Vec<(String, BTreeSet<String>)>,
    /// Every `ARG` anywhere.
    arguments: BTreeSet<String>,
    needs_buildkit: bool,
}

impl Dockerfile {
    /// Reads a Dockerfile's text. What is not understood is passed over: the builder will say what is wrong with it.
    pub fn parse(text: &str) -> Self {
        let mut file = Self {
            needs_buildkit: text
                .trim_start_matches('\u{feff}')
                .lines()
                .take_while(|line| line.starts_with('#'))
                .any(|line| line.replace(' ', "").starts_with("#syntax=")),
            ..Self::default()
        };
        let mut stages: BTreeSet<String> = BTreeSet::new();
        let mut count = 0_usize;
        for instruction in instructions(text) {
            let line = &instruction.arguments;
            let rest: Vec<&str> = line.split_whitespace().collect();
            match instruction.keyword.as_str() {
                "ARG" => {
                    for word in &rest {
                        let (name, value) = word.split_once('=').unwrap_or((word, ""));
                        file.arguments.insert(name.to_owned());
                        if count == 0 {
                            file.global
                                .insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
                        }
                    }
                }
                "FROM" => {
                    let plain: Vec<&&str> = rest.iter().filter(|word| !word.starts_with("--")).collect();
                    if let Some(reference) = plain.first() {
                        file.references.push(((**reference).to_owned(), stages.clone()));
                    }
                    stages.insert(count.to_string());
                    if plain.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as"))
                        && let Some(name) = plain.get(2)
                    {
                        stages.insert(name.to_lowercase());
                    }
                    count += 1;
                }
                "COPY" | "ADD" => {
                    let from = rest.iter().find_map(|word| word.strip_prefix("--from="));
                    file.references
                        .extend(from.map(|from| (from.to_owned(), stages.clone())));
                    file.needs_buildkit |= line.contains("<<")
                        || rest
                            .iter()
                            .any(|word| *word == "--link" || word.starts_with("--chmod="));
                }
                "RUN" => {
                    file.needs_buildkit |=
                        line.contains("<<") || rest.first().is_some_and(|word| word.starts_with("--"));
                }
                _ => {}
            }
        }
        file
    }

    /// The images that a build with these arguments takes from elsewhere; its own stages and `scratch` are not among them.
    pub fn bases(&self, given: &BTreeMap<String, String>) -> Vec<Base> {
        let value = |name: &str| {
            let declared = self.global.get(name)?;
            Some(given.get(name).unwrap_or(declared).clone())
        };
        let mut bases: Vec<Base> = Vec::new();
        for (text, stages) in &self.references {
            if stages.contains(&text.to_lowercase()) {
                continue;
            }
            let argument = whole_argument(text)
                .filter(|name| self.global.contains_key(*name))
                .map(str::to_owned);
            let reference = filled(text, &value);
            let known = bases.iter().any(|base| base.reference == reference);
            if reference.is_empty()
                || reference == "scratch"
                || stages.contains(&reference.to_lowercase())
                || known
            {
                continue;
            }
            bases.push(Base { reference, argument });
        }
        bases
    }

    /// Whether it declares an argument, in whatever stage.
    pub fn declares(&self, argument: &str) -> bool {
        self.arguments.contains(argument)
    }

    /// Whether the classic builder would refuse it.
    pub fn needs_buildkit(&self) -> bool {
        self.needs_buildkit
    }
}

/// `BASE` in `${BASE}` and `$BASE`, where nothing else is around it.
fn whole_argument(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let name = inner
        .strip_prefix('{')
        .map_or(Some(inner), |rest| rest.strip_suffix('}'))?;
    let name = name.split(":-").next().unwrap_or(name);
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some(name)
}

/// `golang:${VERSION}` with the arguments' values.
fn filled(text: &str, value: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, fallback, end) = if let Some(inner) = after.strip_prefix('{') {
            let close = inner.find('}').unwrap_or(inner.len());
            let (name, fallback) = inner[..close].split_once(":-").unwrap_or((&inner[..close], ""));
            (name, fallback, (close + 2).min(after.len()))
        } else {
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len());
            (&after[..end], "", end)
        };
        let found = value(name).filter(|text| !text.is_empty());
        out.push_str(found.as_deref().unwrap_or(fallback));
        rest = &after[end..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn bases_are_what_comes_from_outside() {
        let file = Dockerfile::parse(
            "ARG GO=golang:1.26\nARG VERSION=3.11\nFROM ${GO} AS build\nARG GOPROXY\nRUN go build \\\n  ./...\n\
             FROM --platform=linux/amd64 python:${VERSION}-slim as Tools\nFROM scratch\n\
             COPY --from=build /a /a\nCOPY --from=0 /b /b\nCOPY --from=busybox:1 /bin/sh /\nFROM tools\n",
        );
        let references = |args: &[(&str, &str)]| -> Vec<String> {
            file.bases(&given(args))
                .into_iter()
                .map(|b| b.reference)
                .collect()
        };
        assert_eq!(references(&[]), ["golang:1.26", "python:3.11-slim", "busybox:1"]);
        assert_eq!(references(&[("GO", "x/go:2"), ("OTHER", "1")])[0], "x/go:2");
        let arguments: Vec<_> = file.bases(&given(&[])).into_iter().map(|b| b.argument).collect();
        assert_eq!(arguments, [Some("GO".to_owned()), None, None]);
        assert!(file.declares("GOPROXY") && !file.declares("PIP_INDEX_URL"));
    }

    #[test]
    fn dialects_are_told_apart() {
        for text in [
            "# syntax=docker/dockerfile:1\nFROM a",
            "FROM a\nRUN --mount=type=cache,target=/x go build",
            "FROM a\nCOPY --chmod=755 a b",
            "FROM a\nRUN <<EOF\nx\nEOF",
        ] {
            assert!(Dockerfile::parse(text).needs_buildkit(), "{text}");
        }
        let file = Dockerfile::parse("FROM a\nRUN python <<EOF\nFROM pathlib\nEOF\nCOPY --from=b x x\n");
        let bases = file.bases(&given(&[]));
        assert_eq!(
            bases
                .iter()
                .map(|base| base.reference.as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert!(
            !Dockerfile::parse("# a remark\nFROM a\nCOPY --chown=1:1 a b\nRUN x --mount").needs_buildkit()
        );
    }

    #[test]
    fn arguments_are_filled_in() {
        let value = |name: &str| (name == "A").then(|| "1".to_owned());
        for (text, expected) in [
            ("x:$A-b", "x:1-b"),
            ("${A}${B:-2}", "12"),
            ("plain", "plain"),
            ("$", ""),
        ] {
            assert_eq!(filled(text, &value), expected, "{text}");
        }
        assert_eq!(whole_argument("${A:-b}"), Some("A"));
        assert_eq!(whole_argument("a$A"), None);
    }
}
