use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::platform::Sources;
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::report::Table;

/// One file that carries tools and images to a machine without network
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Bundle {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write what is there into a bundle
    #[command(after_help = "Examples:\n  \
        vadev bundle create platform.bundle               everything that is there\n  \
        vadev bundle create small.bundle node postgres\n  \
        vadev up --bundle platform.bundle                 on the other machine")]
    Create(Create),
}

#[derive(Debug, clap::Args)]
struct Create {
    // Not called `file`: that is the workspace's, by --file.
    /// The file to write
    #[arg(id = "bundle", value_name = "FILE")]
    file: PathBuf,
    /// Only these, as `vadev supply list` names them
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(complete::recipes))]
    names: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Bundle {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let Verb::Create(create) = &self.verb;
        let supply = context.supply(&Sources::default())?;
        let names: Vec<&str> = create.names.iter().map(String::as_str).collect();
        let entries = context.block_on(async {
            let step = context
                .reporter()
                .step("bundle", format!("Write {}", create.file.display()), None);
            match supply.create_bundle(&create.file, &names, &step).await {
                Ok(entries) => {
                    step.done(format!("{} artefacts", entries.len()));
                    Ok(entries)
                }
                Err(error) => {
                    step.failed(&error);
                    Err(error.into())
                }
            }
        })?;
        let palette = context.stdout_palette();
        let table = |_| {
            let mut table = Table::new(["name", "reference", "digest"]);
            for entry in &entries {
                table.row([&entry.name, &entry.reference, &entry.digest].map(String::clone));
            }
            table.render(palette)
        };
        context.print(&create.output.output.text(&entries, table)?)
    }

    fn machine_readable(&self) -> bool {
        let Verb::Create(create) = &self.verb;
        create.output.output.machine_readable()
    }
}
