use clap::ArgAction;

use super::output::OutputArgs;
use super::{Context, Run};
use crate::engine::{self, DownOptions};
use crate::failure::Failure;

/// Remove what vadev made: the cluster, or less of it
///
/// Says first what goes and what stays, and asks.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev down                                        the cluster with everything in it\n  \
    vadev down --keep-infra                           the applications only\n  \
    vadev down --keep-cluster                         everything but the cluster, Istio and volumes\n  \
    vadev down --purge --yes                          the cluster and the state folder, without asking")]
pub struct Down {
    /// Keep the cluster and Istio; remove what runs in it. Volumes stay
    #[arg(long, action = ArgAction::SetTrue)]
    keep_cluster: bool,
    /// Keep the cluster, Istio and the infrastructure with its data; remove the applications
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "keep_cluster")]
    keep_infra: bool,
    /// Remove the state folder with the development secrets too
    #[arg(long, action = ArgAction::SetTrue, conflicts_with_all = ["keep_cluster", "keep_infra"])]
    purge: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Down {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let options = match (self.keep_cluster, self.keep_infra, self.purge) {
            (true, ..) => DownOptions::KeepCluster,
            (_, true, _) => DownOptions::KeepInfra,
            (.., true) => DownOptions::Purge,
            _ => DownOptions::Cluster,
        };
        let report = context.block_on(async {
            let extent = engine::extent(&platform, options).await?;
            if !extent.goes.is_empty() {
                let list = |lines: &[String]| {
                    lines
                        .iter()
                        .fold(String::new(), |text, line| format!("{text}\n  {line}"))
                };
                let about = format!(
                    "This removes:{}\nThis stays:{}",
                    list(&extent.goes),
                    list(&extent.stays)
                );
                context.reporter().note(about);
                context.insist(&format!(
                    "Remove {} of {}?",
                    count(extent.goes.len()),
                    platform.cluster_name()
                ))?;
            }
            engine::down(&platform, options).await
        })?;
        let text = self.output.output.text(&report, |_| {
            let lines = report
                .removed
                .iter()
                .fold(String::new(), |text, one| format!("{text}removed {one}\n"));
            if lines.is_empty() {
                "nothing to remove\n".to_owned()
            } else {
                lines
            }
        })?;
        context.print(&text)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn count(lines: usize) -> String {
    if lines == 1 {
        "this one thing".to_owned()
    } else {
        format!("these {lines} things")
    }
}
