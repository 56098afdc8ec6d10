use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{Schema as JsonSchema, schema_for};

use super::{Context, Run, output};
use crate::catalog::{Infrastructure, MeshEntry, Service};
use crate::cluster::Finding;
use crate::engine::compose::{ComposeReport, ContainerStatus};
use crate::engine::{DownReport, MeshReport, PauseReport, StatusReport, Token, UpReport, VerifyReport};
use crate::failure::Failure;
use crate::operate::mesh::{connectivity, proxy, status};
use crate::operate::{
    audit, backup, changes, configure, dashboards, describe, events, hpa, logs, netpol, query, revisions,
    rollout, tls, top,
};
use crate::profile::stack::Figure;
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

/// Verbs whose JSON is a promise. Those that follow something print one such document a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
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
    Logs,
    Describe,
    Top,
    Events,
    Analyze,
    ProxyConfig,
    ProxyStatus,
    CheckConnectivity,
    AuditLog,
    Dashboard,
    ConfigGet,
    ConfigSet,
    ConfigHistory,
    SecretList,
    SecretSet,
    SecretHistory,
    SecretUndo,
    ConfigEdit,
    ConfigUndo,
    Restart,
    Upgrade,
    Scale,
    RolloutStatus,
    RolloutHistory,
    RolloutUndo,
    RolloutResume,
    HpaList,
    HpaShow,
    HpaSet,
    HpaRemove,
    TlsShow,
    TlsCreate,
    TlsRenew,
    NetpolShow,
    Query,
    BackupCreate,
    BackupList,
    BackupVerify,
    BackupCleanup,
    Restore,
    Promote,
    ProfileList,
    ProfileExplain,
    ProfileDiff,
}

impl Printed {
    fn schema(self) -> JsonSchema {
        match self {
            Self::Up => of::<UpReport>(),
            Self::Status => of::<StatusReport>(),
            Self::Verify => of::<VerifyReport>(),
            Self::VerifyMesh => of::<MeshReport>(),
            Self::Token => of::<Token>(),
            Self::Down => of::<DownReport>(),
            Self::Pause | Self::Resume => of::<PauseReport>(),
            Self::Doctor => of::<doctor::Report>(),
            Self::SupplyList => of::<Vec<ListRow>>(),
            Self::ComposeUp => of::<ComposeReport>(),
            Self::ComposePs => of::<Vec<ContainerStatus>>(),
            Self::Logs => of::<logs::LogLine>(),
            Self::Describe => of::<describe::Description>(),
            Self::Top => of::<top::Top>(),
            Self::Events => of::<Vec<events::EventLine>>(),
            Self::Analyze => of::<Vec<Finding>>(),
            Self::ProxyConfig => of::<Vec<proxy::Entry>>(),
            Self::ProxyStatus => of::<Vec<status::Proxy>>(),
            Self::CheckConnectivity => of::<Vec<connectivity::Reach>>(),
            Self::AuditLog => of::<audit::AuditLine>(),
            Self::Dashboard => of::<Vec<dashboards::Opened>>(),
            Self::ConfigGet => of::<BTreeMap<String, String>>(),
            Self::ConfigHistory | Self::SecretHistory => of::<Vec<changes::Change>>(),
            Self::SecretList => of::<Vec<configure::SecretKeys>>(),
            Self::ConfigSet
            | Self::ConfigEdit
            | Self::ConfigUndo
            | Self::SecretSet
            | Self::SecretUndo
            | Self::Restart
            | Self::Upgrade
            | Self::Scale
            | Self::RolloutStatus
            | Self::RolloutUndo
            | Self::RolloutResume => of::<Vec<rollout::Rollout>>(),
            Self::RolloutHistory => of::<Vec<revisions::Revision>>(),
            Self::HpaList | Self::HpaShow | Self::HpaSet | Self::HpaRemove => of::<Vec<hpa::Hpa>>(),
            Self::TlsShow | Self::TlsCreate | Self::TlsRenew => of::<tls::Served>(),
            Self::BackupCreate | Self::BackupVerify | Self::Restore => of::<Vec<backup::Done>>(),
            Self::BackupList => of::<Vec<backup::Stored>>(),
            Self::BackupCleanup => of::<backup::Cleaned>(),
            Self::NetpolShow => of::<netpol::Reachability>(),
            Self::Query => of::<query::Answer>(),
            Self::Promote => of::<super::promotion::Report>(),
            Self::ProfileList => of::<Vec<super::profile::Row>>(),
            Self::ProfileExplain => of::<Vec<Figure>>(),
            Self::ProfileDiff => of::<Vec<super::profile::Change>>(),
        }
    }
}

/// The schema of what is written: a field that is left out when it is empty is not required.
fn of<T: schemars::JsonSchema>() -> JsonSchema {
    let settings = SchemaSettings::default().for_serialize();
    settings.into_generator().into_root_schema_for::<T>()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printed_document_has_a_schema_with_fields() {
        for verb in <Printed as clap::ValueEnum>::value_variants() {
            let schema = verb.schema();
            let text = serde_json::to_string(&schema).unwrap();
            let fields = text.contains("\"properties\"");
            assert!(fields || *verb == Printed::ConfigGet, "{verb:?}: {text}");
        }
        let hpa = of::<hpa::Hpa>();
        let required = hpa.as_value()["required"].to_string();
        assert!(
            required.contains("\"min\"") && !required.contains("trouble"),
            "{required}"
        );
    }
}
