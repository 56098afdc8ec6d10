use std::collections::BTreeMap;

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::changed::{Settled, changes_of, changes_table, last, print, told};
use super::editing::Draft;
use super::output::{Format, OutputArgs};
use super::overrides::{Edit, Edited};
use super::restart::{Deadline, Waiting};
use super::{Context, Run, complete};
use crate::engine::{self, ComponentOptions, apply_component};
use crate::failure::Failure;
use crate::operate::changes::{Change, Changes, Of, Value};
use crate::operate::rollout::Patience;
use crate::operate::{OperateError, Site, configure, rollout};

/// Look at and change the configuration of a service; changes land in vadev.yaml and are rolled out
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Config {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what a service is configured with
    #[command(
        after_help = "Examples:\n  vadev config get agent-engine\n  vadev config get agent-engine LOG_LEVEL"
    )]
    Get(Get),
    /// Give values, roll the service out with them, and wait
    #[command(
        after_help = "Examples:\n  vadev config set agent-engine LOG_LEVEL=debug MAX_STEPS=20\n  \
        vadev config set agent-engine --unset MAX_STEPS        back to the catalog's value"
    )]
    Set(Set),
    /// Change the values in your editor ($VISUAL, $EDITOR)
    #[command(after_help = "Example:\n  EDITOR=nano vadev config edit agent-engine")]
    Edit(Changing),
    /// List what was changed and when, newest first
    #[command(after_help = "Example:\n  vadev config history agent-engine")]
    History(Named),
    /// Take the last change back, roll out, and wait
    #[command(after_help = "Example:\n  vadev config undo agent-engine")]
    Undo(Undo),
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
struct Get {
    #[command(flatten)]
    named: Named,
    /// Only the value of this key
    #[arg(value_name = "KEY", add = ArgValueCompleter::new(complete::config_keys))]
    key: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Changing {
    #[command(flatten)]
    named: Named,
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

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    changing: Changing,
    /// Keys with their new values
    #[arg(value_name = "KEY=VALUE", value_parser = pair, required_unless_present = "unset",
          add = ArgValueCompleter::new(complete::config_pairs))]
    pairs: Vec<(String, String)>,
    /// Keys that get the catalog's value back, or go
    #[arg(long, value_name = "KEY", action = ArgAction::Append, add = ArgValueCompleter::new(complete::config_keys))]
    unset: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if key.is_empty() || !key.chars().all(plain) {
        return Err("a key is made of letters, digits, `_`, `-` and `.`".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

impl Config {
    fn format(&self) -> Format {
        match &self.verb {
            Verb::Get(get) => get.named.output.output,
            Verb::History(named) => named.output.output,
            Verb::Set(set) => set.changing.named.output.output,
            Verb::Edit(of) => of.named.output.output,
            Verb::Undo(of) => of.named.output.output,
        }
    }
}

impl Run for Config {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let format = self.format();
        match &self.verb {
            Verb::Get(get) => show(context, get),
            Verb::Set(set) => {
                let name = &set.changing.named.service;
                let mut values: BTreeMap<String, Option<String>> = BTreeMap::new();
                values.extend(set.unset.iter().map(|key| (key.clone(), None)));
                values.extend(
                    set.pairs
                        .iter()
                        .map(|(key, value)| (key.clone(), Some(value.clone()))),
                );
                change(context, name, &values, set.changing.waiting, format)
            }
            Verb::Edit(of) => {
                let name = &of.named.service;
                service_only(context, name)?;
                let draft = Draft::edit(context, name)?;
                if draft.changes.is_empty() {
                    context.reporter().note("nothing was changed");
                    return Ok(());
                }
                let done = change(context, name, &draft.changes, of.waiting, format);
                if done.is_err() {
                    context.reporter().note(draft.keep());
                }
                done
            }
            Verb::History(named) => history(context, named),
            Verb::Undo(of) => undo(context, of, format),
        }
    }

    fn machine_readable(&self) -> bool {
        self.format().machine_readable()
    }
}

fn show(context: &Context, get: &Get) -> Result<(), Failure> {
    let name = &get.named.service;
    let config = context.block_on(async {
        let site = context.about([name], context.site().await)?;
        let workload = site.workload(name).await?;
        configure::config(&site, &workload).await
    })?;
    if let Some(key) = &get.key {
        let known = || config.keys().cloned().collect();
        let value = config
            .get(key)
            .ok_or_else(|| OperateError::unknown(key, known()))?;
        return context.print(&get.named.output.output.text(value, |_| format!("{value}\n"))?);
    }
    let lines = || {
        config.iter().fold(String::new(), |text, (key, value)| {
            format!("{text}{key}={value}\n")
        })
    };
    context.print(&get.named.output.output.text(&config, |_| lines())?)
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
        // The workspace file has just been written.
        let context = &context.again();
        take_back(context, name, patience)?
    })
}

/// Puts values into the workspace file, the cluster and the pods. `values` is what the workspace file is to say, and `undoes` the
/// change that is taken back.
fn put(
    context: &Context,
    name: &str,
    values: &BTreeMap<String, Option<String>>,
    undoes: Option<&Change>,
    patience: Patience,
) -> Result<Settled, Failure> {
    service_only(context, name)?;
    let edits: Vec<Edit> = values
        .iter()
        .map(|(key, value)| Edit::Config(key.clone(), value.clone()))
        .collect();
    let edited = Edited::new(context, name, &edits)?;
    let platform = edited.platform(context)?;
    let own = platform.options.place.existing().is_none();
    let rendered = engine::rendered_config(&platform, &edited.service(name)?);
    let values = &in_cluster(values, &rendered, undoes.filter(|_| !own));
    context.block_on(async {
        let what = format!("Configure {name}");
        let site = context.site_of_to(&platform, &what).await?;
        let workload = site.workload(name).await?;
        rollout::refuse_paused(&workload)?;
        let before = configure::config(&site, &workload).await?;
        let said = context.loaded()?.workspace.services.get(name);
        let changed = values.keys().map(|key| {
            let value = Value {
                before: before.get(key).cloned(),
                after: values[key].clone(),
                workspace: said.and_then(|entry| entry.config.get(key).cloned()),
            };
            (key.clone(), value)
        });
        let changed: BTreeMap<_, _> = changed.collect();
        let state = &platform.options.state;
        // Written down first: a change that was interrupted can be taken back too.
        Changes::open(state, name, &site.cluster.id().uid)?.add(
            Of::Config,
            changed,
            undoes.map(|change| change.number),
        )?;
        edited.write()?;
        let options = ComponentOptions {
            keep_replicas: true,
            ..ComponentOptions::default()
        };
        if own {
            apply_component(&platform, &site.cluster, name, &options).await?;
        } else {
            configure::put_config(&site, &workload, values).await?;
            rollout::mark_restart(&site, &workload).await?;
        }
        Ok(finish(&site, name, values, patience).await)
    })
}

/// What the cluster is to have of these values; a key with `None` goes. What the workspace file does not say, the catalog does:
/// `rendered` is both together. A cluster that vadev did not make may have had something else, which an undo gives back.
fn in_cluster(
    values: &BTreeMap<String, Option<String>>,
    rendered: &BTreeMap<String, String>,
    undoes: Option<&Change>,
) -> BTreeMap<String, Option<String>> {
    let value = |key: &String| match undoes {
        Some(change) => change.values.get(key).and_then(|value| value.before.clone()),
        None => rendered.get(key).cloned(),
    };
    values.keys().map(|key| (key.clone(), value(key))).collect()
}

async fn finish(
    site: &Site,
    name: &str,
    values: &BTreeMap<String, Option<String>>,
    patience: Patience,
) -> Settled {
    let now = site.workload(name).await?;
    let keys: Vec<&str> = values.keys().map(String::as_str).collect();
    let cause = format!("configuration changed: {}", keys.join(", "));
    let settled = rollout::settle(site, &now, &cause, patience.within).await;
    if settled.is_err() && !patience.auto_undo {
        site.reporter
            .note(format!("vadev config undo {name} goes back to what was before"));
    }
    settled
}

fn service_only(context: &Context, name: &str) -> Result<(), Failure> {
    let loaded = context.loaded()?;
    if loaded.catalog.services.contains_key(name) {
        return Ok(());
    }
    if loaded.catalog.system(name).is_some() {
        let hint =
            format!("change it in vadev.yaml under infrastructure: {name}: config, then vadev up {name}");
        return Err(OperateError::unfit(name, "a system's configuration is files, not keys", hint).into());
    }
    let known = loaded.catalog.services.keys().cloned().collect();
    Err(OperateError::unknown(name, known).into())
}

fn history(context: &Context, named: &Named) -> Result<(), Failure> {
    let changes = changes_of(context, &named.service)?;
    let all: Vec<&Change> = changes.newest_first(Of::Config).collect();
    let palette = context.stdout_palette();
    context.print(
        &named
            .output
            .output
            .text(&all, |_| changes_table(&all, palette, true))?,
    )
}

fn undo(context: &Context, of: &Undo, format: Format) -> Result<(), Failure> {
    let name = &of.named.service;
    let settled = take_back(context, name, of.waiting.patience())?;
    print(context, settled?, format)
}

/// The workspace file goes back to what it said before the change.
fn take_back(context: &Context, name: &str, patience: Patience) -> Result<Settled, Failure> {
    let last = last(context, name, Of::Config)?;
    let values = last
        .values
        .iter()
        .map(|(key, value)| (key.clone(), value.workspace.clone()))
        .collect();
    put(context, name, &values, Some(&last), patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_a_key() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(pair("A="), Ok(("A".into(), String::new())));
        assert!(pair("A").is_err() && pair("=x").is_err() && pair("A B=x").is_err());
    }

    #[test]
    fn what_goes_from_the_workspace_goes_back_to_what_was() {
        let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let unset = BTreeMap::from([("LEVEL".to_owned(), None), ("NEW".to_owned(), None)]);
        let rendered = text(&[("LEVEL", "info")]);
        let cluster = in_cluster(&unset, &rendered, None);
        assert_eq!(
            cluster["LEVEL"].as_deref(),
            Some("info"),
            "the catalog's, and no gap"
        );
        assert_eq!(cluster["NEW"], None);
        let level = Value {
            before: Some("warn".to_owned()),
            after: Some("debug".to_owned()),
            workspace: None,
        };
        let change = Change {
            number: 1,
            time: k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            cluster: "uid".to_owned(),
            of: Of::Config,
            values: BTreeMap::from([("LEVEL".to_owned(), level)]),
            undone: false,
            undo: false,
        };
        let cluster = in_cluster(&unset, &rendered, Some(&change));
        assert_eq!(cluster["LEVEL"].as_deref(), Some("warn"), "what production had");
        assert_eq!(cluster["NEW"], None);
    }
}
