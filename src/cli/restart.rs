use std::time::Duration;

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::output::{Format, OutputArgs};
use super::{Context, Run, complete, timeout};
use crate::failure::Failure;
use crate::operate::rollout::{Patience, Rollout};
use crate::operate::{Site, arrival};
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
pub struct Deadline {
    /// Longest wait for the pods of one service
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    pub timeout: Duration,
}

/// How long to wait for pods, and what to do where they do not come.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Waiting {
    #[command(flatten)]
    deadline: Deadline,
    /// Go back to what was before where the pods do not become ready
    #[arg(long, action = ArgAction::SetTrue)]
    auto_undo: bool,
}

impl Waiting {
    /// As the rooms below know it.
    pub fn patience(self) -> Patience {
        Patience {
            auto_undo: self.auto_undo,
            ..self.deadline.patience()
        }
    }
}

impl Deadline {
    /// As the rooms below know it.
    pub fn patience(self) -> Patience {
        Patience {
            within: self.timeout,
            auto_undo: false,
        }
    }
}

impl Restart {
    /// How it prints.
    pub fn format(&self) -> Format {
        self.output.output
    }

    /// What is asked where the cluster is not vadev's own.
    pub fn what(&self) -> String {
        format!("Restart {}", self.services.join(", "))
    }

    /// What is restarted.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// Does it.
    pub async fn carry_out(&self, site: &Site) -> Result<Vec<Rollout>, Failure> {
        arrival::restart(site, &self.services, self.waiting.patience()).await
    }
}

impl Run for Restart {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let done = context.block_on(async {
            let site = context.site_to(&self.what()).await;
            self.carry_out(&context.about(&self.services, site)?).await
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
