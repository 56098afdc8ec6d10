use std::io::Write as _;

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::operate::exec::{Channel, ExecOptions, exec};

/// Run a command in a service's container; interactive on a terminal
///
/// Standard input goes to the command, and vadev ends with the command's exit code.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev exec postgres -- psql -U voiceassistant\n  \
    vadev exec redis -- redis-cli info memory\n  \
    vadev exec agent-engine -c istio-proxy -- pilot-agent request GET stats\n  \
    vadev exec postgres -- psql -U voiceassistant < seed.sql")]
pub struct Exec {
    /// The service or system
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    service: String,
    /// The container; default: the service's own
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
    /// The pod; default: a ready one
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    /// What kubectl and docker want to be told; here a terminal is seen without it
    #[arg(short = 'i', long = "stdin", hide = true, action = ArgAction::SetTrue)]
    _stdin: bool,
    /// As --stdin
    #[arg(short = 't', long = "tty", hide = true, action = ArgAction::SetTrue)]
    _tty: bool,
    /// The command and its arguments; the -- before it may be left out
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

impl Run for Exec {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let options = ExecOptions {
            container: self.container,
            pod: self.pod,
        };
        context.block_on(async {
            let site = context.about([&self.service], context.site().await)?;
            exec(&site, &self.service, &self.command, &options, |channel, bytes| {
                match channel {
                    Channel::Out => super::output::write_bytes(bytes),
                    Channel::Err => {
                        // Nobody to hear its complaints is no reason to stop the command.
                        drop(std::io::stderr().write_all(bytes));
                        Ok(())
                    }
                }
            })
            .await
        })
    }
}
