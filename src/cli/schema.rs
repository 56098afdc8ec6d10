use schemars::{Schema as JsonSchema, schema_for};

use super::{Context, Run, output};
use crate::catalog::{Infrastructure, MeshEntry, Service};
use crate::engine::compose::{ComposeReport, ContainerStatus};
use crate::engine::{DownReport, MeshReport, PauseReport, StatusReport, Token, UpReport, VerifyReport};
use crate::failure::Failure;
use crate::profile::{Profile, Workspace};
use crate::promote::Environment;
use crate::supply::{ListRow, doctor};

/// Print the JSON Schema of a kind of file, for editors, or of what a verb prints with `-o json`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev schema                                      every kind in one document\n  \
    vadev schema workspace > vadev.schema.json\n  \
    vadev schema --output-of status                   what `vadev status -o json` prints")]
pub struct Schema {
    /// The kind of file; without it: all of them
    #[arg(value_enum)]
    kind: Option<Kind>,
    /// Instead: what this verb prints with `-o json`
    #[arg(long, value_enum, value_name = "VERB", conflicts_with = "kind")]
    output_of: Option<Printed>,
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
    /// What `vadev promote --env` takes
    Environment,
}

impl Kind {
    fn schema(self) -> JsonSchema {
        match self {
            Self::Service => schema_for!(Service),
            Self::Infrastructure => schema_for!(Infrastructure),
            Self::Mesh => schema_for!(MeshEntry),
            Self::Profile => schema_for!(Profile),
            Self::Workspace => schema_for!(Workspace),
            Self::Environment => schema_for!(Environment),
        }
    }
}

/// Verbs whose JSON is a promise.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Printed {
    Up,
    Status,
    Verify,
    VerifyMesh,
    Token,
    Down,
    Pause,
    Resume,
    Doctor,
    SupplyList,
    ComposeUp,
    ComposePs,
}

impl Printed {
    fn schema(self) -> JsonSchema {
        match self {
            Self::Up => schema_for!(UpReport),
            Self::Status => schema_for!(StatusReport),
            Self::Verify => schema_for!(VerifyReport),
            Self::VerifyMesh => schema_for!(MeshReport),
            Self::Token => schema_for!(Token),
            Self::Down => schema_for!(DownReport),
            Self::Pause | Self::Resume => schema_for!(PauseReport),
            Self::Doctor => schema_for!(doctor::Report),
            Self::SupplyList => schema_for!(Vec<ListRow>),
            Self::ComposeUp => schema_for!(ComposeReport),
            Self::ComposePs => schema_for!(Vec<ContainerStatus>),
        }
    }
}

impl Run for Schema {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let text = match (self.output_of, self.kind) {
            (Some(verb), _) => output::json(&verb.schema())?,
            (None, Some(kind)) => output::json(&kind.schema())?,
            (None, None) => output::json(&all())?,
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
