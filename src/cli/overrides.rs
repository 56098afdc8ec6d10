//! Changes that land in the workspace file, so that `up` and `promote` keep them.

use std::io::{self, Write as _};
use std::path::Path;

use super::Context;
use super::platform::Wanted;
use super::workspace::Loaded;
use crate::catalog::{API_VERSION, Service};
use crate::engine::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::operate::OperateError;
use crate::profile::Workspace;
use crate::profile::edit::{self, EditError};
use crate::profile::profile::Override;
use crate::profile::workspace::WorkspaceService;

/// One change of a service's or system's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A configuration value; `None` takes it away, so that the catalog's counts again.
    Config(String, Option<String>),
    /// The image; `None` takes it away.
    Image(Option<String>),
    /// Replicas; `None` takes them away.
    Replicas(Option<u32>),
}

/// A workspace with changes that are not written yet.
#[derive(Debug)]
pub struct Edited {
    /// The workspace as it will be.
    pub loaded: Loaded,
    before: Option<String>,
    after: String,
}

impl Edited {
    /// The workspace of the context with changes to the entry `name`.
    pub fn new(context: &Context, name: &str, edits: &[Edit]) -> Result<Self, Failure> {
        let now = context.loaded()?;
        let fresh = || {
            format!(
                "apiVersion: {API_VERSION}\nkind: Workspace\nname: {}\n",
                now.workspace.name
            )
        };
        let mut text = now.text.clone().unwrap_or_else(fresh);
        let mut wanted = now.workspace.clone();
        let section = if now.catalog.services.contains_key(name) {
            "services"
        } else {
            "infrastructure"
        };
        for edit in edits {
            text = apply(&text, &[section, name], edit).map_err(|error| by_hand(now, &error.to_string()))?;
            note(&mut wanted, section, name, edit);
        }
        let loaded = now.with_text(&text)?;
        if !same(&loaded.workspace, &wanted) {
            return Err(by_hand(
                now,
                "the file is written in a way that can't be changed safely",
            ));
        }
        Ok(Self {
            loaded,
            before: now.text.clone(),
            after: text,
        })
    }

    /// The platform as it will be.
    pub fn platform(&self, context: &Context) -> Result<Platform, Failure> {
        context.platform_of(
            &self.loaded,
            &Wanted {
                deployed: true,
                ..Wanted::default()
            },
        )
    }

    /// A service of the catalog with what the workspace will say of its configuration.
    pub fn service(&self, name: &str) -> Result<Service, Failure> {
        let known = &self.loaded.catalog.services;
        let found = known.get(name);
        let unknown = || OperateError::unknown(name, known.keys().cloned().collect());
        let mut service = found.ok_or_else(unknown)?.clone();
        if let Some(entry) = self.loaded.workspace.services.get(name) {
            service.config.extend(entry.config.clone());
        }
        Ok(service)
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self) -> Result<(), Failure> {
        if self.before.as_ref() == Some(&self.after) {
            return Ok(());
        }
        self.put(&self.after)
    }

    /// Puts the file back as it was.
    pub fn revert(&self) -> Result<(), Failure> {
        match &self.before {
            Some(text) => self.put(text),
            None => std::fs::remove_file(&self.loaded.file).map_err(|error| self.trouble(&error)),
        }
    }

    /// The file's name, to be told.
    pub fn file(&self) -> String {
        self.loaded.file.display().to_string()
    }

    fn put(&self, text: &str) -> Result<(), Failure> {
        write_whole(&self.loaded.file, text).map_err(|error| self.trouble(&error))
    }

    fn trouble(&self, error: &io::Error) -> Failure {
        Plain::new(
            Family::Environment,
            format!("cannot write {}: {error}", self.file()),
        )
        .with_hint("check its permissions and the free space")
        .into()
    }
}

/// Writes a file of the user's own, whole or not at all; what it may be done with stays.
pub fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    // A link is followed, or renaming would replace it by a file.
    let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let mut draft = tempfile::NamedTempFile::new_in(file.parent().unwrap_or(Path::new(".")))?;
    draft.write_all(text.as_bytes())?;
    draft.as_file().sync_all()?;
    let kept = std::fs::metadata(&file).map(|meta| meta.permissions());
    let permissions = kept.unwrap_or_else(|_| readable());
    std::fs::set_permissions(draft.path(), permissions)?;
    draft.persist(&file)?;
    Ok(())
}

/// What a new file of the user's own would have.
fn readable() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o644)
}

fn apply(text: &str, entry: &[&str; 2], change: &Edit) -> Result<String, EditError> {
    let path = |rest: &[&'static str]| -> Vec<String> {
        entry.iter().chain(rest).map(|part| (*part).to_owned()).collect()
    };
    let (path, scalar) = match change {
        Edit::Config(key, value) => {
            let mut path = path(&["config"]);
            path.push(key.clone());
            (path, value.as_deref().map(edit::quoted))
        }
        Edit::Image(image) => (path(&["image"]), image.as_deref().map(edit::quoted)),
        Edit::Replicas(count) => (path(&["replicas"]), count.map(|count| count.to_string())),
    };
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match scalar {
        Some(scalar) => edit::set(text, &path, &scalar),
        None => edit::remove(text, &path),
    }
}

fn note(workspace: &mut Workspace, section: &str, name: &str, change: &Edit) {
    macro_rules! put {
        ($entry:expr) => {{
            let entry = $entry;
            match change.clone() {
                Edit::Config(key, Some(value)) => {
                    entry.config.insert(key, value);
                }
                Edit::Config(key, None) => {
                    entry.config.shift_remove(&key);
                }
                Edit::Image(image) => entry.image = image,
                Edit::Replicas(count) => entry.replicas = count,
            }
        }};
    }
    if section == "services" {
        put!(workspace.services.entry(name.to_owned()).or_default());
    } else {
        put!(workspace.infrastructure.entry(name.to_owned()).or_default());
    }
}

/// Whether two workspaces mean the same: an entry that says nothing is none.
fn same(a: &Workspace, b: &Workspace) -> bool {
    let tidy = |workspace: &Workspace| {
        let mut workspace = workspace.clone();
        workspace
            .services
            .retain(|_, entry| *entry != WorkspaceService::default());
        workspace
            .infrastructure
            .retain(|_, entry| *entry != Override::default());
        workspace
    };
    tidy(a) == tidy(b)
}

fn by_hand(loaded: &Loaded, problem: &str) -> Failure {
    Plain::new(
        Family::Usage,
        format!("cannot put the change into {}: {problem}", loaded.file.display()),
    )
    .with_hint("write it there by hand, then vadev up")
    .into()
}
