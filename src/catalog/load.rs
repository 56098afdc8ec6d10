//! From texts to the catalog, or to every problem in them.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::check::check;
use super::embedded::NamedText;
use super::problem::{Problem, Problems, nearest};
use super::semantic;
use super::tree::{Node, Place, Source, Step, parse};
use super::{Catalog, Infrastructure, MeshEntry, Service};

/// A file that was read into `entry`, with its tree, so that later checks can name places.
pub struct Document<'a, T> {
    /// The file.
    pub source: Source<'a>,
    /// Its tree.
    pub root: Node,
    /// What it says.
    pub entry: T,
}

impl<T> Document<'_, T> {
    /// A problem at the node that a path leads to.
    pub fn problem(
        &self,
        path: &[Step<'_>],
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        self.source.problem(self.root.place_of(path), message, suggestion)
    }
    /// A problem at a key.
    pub fn key_problem(
        &self,
        path: &[Step<'_>],
        key: &str,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) -> Problem {
        self.source
            .problem(self.root.key_place(path, key), message, suggestion)
    }
}

/// Reads one document of one type; all problems of syntax, fields and types at once.
pub fn read_document<'a, T: DeserializeOwned + JsonSchema>(
    file: &'a str,
    text: &'a str,
) -> Result<Document<'a, T>, Vec<Problem>> {
    let source = Source::new(file, text);
    let (root, problems) = parse(&source, text);
    match root {
        Some(root) => typed(source, root, problems, text),
        None => Err(problems),
    }
}

/// From the tree to the type.
fn typed<'a, T: DeserializeOwned + JsonSchema>(
    source: Source<'a>,
    root: Node,
    mut problems: Vec<Problem>,
    text: &'a str,
) -> Result<Document<'a, T>, Vec<Problem>> {
    let found = check(&source, &root, schemars::schema_for!(T).as_value());
    // Of an alias or a tag it is told that there must be none, and not also what it would have to be.
    let told: Vec<_> = problems.iter().map(|one| (one.line, one.column)).collect();
    problems.extend(
        found
            .into_iter()
            .filter(|one| !told.contains(&(one.line, one.column))),
    );
    if !problems.is_empty() {
        return Err(problems);
    }
    // The tree is what the schema asks for; what can still be wrong is a value that only the type itself refuses.
    match serde_saphyr::from_str(text) {
        Ok(entry) => Ok(Document { source, root, entry }),
        Err(error) => {
            let position = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1);
            let place = Place {
                line: position(error.location().map(|at| at.line())),
                column: position(error.location().map(|at| at.column())),
                width: 1,
            };
            Err(vec![source.problem(place, first_line(&error.to_string()), None)])
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The documents of a catalog by kind.
#[derive(Default)]
pub struct Documents<'a> {
    /// Kind `Service`.
    pub services: Vec<Document<'a, Service>>,
    /// Kind `Infrastructure`.
    pub infrastructure: Vec<Document<'a, Infrastructure>>,
    /// Kind `Mesh`.
    pub mesh: Vec<Document<'a, MeshEntry>>,
}

const KINDS: [&str; 3] = ["Service", "Infrastructure", "Mesh"];

/// Reads the files of a catalog; `kind` decides what each is.
pub fn load(files: &[NamedText]) -> Result<Catalog, Problems> {
    load_beside(files, &[])
}

/// As [`load`], where the files may also call services that are declared elsewhere.
pub fn load_beside(files: &[NamedText], elsewhere: &[&str]) -> Result<Catalog, Problems> {
    let mut documents = Documents::default();
    let mut problems = Vec::new();
    for (file, text) in files {
        problems.extend(documents.add(file, text).err().into_iter().flatten());
    }
    // Names that a broken file may have would make false alarms of unknown names.
    let complete = problems.is_empty();
    problems.extend(semantic::check_catalog(&documents, elsewhere, complete));
    if let Some(problems) = Problems::of(problems) {
        return Err(problems);
    }
    documents.into_catalog()
}

impl<'a> Documents<'a> {
    /// Reads a file and puts it where its kind belongs.
    pub fn add(&mut self, file: &'a str, text: &'a str) -> Result<(), Vec<Problem>> {
        let source = Source::new(file, text);
        let (root, mut problems) = parse(&source, text);
        let Some(root) = root else { return Err(problems) };
        match root.text("kind") {
            Some("Service") => self.services.push(typed(source, root, problems, text)?),
            Some("Infrastructure") => self.infrastructure.push(typed(source, root, problems, text)?),
            Some("Mesh") => self.mesh.push(typed(source, root, problems, text)?),
            kind => {
                problems.push(wrong_kind(&source, &root, kind.unwrap_or_default()));
                return Err(problems);
            }
        }
        Ok(())
    }

    fn into_catalog(self) -> Result<Catalog, Problems> {
        let services = self
            .services
            .into_iter()
            .map(|document| (document.entry.name.clone(), document.entry));
        let systems = self
            .infrastructure
            .into_iter()
            .map(|document| (document.entry.name.clone(), document.entry));
        let mut services: IndexMap<String, Service> = services.collect();
        let mut infrastructure: IndexMap<String, Infrastructure> = systems.collect();
        services.sort_keys();
        infrastructure.sort_by(|a, left, b, right| (left.group, a).cmp(&(right.group, b)));
        let mesh = self.mesh.into_iter().next().map(|document| document.entry);
        Ok(Catalog {
            services,
            infrastructure,
            mesh: mesh.ok_or_else(Problems::missing_mesh)?,
        })
    }
}

fn wrong_kind(source: &Source<'_>, root: &Node, kind: &str) -> Problem {
    let message = match kind {
        "" => "the field `kind` is missing".to_owned(),
        kind => format!("`kind` must be one of {}, and is `{kind}`", KINDS.join(", ")),
    };
    let help = nearest(kind, KINDS).map_or_else(
        || format!("one of {}", KINDS.join(", ")),
        |known| format!("did you mean `{known}`?"),
    );
    source.problem(root.place_of(&[Step::Key("kind")]), message, Some(help))
}

/// Lays a user's files over the built-in ones: a file replaces the one with the same folder and name
/// (`services/x.yaml`), another is added.
pub fn overlay(base: Vec<NamedText>, over: Vec<NamedText>) -> Vec<NamedText> {
    fn tail(name: &str) -> Vec<&str> {
        let parts: Vec<&str> = name.split('/').collect();
        parts[parts.len().saturating_sub(2)..].to_vec()
    }
    let mut files: Vec<NamedText> = base
        .into_iter()
        .filter(|(name, _)| !over.iter().any(|(other, _)| tail(other) == tail(name)))
        .collect();
    files.extend(over);
    files
}
