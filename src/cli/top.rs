use super::output::OutputArgs;
use super::{Context, Run};
use crate::failure::Failure;
use crate::operate::top::{self, Measured, Top as Report};
use crate::report::text::bytes;
use crate::report::{Palette, Table};

/// Show what pods or nodes use of CPU and memory, the hungriest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev top\n  \
    vadev top nodes\n  \
    vadev top pods -o json | jq '.usage[] | select(.memoryBytes > 100e6) | .name'")]
pub struct Top {
    /// Of what
    #[arg(value_enum, default_value_t, value_name = "WHAT")]
    what: What,
    #[command(flatten)]
    output: OutputArgs,
}

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum What {
    /// The platform's pods.
    #[default]
    Pods,
    /// The cluster's nodes.
    Nodes,
}

impl Run for Top {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let report = context.block_on(async {
            let site = context.site().await?;
            match self.what {
                What::Pods => top::pods(&site).await,
                What::Nodes => top::nodes(&site).await,
            }
        })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&report, |_| table(&report, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn table(report: &Report, palette: Palette) -> String {
    let mut table = Table::new(["name", "cpu", "of", "memory", "of", ""]);
    for one in &report.usage {
        let share = one
            .memory_limit_bytes
            .filter(|limit| *limit > 0)
            .map(|limit| one.memory_bytes * 100 / limit);
        let share = match share {
            Some(share) if share >= 90 => palette.red(&format!("{share}%")),
            Some(share) => format!("{share}%"),
            None => String::new(),
        };
        table.row([
            one.name.clone(),
            format!("{}m", one.cpu_millis),
            one.cpu_limit_millis
                .map_or_else(String::new, |limit| format!("{limit}m")),
            bytes(one.memory_bytes),
            one.memory_limit_bytes.map_or_else(String::new, bytes),
            share,
        ]);
    }
    let by = match report.measured_by {
        Measured::MetricsServer => "",
        Measured::Kubelet => {
            "measured by the kubelets themselves, because metrics-server is not deployed; any manifest of it brings it, and autoscalers need it\n"
        }
    };
    table.render(palette) + by
}
