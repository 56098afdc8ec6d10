use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::operate::mesh::proxy::{self, Entry, Part};
use crate::report::{Palette, Table};

/// Show what a service's sidecar has been told: clusters, listeners, routes, endpoints, secrets
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev proxy-config agent-engine routes\n  \
    vadev proxy-config agent-engine endpoints -o json | jq '.[] | select(.detail != \"HEALTHY\")'\n  \
    vadev proxy-config agent-engine dump > dump.json")]
pub struct ProxyConfig {
    /// The service
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    service: String,
    /// Which part; `dump` prints everything as Envoy tells it
    #[arg(value_enum, default_value = "clusters", value_name = "PART")]
    part: Part,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for ProxyConfig {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let dump = context.block_on(async {
            let site = context.about([&self.service], context.site().await)?;
            proxy::dump(&site, &self.service).await
        })?;
        if self.part == Part::Dump {
            return context.print(&super::output::json(&dump)?);
        }
        let entries = proxy::entries(&dump, self.part);
        let palette = context.stdout_palette();
        context.print(
            &self
                .output
                .output
                .text(&entries, |_| table(&entries, self.part, palette))?,
        )
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn table(entries: &[Entry], part: Part, palette: Palette) -> String {
    let mut table = match part {
        Part::Clusters => Table::new(["cluster", "discovery", "security"]),
        Part::Listeners => Table::new(["listener", "address", "state"]),
        Part::Routes => Table::new(["route", "matches", "cluster"]),
        Part::Endpoints => Table::new(["cluster", "address", "health"]),
        Part::Secrets | Part::Dump => Table::new(["secret", "kind", "state"]),
    };
    for entry in entries {
        let detail = if entry.detail.starts_with("rejected") || entry.detail == "UNHEALTHY" {
            palette.red(&entry.detail)
        } else {
            entry.detail.clone()
        };
        table.row([entry.name.clone(), entry.kind.clone(), detail]);
    }
    table.render(palette)
}
