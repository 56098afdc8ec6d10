use super::output::OutputArgs;
use super::{Context, Run};
use crate::failure::Failure;
use crate::operate::mesh::status::{Proxy, proxies};
use crate::report::{Palette, Table};

/// Show whether every proxy of the mesh has taken what istiod sent it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vadev proxy-status\n  vadev proxy-status -o json")]
pub struct ProxyStatus {
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for ProxyStatus {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let found = context.block_on(async { proxies(&context.site().await?).await })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&found, |_| table(&found, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn table(found: &[Proxy], palette: Palette) -> String {
    let mut table = Table::new([
        "proxy",
        "kind",
        "version",
        "clusters",
        "listeners",
        "routes",
        "endpoints",
    ]);
    for proxy in found {
        let mut cells = vec![proxy.name.clone(), proxy.kind.clone(), proxy.version.clone()];
        cells.extend(proxy.parts.iter().map(|part| match part.state {
            "synced" => palette.green(part.state),
            "stale" => palette.red(part.state),
            state => palette.dim(state),
        }));
        table.row(cells);
    }
    table.render(palette)
}
