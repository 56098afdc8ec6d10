//! What was changed of a component's configuration and Secret, for the verbs that list it and take it back.

use super::Context;
use crate::failure::Failure;
use crate::operate::OperateError;
use crate::operate::changes::{Change, Changes};
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
