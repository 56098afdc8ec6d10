//! YAML as a tree in which every node knows its place. Anchors, aliases, merge keys and tags are refused: they hide where a
//! value comes from, and an alias can make a small file huge.

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::problem::Problem;

/// Nesting beyond this is refused; the deepest file of the catalog has 8.
const MAX_DEPTH: usize = 64;

/// A place in a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column in characters.
    pub column: usize,
    /// Characters on that line.
    pub width: usize,
}

/// A node with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// YAML's core schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Another number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, without repeated keys.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

/// One step of a path into a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A key of a mapping.
    Key(&'a str),
    /// An item of a sequence.
    Item(usize),
}

impl Node {
    /// The entry of a mapping.
    pub fn get(&self, name: &str) -> Option<(&Key, &Node)> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|(key, _)| key.name == name)
            .map(|(key, node)| (key, node))
    }
    /// The text of a mapping's entry.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.1.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    /// What a path leads to, or the last node on the way that exists; and whether it is the end.
    fn follow(&self, path: &[Step<'_>]) -> (&Self, bool) {
        let mut node = self;
        for step in path {
            let next = match (step, &node.value) {
                (Step::Key(name), _) => node.get(name).map(|(_, node)| node),
                (Step::Item(index), Value::List(items)) => items.get(*index),
                (Step::Item(_), _) => None,
            };
            let Some(next) = next else { return (node, false) };
            node = next;
        }
        (node, true)
    }
    /// The place of what a path leads to, or of the last node on the way that exists.
    pub fn place_of(&self, path: &[Step<'_>]) -> Place {
        self.follow(path).0.place
    }
    /// Whether a path leads to something.
    pub fn has(&self, path: &[Step<'_>]) -> bool {
        self.follow(path).1
    }
    /// The place of a mapping's key, or of the mapping.
    pub fn key_place(&self, path: &[Step<'_>], name: &str) -> Place {
        let mut node = self;
        for step in path {
            if let Step::Key(key) = step
                && let Some((_, next)) = node.get(key)
            {
                node = next;
            }
        }
        node.get(name).map_or(node.place, |(key, _)| key.place)
    }
}

/// A file under work: its name and lines, to make problems of places.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The file's name.
    pub file: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Source<'a> {
    /// A file by name and text.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            // The mark that some editors begin a file with is no part of its first line.
            lines: text.strip_prefix('\u{feff}').unwrap_or(text).lines().collect(),
        }
    }
    /// A problem in this file.
    pub fn problem(&self, place: Place, message: impl Into<String>, suggestion: Option<String>) -> Problem {
        Problem {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            width: place.width,
            source: self
                .lines
                .get(place.line - 1)
                .copied()
                .unwrap_or_default()
                .to_owned(),
            message: message.into(),
            suggestion,
        }
    }
    fn place(&self, span: Span) -> Place {
        let line = span.start.line().max(1);
        let column = span.start.col() + 1;
        let rest = self
            .lines
            .get(line - 1)
            .map_or(0, |text| text.trim_end().chars().count());
        let to_end = (rest + 1).saturating_sub(column);
        let width = if span.end.line() == line {
            span.end.col().saturating_sub(span.start.col())
        } else {
            to_end
        };
        Place {
            line,
            column,
            width: width.clamp(1, to_end.max(1)),
        }
    }
}

/// An open sequence or mapping.
enum Open {
    List(Place, Vec<Node>),
    Map(Place, Vec<(Key, Node)>, Next),
}

/// What the next node of a mapping is.
enum Next {
    Key,
    ValueOf(Key),
    /// The value of what was no key, and was told.
    ValueOfNothing,
}

/// Parses one document. `None` where there is no tree at all; problems may come with a tree.
pub fn parse(source: &Source<'_>, text: &str) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder {
        source,
        open: Vec::new(),
        root: None,
        problems: Vec::new(),
    };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents > 1 {
                    let place = source.place(span);
                    let help = Some("write each document into a file of its own".to_owned());
                    builder
                        .problems
                        .push(source.problem(place, "a second YAML document in one file", help));
                    break;
                }
            }
            Ok((event, span)) => {
                if !builder.take(event, source.place(span)) {
                    return (None, builder.problems);
                }
            }
            Err(error) => {
                let marker = *error.marker();
                let place = source.place(Span::new(marker, marker));
                builder
                    .problems
                    .push(source.problem(place, format!("not YAML: {}", error.info()), None));
                return (None, builder.problems);
            }
        }
    }
    if builder.root.is_none() && builder.problems.is_empty() {
        let start = Place {
            line: 1,
            column: 1,
            width: 1,
        };
        builder
            .problems
            .push(source.problem(start, "the file is empty", None));
    }
    (builder.root, builder.problems)
}

struct Builder<'a> {
    source: &'a Source<'a>,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    /// Takes an event; false where going on makes no sense.
    fn take(&mut self, event: Event<'_>, place: Place) -> bool {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse(anchor != 0, tag.is_some(), place);
                let value = if style == ScalarStyle::Plain {
                    plain(&text)
                } else {
                    Value::Text(text.into_owned())
                };
                self.add(Node { place, value });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse(anchor != 0, tag.is_some(), place);
                self.open
                    .push(Open::List(Place { width: 1, ..place }, Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse(anchor != 0, tag.is_some(), place);
                self.open
                    .push(Open::Map(Place { width: 1, ..place }, Vec::new(), Next::Key));
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(place, items)) => self.add(Node {
                    place,
                    value: Value::List(items),
                }),
                Some(Open::Map(place, entries, _)) => self.add(Node {
                    place,
                    value: Value::Map(entries),
                }),
                None => {}
            },
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(true, false, place);
                self.add(Node {
                    place,
                    value: Value::Null,
                });
            }
            _ => {}
        }
        if self.open.len() > MAX_DEPTH {
            self.problems.push(self.source.problem(
                place,
                format!("nested deeper than {MAX_DEPTH} levels"),
                None,
            ));
            return false;
        }
        true
    }

    fn refuse(&mut self, anchor: bool, tag: bool, place: Place) {
        let help = || Some("write the value itself".to_owned());
        if anchor {
            self.problems.push(self.source.problem(
                place,
                "anchors and aliases are not allowed here",
                help(),
            ));
        }
        if tag {
            self.problems
                .push(self.source.problem(place, "tags are not allowed here", help()));
        }
    }

    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, entries, next)) => match std::mem::replace(next, Next::Key) {
                Next::Key => {
                    let key = self.source.key(node, &mut self.problems);
                    *next = key.map_or(Next::ValueOfNothing, Next::ValueOf);
                }
                Next::ValueOfNothing => {}
                Next::ValueOf(key) => {
                    if let Some((first, _)) = entries.iter().find(|(other, _)| other.name == key.name) {
                        let message =
                            format!("`{}` appears twice; first in line {}", key.name, first.place.line);
                        self.problems.push(self.source.problem(key.place, message, None));
                    } else {
                        entries.push((key, node));
                    }
                }
            },
        }
    }
}

impl Source<'_> {
    fn key(&self, node: Node, problems: &mut Vec<Problem>) -> Option<Key> {
        let name = match node.value {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => {
                let help = matches!(node.value, Value::Float(_) | Value::Null)
                    .then(|| "put it between double quotes".to_owned());
                problems.push(self.problem(node.place, "a key must be text", help));
                return None;
            }
        };
        Some(Key {
            name,
            place: node.place,
        })
    }
}

/// Resolves an unquoted scalar by YAML 1.2's core schema, so that `yes`, `on` and `NO` are text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        // One that is too large for every field is still a number.
        let most = if text.starts_with('-') {
            i128::MIN
        } else {
            i128::MAX
        };
        return Value::Integer(text.parse().unwrap_or(most));
    }
    let numeric = digits
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_digit() || b == b'.')
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    match text.parse() {
        Ok(number) if numeric => Value::Float(number),
        _ => Value::Text(text.to_owned()),
    }
}
