use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::{Context, Run, complete, timeout};
use crate::failure::Failure;
use crate::operate::rollout::{self, Rollout};
use crate::report::text::seconds;
use crate::report::{Palette, Table};

/// Replace the pods of services, one after the other, and wait until the new ones serve
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev restart agent-engine\n  \
    vadev restart conversation-service identity-service --timeout 2m")]
pub struct Restart {
    /// The services or systems
    #[arg(value_name = "SERVICE", required = true, add = ArgValueCompleter::new(complete::workloads))]
    services: Vec<String>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: OutputArgs,
}

/// How long to wait for pods.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Waiting {
    /// Longest wait for the pods of one service
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    pub timeout: Duration,
}

impl Run for Restart {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let done = context.block_on(async {
            let what = format!("Restart {}", self.services.join(", "));
            let site = context.about(&self.services, context.site_to(&what).await)?;
            rollout::restart(&site, &self.services, self.waiting.timeout).await
        })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&done, |_| table(&done, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

/// Rollouts that came to their end.
pub fn table(done: &[Rollout], palette: Palette) -> String {
    let mut table = Table::new(["name", "pods", "image", "took"]);
    for one in done {
        table.row([
            one.name.clone(),
            palette.green(&one.detail),
            one.image.clone(),
            seconds(one.seconds),
        ]);
    }
    table.render(palette)
}
