//! Data on stdout: a table for people, JSON or YAML for programs.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::failure::{Failure, Family, Plain};

/// How a verb prints its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// An aligned table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl Format {
    /// Whether programs read it.
    pub fn machine_readable(self) -> bool {
        matches!(self, Self::Json | Self::Yaml)
    }

    /// The text of `data`: serialised, or as the table that `table` makes (its argument: whether wide).
    pub fn text<T: Serialize>(self, data: &T, table: impl FnOnce(bool) -> String) -> Result<String, Failure> {
        match self {
            Self::Table => Ok(table(false)),
            Self::Wide => Ok(table(true)),
            Self::Json => json(data),
            Self::Yaml => yaml(data),
        }
    }

    /// One of many that come after each other, for programs: a JSON object on a line of its own, or a YAML document.
    pub fn one_of_many<T: Serialize>(self, data: &T) -> Result<String, Failure> {
        if self == Self::Yaml {
            return Ok(format!("---\n{}", yaml(data)?));
        }
        let text = serde_json::to_string(data).map_err(|error| unserialisable(&error))?;
        Ok(text + "\n")
    }
}

/// The flag `-o`.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct OutputArgs {
    /// Format of the data on stdout
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        env = "VADEV_OUTPUT",
        hide_env = true
    )]
    pub output: Format,
}

/// Indented JSON, ended by a newline.
pub fn json<T: Serialize>(data: &T) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(data).map_err(|error| unserialisable(&error))?;
    Ok(text + "\n")
}

/// A YAML document.
pub fn yaml<T: Serialize>(data: &T) -> Result<String, Failure> {
    serde_saphyr::to_string_with_options(data, crate::render::yaml::options())
        .map_err(|error| unserialisable(&error))
}

fn unserialisable(error: &dyn std::error::Error) -> Failure {
    Plain::new(Family::Internal, format!("cannot write the result: {error}")).into()
}

/// Writes to stdout. A reader that has gone away (`vadev status | head`) wants no more, which is not a failure.
pub fn write(text: &str) -> Result<(), Failure> {
    write_bytes(text.as_bytes())
}

/// As [`write`], for what need not be text.
pub fn write_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Plain::new(
            Family::Internal,
            format!("cannot write to stdout: {error}"),
        )
        .with_hint("check the free space where stdout is redirected to")
        .into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_one_after_the_other_is_told_apart() {
        let data = serde_json::json!({"a": "x\ny"});
        assert_eq!(Format::Json.one_of_many(&data).unwrap(), "{\"a\":\"x\\ny\"}\n");
        assert!(Format::Yaml.one_of_many(&data).unwrap().starts_with("---\na: "));
    }
}
