use std::time::Duration;

use super::developing::{self, Showing};
use super::platform::Sources;
use super::ports::Ports;
use super::selecting::Selecting;
use super::up::Up;
use super::{Context, Run, timeout};
use crate::engine::develop::{self, Develop};
use crate::failure::Failure;
use crate::reload::session::Turn;

/// Bring the platform up, then watch sources and bring each save into the running services
///
/// A saved file goes the shortest way that it can: into the running containers (sync), as a layer over the last image
/// (swap), or through the Dockerfile (build). What a service syncs is said in vadev.yaml, or read off its Dockerfile.
/// Ctrl+C ends watching and leaves everything running.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev dev                                    every service that has its source here\n  \
    vadev dev agent-engine                       one, with what it needs\n  \
    vadev dev --explain                          with the rule that decided, for each file\n  \
    vadev dev --progress json                    events for an editor, on stderr\n  \
    vadev dev --stop                             take the development parts out again")]
pub struct Dev {
    #[command(flatten)]
    selecting: Selecting,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    showing: Showing,
    /// Take the development parts (agent, patched pods) out of the running services, and watch nothing
    #[arg(long)]
    stop: bool,
    /// Longest wait for one thing, for instance 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    timeout: Duration,
}

impl Run for Dev {
    fn run(self, context: &Context) -> Result<(), Failure> {
        if self.stop {
            return self.stop(context);
        }
        let named = self.selecting.services.clone();
        let up = Up::of(self.selecting, self.sources, self.ports, self.timeout);
        developing::session(context, &up, &named, self.showing)
    }
}

impl Dev {
    fn stop(self, context: &Context) -> Result<(), Failure> {
        let running = context.running()?;
        let mut services = context.block_on(develop::developed(&running, self.timeout))?;
        let named = &self.selecting.services;
        let _turn = Turn::take(&context.loaded()?.make_state()?)?;
        services.retain(|name| named.is_empty() || named.contains(name));
        if services.is_empty() {
            context.reporter().note("no service is being developed");
            return Ok(());
        }
        let up = Up::beside(services.clone(), self.timeout);
        let platform = up.platform(context)?;
        context.block_on(up.carry_out(context, &platform, Develop::new()))?;
        context
            .reporter()
            .note(format!("not developed any more: {}", services.join(", ")));
        Ok(())
    }
}
