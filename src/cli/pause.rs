use super::output::OutputArgs;
use super::{Context, Run};
use crate::engine;
use crate::failure::Failure;
use crate::report::text;

/// Freeze the cluster: it keeps its memory and takes no CPU until `vadev resume` or `vadev up`
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev pause                                       on battery, or before a video call\n  \
    vadev resume")]
pub struct Pause {
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Pause {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let _hold = engine::lock_if_used(&platform.options.state)?;
        let report = context.block_on(engine::pause(&platform))?;
        context.print(&self.output.output.text(&report, |_| {
            let time = text::seconds(report.seconds);
            if report.changed {
                format!("{} is paused ({time}); vadev resume goes on\n", report.cluster)
            } else {
                format!("{} was paused already\n", report.cluster)
            }
        })?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}
