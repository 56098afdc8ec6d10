use schemars::{Schema as JsonSchema, schema_for};

use super::{Context, Run, output};
use crate::catalog::{Infrastructure, MeshEntry, Service};
use crate::failure::Failure;
use crate::profile::{Profile, Workspace};

/// Print the JSON Schema of a kind of file, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev schema                                      every kind in one document\n  \
    vadev schema workspace > vadev.schema.json")]
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
    /// `profiles/catalog/mesh/*.yaml`
    Mesh,
    /// `profiles/*.yaml`
    Profile,
    /// `vadev.yaml`
    Workspace,
}

impl Kind {
    fn schema(self) -> JsonSchema {
        match self {
            Self::Service => schema_for!(Service),
            Self::Infrastructure => schema_for!(Infrastructure),
            Self::Mesh => schema_for!(MeshEntry),
            Self::Profile => schema_for!(Profile),
            Self::Workspace => schema_for!(Workspace),
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
