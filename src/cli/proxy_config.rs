use clap::ValueEnum as _;
use clap_complete::engine::ArgValueCompleter;

use super::output::{self, Format, OutputArgs};
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::operate::OperateError;
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
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    service: String,
    /// Which part: clusters (the default), listeners, routes, endpoints, secrets; dump prints everything as Envoy tells it
    #[arg(value_name = "PART", add = ArgValueCompleter::new(complete::parts_of_proxy))]
    part: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The service and the part that are meant. istioctl has them the other way round, so that is understood too.
fn meant<'a>(first: &'a str, second: Option<&'a str>) -> Result<(&'a str, Part), OperateError> {
    let part = |word: &str| Part::from_str(word, false).ok();
    match (part(first), second) {
        (None, None) => Ok((first, Part::Clusters)),
        (Some(_), None) => {
            let hint = format!("vadev proxy-config agent-engine {first}");
            Err(OperateError::unfit(
                first,
                "it is a part of a proxy and no service",
                hint,
            ))
        }
        (swapped, Some(second)) => match (part(second), swapped) {
            (Some(part), _) => Ok((first, part)),
            (None, Some(part)) => Ok((second, part)),
            (None, None) => {
                let parts = Part::value_variants().iter().filter_map(Part::to_possible_value);
                let parts: Vec<String> = parts.map(|part| part.get_name().to_owned()).collect();
                let hint = match OperateError::nearest(second, parts.clone()) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("there are {}", parts.join(", ")),
                };
                Err(OperateError::unfit(second, "it is no part of a proxy", hint))
            }
        },
    }
}

impl Run for ProxyConfig {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (service, part) = meant(&self.service, self.part.as_deref())?;
        let dump = context.block_on(async {
            let site = context.about([service], context.site().await)?;
            proxy::dump(&site, service).await
        })?;
        let format = self.output.output;
        if part == Part::Dump {
            let text = match format {
                Format::Yaml => output::yaml(&dump)?,
                _ => output::json(&dump)?,
            };
            return context.print(&text);
        }
        let entries = proxy::entries(&dump, part);
        let palette = context.stdout_palette();
        context.print(&format.text(&entries, |_| table(&entries, part, palette))?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Diagnose as _;

    #[test]
    fn service_and_part_are_understood_in_either_order() {
        let found = |first, second| meant(first, second).map_err(|error| error.hint().unwrap());
        let is = |name, part| Ok((name, part));
        assert_eq!(found("rag-engine", None), is("rag-engine", Part::Clusters));
        assert_eq!(
            found("rag-engine", Some("routes")),
            is("rag-engine", Part::Routes)
        );
        assert_eq!(
            found("routes", Some("rag-engine")),
            is("rag-engine", Part::Routes)
        );
        assert!(found("routes", None).unwrap_err().contains("agent-engine routes"));
        assert!(
            found("rag-engine", Some("rotes"))
                .unwrap_err()
                .contains("`routes`")
        );
    }
}
