use super::output::OutputArgs;
use super::{Context, Run};
use crate::engine::{self, Loaded};
use crate::failure::Failure;
use crate::report::{Palette, Table};

/// Bring images of the Docker engine into the cluster's nodes: only the layers that a node lacks
///
/// An image appears in a node when all of it is there; interrupted, nothing of it can be seen. A pod uses it with
/// `imagePullPolicy: IfNotPresent` or `Never`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev load my/service:1.2\n  \
    vadev load my/service:1.2 busybox                 several, to all nodes at once\n  \
    vadev load my/service:1.2 --node vadev-shop-worker\n  \
    vadev load my/service:1.2 -o json | jq '.[].sentBytes'")]
pub struct Load {
    /// Images as the Docker engine names them
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Only into these nodes; default: all
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Load {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let loaded = context.block_on(async {
            let title = format!("Load {}", self.images.join(", "));
            let step = context.reporter().step("load", title, None);
            match engine::load(&platform, &self.images, &self.nodes, &step).await {
                Ok(loaded) => {
                    let new = loaded.iter().filter(|one| !one.was_there).count();
                    step.done(format!("{new} of {} were not there", loaded.len()));
                    Ok(loaded)
                }
                Err(error) => {
                    step.finish(crate::report::Outcome::Failed, error.to_string());
                    Err(error)
                }
            }
        })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&loaded, |_| table(&loaded, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn table(loaded: &[Loaded], palette: Palette) -> String {
    let mut table = Table::new(["image", "node", "sent", "there already", "took"]);
    let megabytes = |bytes: u64| {
        let tenths = bytes / 100_000;
        format!("{}.{} MB", tenths / 10, tenths % 10)
    };
    for one in loaded {
        table.row([
            one.image.clone(),
            one.node.clone(),
            megabytes(one.sent_bytes),
            if one.was_there {
                "all".to_owned()
            } else {
                megabytes(one.skipped_bytes)
            },
            crate::report::text::seconds(one.seconds),
        ]);
    }
    table.render(palette)
}
