use super::output::OutputArgs;
use super::{Context, Run};
use crate::cluster::Finding;
use crate::engine;
use crate::failure::{Failure, Family, Plain};
use crate::report::{Palette, Table};

/// Look for mistakes in the mesh's configuration, with Istio's own rules
///
/// Fails where an error is found; warnings and remarks are only shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev analyze\n  \
    vadev analyze -o json | jq '.[] | select(.level == \"Error\")'")]
pub struct Analyze {
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Analyze {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let found = context.block_on(engine::analyze(&platform))?;
        let palette = context.stdout_palette();
        context.print(
            &self
                .output
                .output
                .text(&found, |wide| table(&found, wide, palette))?,
        )?;
        let errors = found.iter().filter(|one| one.is_error()).count();
        if errors == 0 {
            return Ok(());
        }
        Err(Plain::new(
            Family::Unhealthy,
            format!("{errors} errors in the mesh's configuration"),
        )
        .with_hint("vadev analyze -o wide shows where each is explained")
        .into())
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn table(found: &[Finding], wide: bool, palette: Palette) -> String {
    if found.is_empty() {
        return "nothing wrong was found\n".to_owned();
    }
    let mut table = if wide {
        Table::new(["level", "code", "about", "what", "explained at"])
    } else {
        Table::new(["level", "code", "about", "what"])
    };
    for one in found {
        let level = match one.level.as_str() {
            "Error" => palette.red("error"),
            "Warning" => palette.yellow("warning"),
            _ => palette.dim("remark"),
        };
        let mut cells = vec![
            level,
            one.code.clone(),
            one.origin.clone(),
            one.message.replace('\n', " "),
        ];
        if wide {
            cells.push(one.documentation.clone());
        }
        table.row(cells);
    }
    table.render(palette)
}
