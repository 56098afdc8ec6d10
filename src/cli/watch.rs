use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;

use super::developing::{self, Showing};
use super::up::Up;
use super::{Context, Run, complete, timeout};
use crate::failure::Failure;

/// Watch the sources of services on a platform that runs
///
/// As `vadev dev`, but nothing beside the watched services is looked at or changed. Services that are not being developed
/// yet get the agent first, which starts their pods anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev watch                                  every service that has its source here\n  \
    vadev watch agent-engine conversation-service\n  \
    vadev watch --no-logs --explain")]
pub struct Watch {
    /// Only these services; without any: all that have their source here
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    services: Vec<String>,
    #[command(flatten)]
    showing: Showing,
    /// Longest wait for one thing, for instance 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    timeout: Duration,
}

impl Run for Watch {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let running = context.running()?;
        context.block_on(async { running.running(self.timeout).await.map(drop) })?;
        let found = developing::services(context, running.stack(), &self.services)?;
        let names: Vec<String> = found.into_iter().map(|service| service.name).collect();
        let up = Up::beside(names.clone(), self.timeout);
        developing::session(context, &up, &names, self.showing)
    }
}
