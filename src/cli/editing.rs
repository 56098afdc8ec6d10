//! A service's configuration in the user's editor. Whatever goes wrong afterwards, what was written there is not lost.

use std::collections::BTreeMap;

use tempfile::NamedTempFile;

use super::Context;
use super::output;
use crate::failure::{Failure, Family, Plain};
use crate::operate::{configure, terminal};

type Values = BTreeMap<String, String>;

/// What was written, and the file that it was written into, which goes with this.
pub struct Draft {
    /// What is to change; `None` where a key goes.
    pub changes: BTreeMap<String, Option<String>>,
    file: NamedTempFile,
}

impl Draft {
    /// Lets the user's editor work on the configuration of a service.
    pub fn edit(context: &Context, name: &str) -> Result<Self, Failure> {
        let before = context.block_on(async {
            let site = context.site().await?;
            let workload = site.workload(name).await?;
            configure::config(&site, &workload).await
        })?;
        let trouble = |error: &dyn std::fmt::Display| {
            Plain::new(Family::Environment, format!("cannot edit: {error}"))
                .with_hint("set EDITOR to an editor that is there, or use vadev config set")
        };
        let file = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .suffix(".yaml")
            .tempfile()
            .map_err(|error| trouble(&error))?;
        std::fs::write(file.path(), output::yaml(&before)?).map_err(|error| trouble(&error))?;
        let editor = ["VISUAL", "EDITOR"]
            .iter()
            .find_map(|name| std::env::var(name).ok());
        terminal::edit(editor.as_deref().unwrap_or("vi"), file.path()).map_err(|error| trouble(&error))?;
        let text = std::fs::read_to_string(file.path()).map_err(|error| trouble(&error))?;
        match parsed(&text) {
            Ok(after) => Ok(Self {
                changes: changes(&before, &after),
                file,
            }),
            Err(problem) => Err(Plain::new(Family::Usage, problem)
                .with_hint(format!("nothing was changed; {}", kept(file)))
                .into()),
        }
    }

    /// Keeps what was written, and says where.
    pub fn keep(self) -> String {
        kept(self.file)
    }
}

fn kept(file: NamedTempFile) -> String {
    match file.keep() {
        Ok((_, path)) => format!("what you wrote is kept in {}", path.display()),
        Err(error) => format!("what you wrote could not be kept: {error}"),
    }
}

fn parsed(text: &str) -> Result<Values, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        format!(
            "what was written is no mapping of keys to texts (numbers and truth values go in quotes): {error}"
        )
    })
}

fn changes(before: &Values, after: &Values) -> BTreeMap<String, Option<String>> {
    let given = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value));
    let given = given.map(|(key, value)| (key.clone(), Some(value.clone())));
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    given.chain(gone.map(|key| (key.clone(), None))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_becomes_changes_or_is_kept() {
        let before = parsed("A: \"1\"\nB: b\n").unwrap();
        let after = parsed("A: \"2\"\nC: c\n").unwrap();
        let some = |text: &str| Some(text.to_owned());
        let wanted = [("A", some("2")), ("B", None), ("C", some("c"))];
        let wanted = wanted.map(|(key, value)| (key.to_owned(), value));
        assert_eq!(changes(&before, &after), BTreeMap::from(wanted));
        assert!(parsed("A: [").is_err());
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "A: [").unwrap();
        let said = kept(file);
        let path = said.rsplit(' ').next().unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "A: [");
        std::fs::remove_file(path).unwrap();
    }
}
