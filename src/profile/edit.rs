//! Changes to a workspace file's text that leave everything else as the user wrote it: comments, order, style. Whether the
//! text then means what was intended, the caller finds out by reading it.

use granit_parser::{Event, Parser};

/// Why a text can't be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It is no YAML.
    #[error("it is not YAML: {0}")]
    NotYaml(String),
    /// What is to be changed is written in a way that this editor does not change.
    #[error("`{0}` is no single value there")]
    NotAValue(String),
}

/// A node with its place in the text, in bytes.
#[derive(Debug, Clone)]
struct Spot {
    start: usize,
    end: usize,
    /// Column of its first character, from 0.
    column: usize,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Scalar,
    List(Vec<Spot>),
    Map { flow: bool, entries: Vec<Entry> },
}

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    key: Spot,
    value: Spot,
}

/// Puts `scalar` (YAML already: quoted where it must be) at the path of keys, making mappings on the way.
pub fn set(text: &str, path: &[&str], scalar: &str) -> Result<String, EditError> {
    let root = parse(text)?;
    let mut node = &root;
    let mut key: Option<&Entry> = None;
    for (depth, name) in path.iter().enumerate() {
        let rest = &path[depth..];
        match &node.what {
            What::Map { entries, .. } => match entries.iter().find(|entry| entry.name == *name) {
                Some(entry) => {
                    node = &entry.value;
                    key = Some(entry);
                }
                None => return Ok(insert(text, node, rest, scalar)),
            },
            What::Scalar if node.start == node.end => {
                let Some(entry) = key else {
                    return Err(EditError::NotAValue((*name).to_owned()));
                };
                let below = block(rest, scalar, entry.key.column + 2);
                return Ok(splice(
                    text,
                    line_end(text, entry.key.end),
                    line_end(text, entry.key.end),
                    &below,
                ));
            }
            _ => return Err(EditError::NotAValue(path[..=depth].join("."))),
        }
    }
    match (&node.what, key) {
        (What::Scalar, Some(entry)) if node.start == node.end => {
            let colon = text[entry.key.end..]
                .find(':')
                .map_or(entry.key.end, |at| entry.key.end + at + 1);
            Ok(splice(text, colon, colon, &format!(" {scalar}")))
        }
        (What::Scalar, _) => {
            let old = &text[node.start..node.end];
            // A block scalar reaches to the next line.
            let end = if old.ends_with('\n') { "\n" } else { "" };
            Ok(splice(text, node.start, node.end, &format!("{scalar}{end}")))
        }
        _ => Err(EditError::NotAValue(path.join("."))),
    }
}

/// Takes the entry at the path away, and mappings that are left empty by that. Without the entry nothing changes.
pub fn remove(text: &str, path: &[&str]) -> Result<String, EditError> {
    let root = parse(text)?;
    let mut way: Vec<(&Spot, &Entry)> = Vec::new();
    let mut node = &root;
    for name in path {
        let What::Map { entries, .. } = &node.what else {
            return Ok(text.to_owned());
        };
        let Some(entry) = entries.iter().find(|entry| entry.name == *name) else {
            return Ok(text.to_owned());
        };
        way.push((node, entry));
        node = &entry.value;
    }
    // The highest mapping that would hold nothing else goes as a whole; never the file itself.
    while way.len() > 1 && way.last().is_some_and(|(map, _)| count(map) == 1) {
        way.pop();
    }
    let Some((map, entry)) = way.pop() else {
        return Ok(text.to_owned());
    };
    let What::Map { flow, entries } = &map.what else {
        return Ok(text.to_owned());
    };
    if *flow {
        let at = entries.iter().position(|one| one.name == entry.name).unwrap_or(0);
        let (from, to) = match (
            entries.get(at + 1),
            at.checked_sub(1).and_then(|before| entries.get(before)),
        ) {
            (Some(next), _) => (entry.key.start, next.key.start),
            (None, Some(before)) => (
                end_of(&before.value, before.key.end),
                end_of(&entry.value, entry.key.end),
            ),
            (None, None) => (map.start + 1, map.end - 1),
        };
        return Ok(splice(text, from, to, ""));
    }
    let from = text[..entry.key.start].rfind('\n').map_or(0, |at| at + 1);
    let to = line_end(text, end_of(&entry.value, entry.key.end));
    let to = if text[to..].starts_with('\n') { to + 1 } else { to };
    Ok(splice(text, from, to, ""))
}

/// A text as a YAML scalar: in double quotes, whose escapes are JSON's.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn count(map: &Spot) -> usize {
    match &map.what {
        What::Map { entries, .. } => entries.len(),
        _ => 0,
    }
}

fn splice(text: &str, from: usize, to: usize, new: &str) -> String {
    format!("{}{new}{}", &text[..from], &text[to..])
}

fn line_end(text: &str, from: usize) -> usize {
    text[from..].find('\n').map_or(text.len(), |at| from + at)
}

fn key_text(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(plain) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// The rest of a path as block lines, each begun by a line break.
fn block(path: &[&str], scalar: &str, column: usize) -> String {
    let line = |(depth, name): (usize, &&str)| format!("\n{:1$}{2}:", "", column + 2 * depth, key_text(name));
    let lines: Vec<String> = path.iter().enumerate().map(line).collect();
    lines.concat() + " " + scalar
}

/// The rest of a path in one line.
fn flow(path: &[&str], scalar: &str) -> String {
    match path {
        [] => scalar.to_owned(),
        [name] => format!("{}: {scalar}", key_text(name)),
        [name, rest @ ..] => format!("{}: {{ {} }}", key_text(name), flow(rest, scalar)),
    }
}

fn insert(text: &str, map: &Spot, path: &[&str], scalar: &str) -> String {
    let What::Map {
        flow: in_flow,
        entries,
    } = &map.what
    else {
        return text.to_owned();
    };
    match (in_flow, entries.last()) {
        (true, None) => splice(text, map.start, map.end, &format!("{{ {} }}", flow(path, scalar))),
        (true, Some(_)) => {
            let at = map.start + 1;
            let gap = if text[at..].starts_with(char::is_whitespace) {
                ""
            } else {
                " "
            };
            splice(text, at, at, &format!(" {},{gap}", flow(path, scalar)))
        }
        (false, Some(last)) => {
            let mut at = end_of(&last.value, last.key.end);
            // A block scalar's end is the beginning of the next line.
            while at > 0 && text[..at].ends_with('\n') {
                at -= 1;
            }
            let at = line_end(text, at);
            splice(text, at, at, &block(path, scalar, map.column))
        }
        (false, None) => text.to_owned(),
    }
}

/// Where a node ends; `key_end` where it is empty.
fn end_of(spot: &Spot, key_end: usize) -> usize {
    match &spot.what {
        What::Map { flow: false, entries } => entries
            .last()
            .map_or(spot.start, |last| end_of(&last.value, last.key.end)),
        What::List(items) if spot.end <= spot.start => {
            items.last().map_or(spot.start, |last| end_of(last, spot.start))
        }
        What::Scalar if spot.start == spot.end => key_end,
        _ => spot.end,
    }
}

enum Open {
    List(Spot, Vec<Spot>),
    Map(Spot, Vec<Entry>, Option<(String, Spot)>),
}

fn parse(text: &str) -> Result<Spot, EditError> {
    let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    bytes.push(text.len());
    let at = |chars: usize| bytes.get(chars).copied().unwrap_or(text.len());
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| EditError::NotYaml(error.info().clone()))?;
        let spot = |what| Spot {
            start: at(span.start.index()),
            end: at(span.end.index()),
            column: span.start.col(),
            what,
        };
        let done = match event {
            Event::Scalar(name, ..) => Some((spot(What::Scalar), name.into_owned())),
            Event::Alias(_) | Event::UnresolvedAlias(_) => Some((spot(What::Scalar), String::new())),
            Event::SequenceStart(..) => {
                open.push(Open::List(spot(What::Scalar), Vec::new()));
                None
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(spot(What::Scalar), Vec::new(), None));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let end = at(span.end.index());
                let whole = match open.pop() {
                    Some(Open::List(begin, items)) => {
                        let flow = text[begin.start..].starts_with('[');
                        let end = if flow { end } else { 0 };
                        Spot {
                            end,
                            what: What::List(items),
                            ..begin
                        }
                    }
                    Some(Open::Map(begin, entries, _)) => {
                        let flow = text[begin.start..].starts_with('{');
                        Spot {
                            end,
                            what: What::Map { flow, entries },
                            ..begin
                        }
                    }
                    None => continue,
                };
                Some((whole, String::new()))
            }
            _ => None,
        };
        let Some((node, name)) = done else { continue };
        match open.last_mut() {
            None => root = root.or(Some(node)),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending)) => match pending.take() {
                None => *pending = Some((name, node)),
                Some((name, key)) => entries.push(Entry {
                    name,
                    key,
                    value: node,
                }),
            },
        }
    }
    root.ok_or_else(|| EditError::NotYaml("the file is empty".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ours\nname: shop # the shop\nservices:\n  agent-engine:\n    source: a\n    \
                        config: { LOG_LEVEL: debug }  # loud\n  rag-engine:\n    config:\n      A: \"1\"\n\nprofile: dev\n";

    fn changed(text: &str, path: &[&str], scalar: &str) -> String {
        set(text, path, scalar).unwrap()
    }

    #[test]
    fn a_value_is_replaced_and_nothing_else() {
        let text = changed(
            FILE,
            &["services", "agent-engine", "config", "LOG_LEVEL"],
            "\"info\"",
        );
        assert_eq!(text, FILE.replace("debug", "\"info\""));
        let text = changed(FILE, &["services", "rag-engine", "config", "A"], "\"2\"");
        assert_eq!(text, FILE.replace("\"1\"", "\"2\""));
    }

    #[test]
    fn a_new_key_goes_where_it_belongs() {
        let text = changed(FILE, &["services", "agent-engine", "config", "B"], "\"x\"");
        assert!(
            text.contains("config: { B: \"x\", LOG_LEVEL: debug }  # loud"),
            "{text}"
        );
        let text = changed(FILE, &["services", "rag-engine", "config", "B"], "\"x\"");
        assert!(
            text.contains("      A: \"1\"\n      B: \"x\"\n\nprofile"),
            "{text}"
        );
        let text = changed(FILE, &["services", "agent-engine", "replicas"], "3");
        assert!(text.contains("# loud\n    replicas: 3\n  rag-engine"), "{text}");
        let text = changed(FILE, &["services", "voice-engine", "config", "K"], "\"v\"");
        assert!(
            text.contains("A: \"1\"\n  voice-engine:\n    config:\n      K: \"v\"\n\nprofile"),
            "{text}"
        );
        let text = changed("name: x", &["services", "a", "image"], "\"i\"");
        assert_eq!(text, "name: x\nservices:\n  a:\n    image: \"i\"");
        let text = changed(
            "services: # none yet\nname: x\n",
            &["services", "a", "replicas"],
            "2",
        );
        assert_eq!(text, "services: # none yet\n  a:\n    replicas: 2\nname: x\n");
        assert_eq!(changed("s: {}\n", &["s", "a", "b"], "1"), "s: { a: { b: 1 } }\n");
        assert_eq!(changed("s: {a: 1}\n", &["s", "b"], "2"), "s: { b: 2, a: 1}\n");
    }

    #[test]
    fn a_removed_key_takes_empty_mappings_along() {
        let gone = remove(FILE, &["services", "rag-engine", "config", "A"]).unwrap();
        assert!(
            !gone.contains("rag-engine") && gone.contains("# loud\n\nprofile: dev"),
            "{gone}"
        );
        let text = changed(FILE, &["services", "rag-engine", "config", "B"], "\"x\"");
        assert_eq!(
            remove(&text, &["services", "rag-engine", "config", "B"]).unwrap(),
            FILE
        );
        let flow = changed(FILE, &["services", "agent-engine", "config", "B"], "\"x\"");
        let back = remove(&flow, &["services", "agent-engine", "config", "B"]).unwrap();
        assert_eq!(back, FILE);
        assert_eq!(remove(FILE, &["services", "nobody"]).unwrap(), FILE);
    }

    #[test]
    fn what_is_no_value_is_left_alone() {
        assert!(set(FILE, &["services"], "1").is_err());
        assert!(set(FILE, &["name", "first"], "1").is_err());
        assert_eq!(quoted("a\"b\n语"), "\"a\\\"b\\n语\"");
    }
}
