use std::path::{Path, PathBuf};

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;
use indexmap::IndexMap;
use serde::Serialize;

use super::output::OutputArgs;
use super::overrides::write_whole;
use super::workspace::Loaded;
use super::{Context, Run, complete};
use crate::failure::{Failure, Family, Plain};
use crate::image::read_dockerfile;
use crate::reload::draft::{self, Placed};
use crate::reload::infer::{Inferred, infer};
use crate::reload::source::look;
use crate::reload::{ReloadError, draft::Draft};

/// Propose how the services here are synced, read off their Dockerfiles, and write it into vadev.yaml
///
/// What is in vadev.yaml already stays as it is, remarks included.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev init                                   every service with a Dockerfile here\n  \
    vadev init agent-engine --dry-run            show, and write nothing\n  \
    vadev init -o json                           what was inferred, for programs")]
pub struct Init {
    /// Only these services; without any: all that have a Dockerfile here
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    services: Vec<String>,
    /// Write nothing
    #[arg(long, action = ArgAction::SetTrue)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `init -o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    file: PathBuf,
    written: bool,
    services: IndexMap<String, Proposal>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proposal {
    source: String,
    #[serde(flatten)]
    inferred: Inferred,
    /// Whether it was or would be written; what the file says already is not.
    new: bool,
    #[serde(skip)]
    has_rules: bool,
}

impl Run for Init {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let loaded = context.loaded()?;
        let proposals = self.proposals(loaded)?;
        let file = loaded
            .files
            .first()
            .cloned()
            .unwrap_or_else(|| loaded.root.join("vadev.yaml"));
        let drafts: Vec<Draft<'_>> = proposals
            .iter()
            .filter(|(_, proposal)| proposal.new)
            .map(|(name, proposal)| Draft {
                name,
                source: &proposal.source,
                inferred: &proposal.inferred,
            })
            .collect();
        let before = std::fs::read_to_string(&file).unwrap_or_default();
        let placed = draft::place(&before, &loaded.workspace.name, &drafts);
        let mut written = false;
        if let Placed::Whole(text) = &placed
            && !drafts.is_empty()
            && !self.dry_run
        {
            write(&file, text)?;
            written = true;
        }
        let told = told(&proposals, &placed, &file, written);
        let report = Report {
            file,
            written,
            services: proposals,
        };
        context.print(&self.output.output.text(&report, |_| told)?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

impl Init {
    fn proposals(&self, loaded: &Loaded) -> Result<IndexMap<String, Proposal>, Failure> {
        let mut found = IndexMap::new();
        for (name, service) in &loaded.catalog.services {
            let said = loaded.workspace.services.get(name).cloned().unwrap_or_default();
            let named = self.services.contains(name);
            if !named && !self.services.is_empty() {
                continue;
            }
            let source = said.source.clone().unwrap_or_else(|| service.source.clone());
            let folder = loaded.root.join(&source);
            let dockerfile = folder.join(said.dockerfile.as_deref().unwrap_or("Dockerfile"));
            let text = match read_dockerfile(&dockerfile) {
                Ok(text) => text,
                Err(error) if !named && not_there(&error) => continue,
                Err(error) => return Err(ReloadError::io("read", dockerfile)(error).into()),
            };
            let args = said.args.clone().into_iter().collect();
            let built = said.build.is_some();
            let inferred = infer(&text, said.target.as_deref(), &args, built, &look(&folder));
            let has_rules = said.sync.is_some();
            // What stays with the Dockerfile needs no more than to be there.
            let known = inferred.partly && loaded.workspace.services.contains_key(name);
            let new = !has_rules && !known && !inferred.sync.is_empty();
            found.insert(
                name.clone(),
                Proposal {
                    source,
                    inferred,
                    new,
                    has_rules,
                },
            );
        }
        let unknown = |name: &&String| !loaded.catalog.services.contains_key(*name);
        if let Some(name) = self.services.iter().find(unknown) {
            let known = loaded.catalog.services.keys().map(String::as_str);
            return Err(crate::profile::ResolveError::unknown("service", name, known).into());
        }
        if found.is_empty() {
            let message = format!("no service has a Dockerfile below {}", loaded.root.display());
            return Err(Plain::new(Family::Usage, message)
                .with_hint("name the source folders in vadev.yaml: services: { NAME: { source: FOLDER } }")
                .into());
        }
        Ok(found)
    }
}

fn not_there(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// A file that could not be read afterwards is not written.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    crate::profile::read_workspace(&(file.display().to_string(), text.to_owned()))?;
    write_whole(file, text).map_err(|error| ReloadError::io("write", file)(error).into())
}

fn told(proposals: &IndexMap<String, Proposal>, placed: &Placed, file: &Path, written: bool) -> String {
    let mut lines = Vec::new();
    for (name, proposal) in proposals {
        lines.push(format!("{name} ({})", proposal.source));
        lines.extend(proposal.inferred.notes.iter().map(|note| format!("  {note}")));
        if proposal.has_rules {
            lines.push("  the workspace file has its rules already".to_owned());
        } else if !proposal.new {
            lines.push("  nothing can be synced: each change is an image".to_owned());
        }
    }
    lines.push(String::new());
    match placed {
        Placed::Whole(_) if written => lines.push(format!("Written to {}. Next: vadev dev", file.display())),
        Placed::Whole(text) => {
            lines.push(format!("{} would be:", file.display()));
            lines.push(text.clone());
        }
        Placed::Beside(part) => {
            lines.push(format!(
                "{} is written in a way that can't be changed safely. Put this below its `services`:",
                file.display()
            ));
            lines.push(part.clone());
        }
        Placed::Nothing => lines.push("Nothing to write.".to_owned()),
    }
    lines.join("\n") + "\n"
}
