use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use super::changed::{Settled, changes_of, changes_table, last, print, told};
use super::output::{Format, OutputArgs};
use super::restart::{Deadline, Waiting};
use super::{Context, Run, complete};
use crate::engine::{ComponentOptions, apply_component, keep_secret};
use crate::failure::{Failure, Family, Plain};
use crate::operate::changes::{Change, Changes, Of, Value};
use crate::operate::configure::{self, SecretKeys};
use crate::operate::rollout::Patience;
use crate::operate::{OperateError, rollout, terminal};
use crate::report::Table;

/// Look at the keys of Secrets, and change values; values are never shown
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Secret {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List keys and the lengths of their values
    #[command(after_help = "Examples:\n  vadev secret list\n  vadev secret list agent-engine")]
    List(List),
    /// Give a key another value, roll the service out with it, and wait
    ///
    /// The value is asked for on the terminal, read from stdin, or from a file; never from the command line.
    #[command(after_help = "Examples:\n  vadev secret set agent-engine OPENAI_API_KEY\n  \
        pass show openai | vadev secret set agent-engine OPENAI_API_KEY\n  \
        vadev secret set agent-engine TLS_KEY --from-file key.pem")]
    Set(Set),
    /// List what was changed and when, newest first, without values
    #[command(after_help = "Example:\n  vadev secret history agent-engine")]
    History(Named),
    /// Give the value from before the last change back, roll out, and wait
    #[command(after_help = "Example:\n  vadev secret undo agent-engine")]
    Undo(Undo),
}

#[derive(Debug, clap::Args)]
struct List {
    /// The service or system; without it: all
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    service: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The service
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    service: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    named: Named,
    /// The key
    #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::secret_keys))]
    key: String,
    /// Read the value from this file, as it is
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, clap::Args)]
struct Undo {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    waiting: Deadline,
}

impl Secret {
    fn format(&self) -> Format {
        match &self.verb {
            Verb::List(list) => list.output.output,
            Verb::Set(set) => set.named.output.output,
            Verb::History(named) => named.output.output,
            Verb::Undo(undo) => undo.named.output.output,
        }
    }
}

impl Run for Secret {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let format = self.format();
        match &self.verb {
            Verb::List(list) => show(context, list),
            Verb::Set(set) => {
                ours(context, &set.named.service, &set.key)?;
                let values = BTreeMap::from([(set.key.clone(), Some(value(context, set)?))]);
                change(context, &set.named.service, &values, set.waiting, format)
            }
            Verb::History(named) => history(context, named),
            Verb::Undo(of) => undo(context, of, format),
        }
    }

    fn machine_readable(&self) -> bool {
        self.format().machine_readable()
    }
}

fn show(context: &Context, list: &List) -> Result<(), Failure> {
    let found = context.block_on(async {
        let site = context.about(&list.service, context.site().await)?;
        let of = match &list.service {
            Some(name) => Some(site.workload(name).await?),
            None => None,
        };
        configure::secrets(&site, of.as_ref()).await
    })?;
    let palette = context.stdout_palette();
    let text = |found: &[SecretKeys]| {
        let mut table = Table::new(["service", "key", "bytes"]);
        for one in found {
            for (key, bytes) in &one.keys {
                table.row([one.service.clone(), key.clone(), bytes.to_string()]);
            }
        }
        table.render(palette)
    };
    context.print(&list.output.output.text(&found, |_| text(&found))?)
}

/// A value that belongs to somebody else is not changed here: the other side would not know of it.
fn ours(context: &Context, name: &str, key: &str) -> Result<(), Failure> {
    let loaded = context.loaded()?;
    let Some(service) = loaded.catalog.services.get(name) else {
        if loaded.catalog.system(name).is_some() {
            let problem = "its passwords are part of its data, and the services' Secrets follow them";
            return Err(OperateError::unfit(
                name,
                problem,
                format!("change the password in {name} itself first: vadev exec {name} -- …"),
            )
            .into());
        }
        let known = loaded.catalog.services.keys().cloned().collect();
        return Err(OperateError::unknown(name, known).into());
    };
    if let Some(from) = service.secrets.get(key).and_then(|source| source.from.as_ref()) {
        let problem = format!("{key} is the password of {from}, which {name} has to know as it is");
        return Err(OperateError::unfit(name, problem, "choose another key").into());
    }
    Ok(())
}

fn value(context: &Context, set: &Set) -> Result<String, Failure> {
    let trouble = |error: &dyn std::fmt::Display| {
        Plain::new(Family::Usage, format!("cannot read the value: {error}"))
            .with_hint("pipe it in, or name a file with --from-file")
    };
    let bytes = if let Some(file) = &set.from_file {
        std::fs::read(file).map_err(|error| trouble(&error))?
    } else if std::io::stdin().is_terminal() {
        let question = format!("Value of {} (not shown):", set.key);
        // Where Ctrl+C is seen to: it must not leave the terminal silent.
        let line = context.block_on(async { Ok(terminal::hidden_line(&question).await) })?;
        line.map_err(|error| trouble(&error))?.into_bytes()
    } else {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|error| trouble(&error))?;
        // `echo` and editors end a line where no line was meant.
        if bytes.ends_with(b"\n") {
            bytes.pop();
        }
        bytes
    };
    let text = String::from_utf8(bytes).map_err(|_| trouble(&"it is no text, and services get it as one"))?;
    if text.is_empty() {
        return Err(trouble(&"it is empty").into());
    }
    Ok(text)
}

/// Changes values, and takes them back where the pods do not come up with them and that was asked for.
fn change(
    context: &Context,
    name: &str,
    values: &BTreeMap<String, Option<String>>,
    waiting: Waiting,
    format: Format,
) -> Result<(), Failure> {
    let patience = waiting.patience();
    let settled = put(context, name, values, None, patience)?;
    told(context, settled, patience, format, || {
        take_back(context, name, patience)?
    })
}

/// Puts values into the Secret, the state folder and the pods; `undoes` is the change that is taken back.
fn put(
    context: &Context,
    name: &str,
    values: &BTreeMap<String, Option<String>>,
    undoes: Option<u32>,
    patience: Patience,
) -> Result<Settled, Failure> {
    let platform = context.running()?;
    context.block_on(async {
        let what = format!("Change the Secret of {name}");
        let site = context.site_of_to(&platform, &what).await?;
        let workload = site.workload(name).await?;
        rollout::refuse_paused(&workload)?;
        let mut changed = BTreeMap::new();
        for (key, after) in values {
            let value = Value {
                before: configure::secret_value(&site, &workload, key).await?,
                after: after.clone(),
                workspace: None,
            };
            changed.insert(key.clone(), value);
        }
        let state = &platform.options.state;
        Changes::open(state, name, &site.cluster.id().uid)?.add(Of::Secret, changed, undoes)?;
        site.cluster.recheck().await?;
        for (key, after) in values {
            configure::put_secret(&site, &workload, key, after.as_deref()).await?;
            keep_secret(state, name, key, after.as_deref())
                .map_err(|error| OperateError::file("write", state, error))?;
        }
        let options = ComponentOptions {
            keep_replicas: true,
            ..ComponentOptions::default()
        };
        if platform.options.place.existing().is_some() {
            rollout::mark_restart(&site, &workload).await?;
        } else {
            apply_component(&platform, &site.cluster, name, &options).await?;
        }
        let now = site.workload(name).await?;
        let keys: Vec<&str> = values.keys().map(String::as_str).collect();
        let cause = format!("secret changed: {}", keys.join(", "));
        let settled = rollout::settle(&site, &now, &cause, patience.within).await;
        if settled.is_err() && !patience.auto_undo {
            site.reporter.note(format!(
                "vadev secret undo {name} gives the value from before back"
            ));
        }
        Ok(settled)
    })
}

fn history(context: &Context, named: &Named) -> Result<(), Failure> {
    let changes = changes_of(context, &named.service)?;
    let mut all: Vec<Change> = changes.newest_first(Of::Secret).cloned().collect();
    for value in all.iter_mut().flat_map(|change| change.values.values_mut()) {
        let hide = |value: &mut Option<String>| {
            if let Some(text) = value {
                "(not shown)".clone_into(text);
            }
        };
        hide(&mut value.before);
        hide(&mut value.after);
    }
    let palette = context.stdout_palette();
    let all: Vec<&Change> = all.iter().collect();
    context.print(
        &named
            .output
            .output
            .text(&all, |_| changes_table(&all, palette, false))?,
    )
}

fn undo(context: &Context, of: &Undo, format: Format) -> Result<(), Failure> {
    let name = &of.named.service;
    let settled = take_back(context, name, of.waiting.patience())?;
    print(context, settled?, format)
}

/// The keys get back what they held before the change.
fn take_back(context: &Context, name: &str, patience: Patience) -> Result<Settled, Failure> {
    let last = last(context, name, Of::Secret)?;
    let values = last
        .values
        .iter()
        .map(|(key, value)| (key.clone(), value.before.clone()))
        .collect();
    put(context, name, &values, Some(last.number), patience)
}
