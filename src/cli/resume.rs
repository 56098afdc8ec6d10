use std::time::Duration;

use super::output::OutputArgs;
use super::{Context, Run, timeout};
use crate::engine;
use crate::failure::Failure;
use crate::report::text;

/// Go on with a paused or stopped cluster where it was
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev resume\n  \
    vadev resume && vadev verify")]
pub struct Resume {
    /// How long the API server may take to answer
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Resume {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let _hold = engine::lock_if_used(&platform.options.state)?;
        let report = context.block_on(engine::resume(&platform, self.timeout))?;
        context.print(&self.output.output.text(&report, |_| {
            let time = text::seconds(report.seconds);
            if report.changed {
                format!("{} runs again ({time})\n", report.cluster)
            } else {
                format!("{} runs already\n", report.cluster)
            }
        })?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}
