//! What was changed of a component's configuration and Secret, for the verbs that list it and take it back.

use super::Context;
use super::output::Format;
use super::restart::table;
use crate::failure::Failure;
use crate::operate::OperateError;
use crate::operate::changes::{Change, Changes, Of};
use crate::operate::rollout::{Patience, Rollout};
use crate::report::text::{age, truncate};
use crate::report::{Palette, Table};

/// What was changed of a service in the cluster that is meant.
pub fn changes_of(context: &Context, name: &str) -> Result<Changes, Failure> {
    let known = &context.loaded()?.catalog.services;
    if !known.contains_key(name) {
        return Err(OperateError::unknown(name, known.keys().cloned().collect()).into());
    }
    let platform = context.running()?;
    let uid = context.block_on(async { Ok(context.site_of(&platform).await?.cluster.id().uid.clone()) })?;
    Ok(Changes::open(&platform.options.state, name, &uid)?)
}

/// How pods came up with a change that is there.
pub type Settled = Result<Rollout, Failure>;

/// Tells how a change came out. Where it did not, and somebody asked for that beforehand, `take_back` takes it back first.
pub fn told(
    context: &Context,
    settled: Settled,
    patience: Patience,
    format: Format,
    take_back: impl FnOnce() -> Settled,
) -> Result<(), Failure> {
    if settled.is_err() && patience.auto_undo {
        let reporter = context.reporter();
        reporter.note("taking the change back, as --auto-undo asks");
        if let Err(error) = take_back() {
            reporter.warn(
                format!("the change could not be taken back: {error}"),
                error.hint(),
            );
        }
    }
    print(context, settled?, format)
}

/// Prints what came of a change.
pub fn print(context: &Context, done: Rollout, format: Format) -> Result<(), Failure> {
    let done = [done];
    let palette = context.stdout_palette();
    context.print(&format.text(&done, |_| table(&done, palette))?)
}

/// The newest change of a service that is in force and can be taken back.
pub fn last(context: &Context, name: &str, of: Of) -> Result<Change, Failure> {
    let changes = changes_of(context, name)?;
    let verb = match of {
        Of::Config => "config",
        Of::Secret => "secret",
    };
    let none = || {
        let hint = format!("vadev {verb} history {name} shows what was changed");
        OperateError::unfit(name, "there is no change to take back", hint)
    };
    Ok(changes.last(of).cloned().ok_or_else(none)?)
}

/// Changes as a table; values only where they are no secrets.
pub fn changes_table(all: &[&Change], palette: Palette, values: bool) -> String {
    if all.is_empty() {
        return "nothing was changed\n".to_owned();
    }
    let now = k8s_openapi::jiff::Timestamp::now();
    let mut table = Table::new(["number", "age", "key", "before", "after", ""]);
    for change in all {
        for (key, value) in &change.values {
            let show = |value: &Option<String>| match value {
                None => "–".to_owned(),
                Some(text) if values => truncate(text, 40),
                Some(_) => "(kept)".to_owned(),
            };
            let word = match (change.undone, change.undo) {
                (true, _) => "undone",
                (_, true) => "undo",
                _ => "",
            };
            table.row([
                change.number.to_string(),
                age(now.as_second() - change.time.as_second()),
                key.clone(),
                show(&value.before),
                show(&value.after),
                palette.dim(word),
            ]);
        }
    }
    table.render(palette)
}
