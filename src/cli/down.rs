use clap::ArgAction;

use super::backup::Folder;
use super::output::OutputArgs;
use super::ports::Shape;
use super::{Context, Run};
use crate::engine::{self, DownOptions, Platform};
use crate::failure::{Failure, Family, Plain};
use crate::operate::backup::{self, System};
use crate::plan::ClusterState;

/// Remove what vadev made: the cluster, or less of it
///
/// Says first what goes and what stays, and asks.
// Each flag is one that a user may give.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev down                                        the cluster with everything in it\n  \
    vadev down --apps                                 the applications only\n  \
    vadev down --keep-cluster                         everything but the cluster, Istio and volumes\n  \
    vadev down --all --backup                         everything with its data, backed up first\n  \
    vadev down --purge --yes                          the cluster and the state folder, without asking")]
pub struct Down {
    /// Keep the cluster and Istio; remove what runs in it. Volumes stay
    #[arg(long, action = ArgAction::SetTrue)]
    keep_cluster: bool,
    /// Remove the applications; keep the cluster, Istio and the infrastructure with its data
    #[arg(long, visible_alias = "keep-infra", action = ArgAction::SetTrue, conflicts_with = "keep_cluster")]
    apps: bool,
    /// Remove everything that runs in the cluster, with namespaces, volumes and data; keep the cluster and Istio
    #[arg(long, action = ArgAction::SetTrue, conflicts_with_all = ["keep_cluster", "apps"])]
    all: bool,
    /// Remove everything: Istio, namespaces, definitions, volumes, the cluster, the state folder with its secrets
    #[arg(long, action = ArgAction::SetTrue, conflicts_with_all = ["keep_cluster", "apps", "all"])]
    purge: bool,
    /// Back postgres and redis up first where their data would go; other systems have no backup
    #[arg(long, action = ArgAction::SetTrue)]
    backup: bool,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Down {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let options = match (self.keep_cluster, self.apps, self.all, self.purge) {
            (true, ..) => DownOptions::KeepCluster,
            (_, true, ..) => DownOptions::KeepInfra,
            (.., true, _) => DownOptions::All,
            (.., true) => DownOptions::Purge,
            // The cluster itself is somebody else's.
            _ if platform.options.place.existing().is_some() => DownOptions::KeepCluster,
            _ => DownOptions::Cluster,
        };
        // What is shown before the question is to be what goes.
        let hold = engine::lock_if_used(&platform.options.state)?;
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
                if matches!(
                    options,
                    DownOptions::Cluster | DownOptions::All | DownOptions::Purge
                ) {
                    self.offer_backup(context, &platform).await?;
                }
            }
            engine::down(&platform, options).await
        })?;
        if matches!(
            options,
            DownOptions::KeepCluster | DownOptions::All | DownOptions::KeepInfra
        ) {
            let systems = platform.stack().infrastructure.iter();
            let left = systems
                .filter(|_| options == DownOptions::KeepInfra)
                .map(|system| system.infrastructure.name.clone());
            Shape::leaves(&platform.options.state, left.collect())?;
        }
        drop(hold);
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

impl Down {
    /// Backs up what would be lost, where that is wanted and something is there to be backed up.
    async fn offer_backup(&self, context: &Context, platform: &Platform) -> Result<(), Failure> {
        let site = match context.site_of(platform).await {
            Ok(site) => site,
            // What was asked for and can't be had is no reason to go on and lose the data.
            Err(error) if self.backup => return Err(error),
            Err(error) => {
                let reporter = context.reporter();
                reporter.note(format!("no backup can be offered: {error}"));
                if may_hold_data(&platform.state().await?) {
                    reporter.note("vadev resume brings it back, and a backup can be made then");
                    let name = platform.cluster_name();
                    context.insist(&format!("Remove {name} without a backup?"))?;
                }
                return Ok(());
            }
        };
        let deployed = site.workloads().await?;
        let of = |system: &System| deployed.iter().find(|one| one.name() == system.name());
        let there = System::ALL.into_iter().filter(|system| of(system).is_some());
        let (systems, silent): (Vec<System>, Vec<System>) =
            there.partition(|system| of(system).is_some_and(|one| one.ready() > 0));
        let names = |systems: &[System]| {
            systems
                .iter()
                .map(|one| one.name())
                .collect::<Vec<_>>()
                .join(" and ")
        };
        if !silent.is_empty() {
            let verb = if silent.len() == 1 { "is" } else { "are" };
            let said = format!("{} {verb} not ready and can't be backed up", names(&silent));
            if self.backup {
                return Err(
                    Plain::new(Family::Refused, format!("{said}; nothing was removed"))
                        .with_hint("vadev status shows why; without --backup it goes with its data")
                        .into(),
                );
            }
            context.reporter().note(said);
            context.insist(&format!("Remove {} without a backup?", names(&silent)))?;
        }
        if self.backup && systems.is_empty() {
            let reporter = context.reporter();
            reporter.note("neither postgres nor redis is deployed; there is nothing to back up");
        }
        // `--yes` agrees to removing, which is what was asked for; it asks for nothing more.
        let wanted = self.backup
            || (!context.globals().yes
                && !systems.is_empty()
                && context.consent(&format!("Back up {} first?", names(&systems)))?);
        if wanted && !systems.is_empty() {
            let folder = self.folder.shelf(context)?;
            for done in backup::create(&site, &folder, &systems).await? {
                context.reporter().note(format!("backed up to {}", done.file));
            }
        }
        Ok(())
    }
}

/// Whether there may be data in a cluster that does not answer. One that was never finished has none.
fn may_hold_data(state: &ClusterState) -> bool {
    match state {
        ClusterState::Missing | ClusterState::Broken(_) => false,
        ClusterState::Stopped | ClusterState::Paused | ClusterState::Running => true,
    }
}

fn count(lines: usize) -> String {
    if lines == 1 {
        "this one thing".to_owned()
    } else {
        format!("these {lines} things")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_sleeps_has_its_data_still() {
        assert!(may_hold_data(&ClusterState::Paused) && may_hold_data(&ClusterState::Stopped));
        assert!(!may_hold_data(&ClusterState::Missing));
        assert!(!may_hold_data(&ClusterState::Broken("killed".to_owned())));
    }
}
