use schemars::{Schema as JsonSchema, schema_for};

use super::{Context, Run, output};
use crate::catalog::{Infrastructure, Service};
use crate::failure::Failure;

/// Print the JSON Schema of a kind of file, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev schema                                      every kind in one document, chosen by `kind`\n  \
    vadev schema service > service.schema.json")]
pub struct Schema {
    /// The kind of file; without it: all of them
    #[arg(value_enum)]
    kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// `profiles/catalog/services/*.yaml`
    Service,
    /// `profiles/catalog/infrastructure/*.yaml`
    Infrastructure,
}

impl Kind {
    fn schema(self) -> JsonSchema {
        match self {
            Self::Service => schema_for!(Service),
            Self::Infrastructure => schema_for!(Infrastructure),
        }
    }
}

impl Run for Schema {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let text = match self.kind {
            Some(kind) => output::json(&kind.schema())?,
            None => output::json(&all())?,
        };
        context.print(&text)
    }
}

/// One schema for whichever kind a file says it is.
fn all() -> serde_json::Value {
    let kinds = <Kind as clap::ValueEnum>::value_variants();
    serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A file of vadev",
        "oneOf": kinds.iter().map(|kind| kind.schema()).collect::<Vec<_>>(),
    })
}
