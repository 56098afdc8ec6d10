use super::output::OutputArgs;
use super::{Context, Run};
use crate::failure::Failure;
use crate::operate::netpol::{self, Reachability};
use crate::report::{Palette, Table};

/// Look at network policies
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Netpol {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show who may reach whom by the policies that are there, against who calls whom
    #[command(after_help = "Examples:\n  vadev netpol show\n  \
        vadev netpol show -o json | jq '.pairs[] | select(.needed and (.allowed | not))'")]
    Show(OutputArgs),
}

impl Run for Netpol {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let Verb::Show(output) = &self.verb;
        let loaded = context.loaded()?;
        let needs = |from: &str, to: &str| {
            let Some(service) = loaded.catalog.services.get(from) else {
                return false;
            };
            let system = |name: &String| {
                let system = loaded.catalog.system(name);
                system.is_some_and(|system| system.workloads.iter().any(|workload| workload.name == to))
            };
            service.calls.iter().any(|called| called == to) || service.stores.iter().any(system)
        };
        let found = context.block_on(async { netpol::show(&context.site().await?, needs).await })?;
        let palette = context.stdout_palette();
        context.print(&output.output.text(&found, |_| text(&found, palette))?)
    }

    fn machine_readable(&self) -> bool {
        let Verb::Show(output) = &self.verb;
        output.output.machine_readable()
    }
}

fn text(found: &Reachability, palette: Palette) -> String {
    let line = match (found.policies, found.enforcement.doubt(found.policies)) {
        (0, _) => "there are no network policies: everybody may reach everybody\n".to_owned(),
        (_, Some(doubt)) => palette.yellow(&format!("{doubt}\n")),
        (count, None) => {
            let by = found.enforcement.enforced_by.as_deref().unwrap_or_default();
            format!("{count} policies, enforced by {by}\n")
        }
    };
    let mut table = Table::new(["from", "to", "allowed", "called", "kept out by"]);
    let telling = found.pairs.iter().filter(|pair| pair.needed || !pair.allowed);
    for pair in telling {
        table.row([
            pair.from.clone(),
            pair.to.clone(),
            match (pair.allowed, pair.needed) {
                (true, _) => palette.green("yes"),
                (false, true) => palette.red("no"),
                (false, false) => "no".to_owned(),
            },
            if pair.needed { "yes" } else { "" }.to_owned(),
            pair.by.join(", "),
        ]);
    }
    let open = found
        .pairs
        .iter()
        .filter(|pair| pair.allowed && !pair.needed)
        .count();
    let more = format!("{open} more pairs may reach each other without calling each other\n");
    if table.is_empty() {
        return line + &more;
    }
    line + &table.render(palette) + &more
}
