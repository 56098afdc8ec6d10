use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::overrides::{Edit, Edited};
use super::restart::{Waiting, table};
use super::{Context, Run, complete};
use crate::engine::{ComponentOptions, Platform, apply_component};
use crate::failure::Failure;
use crate::operate::{hpa, rollout};
use crate::plan::MESH;
use crate::profile::check_replicas;

/// Run another number of replicas of a service
///
/// The number lands in vadev.yaml, so that `up` keeps it, unless --no-save says otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev scale agent-engine 3\n  \
    vadev scale voice-engine 0 --no-save              off until the next `up`")]
pub struct Scale {
    /// The service or system
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    service: String,
    /// Replicas
    #[arg(value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(0..=50))]
    replicas: u32,
    /// Leave vadev.yaml alone
    #[arg(long, action = ArgAction::SetTrue)]
    no_save: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Scale {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let name = &self.service;
        check_replicas(&context.loaded()?.catalog, name, Some(self.replicas))?;
        let edited = if self.no_save {
            None
        } else {
            Some(Edited::new(
                context,
                name,
                &[Edit::Replicas(Some(self.replicas))],
            )?)
        };
        let platform = edited
            .as_ref()
            .map(|edited| edited.platform(context))
            .transpose()?;
        let done = context.block_on(async {
            let what = format!("Scale {name} to {}", self.replicas);
            let site = context.about([name], context.site_to(&what).await)?;
            let workload = site.workload(name).await?;
            rollout::refuse_paused(&workload)?;
            for hpa in hpa::list(&site, Some(workload.name())).await? {
                if let Some(word) = hpa::disagreement(&hpa, self.replicas) {
                    site.reporter.warn(word, None);
                }
            }
            site.cluster.recheck().await?;
            let changed = rollout::set_replicas(&site, &workload, self.replicas).await?;
            if let Some(edited) = &edited {
                edited.write()?;
            }
            let cause = format!("{} → {} replicas", workload.replicas(), self.replicas);
            let patience = self.waiting.patience();
            let settled = rollout::settle(&site, &changed, &cause, patience.within).await;
            if settled.is_err() && patience.auto_undo {
                let was = u32::try_from(workload.replicas()).unwrap_or(1);
                site.reporter
                    .note(format!("going back to {was} replicas, as --auto-undo asks"));
                rollout::set_replicas(&site, &workload, was).await?;
                if let Some(edited) = &edited {
                    edited.revert()?;
                }
            }
            let settled = settled?;
            let meshed =
                |one: &Platform| one.options.place.existing().is_none() && one.stack().mesh.is_some();
            if let Some(platform) = platform.filter(meshed) {
                // When a replica is taken out of the rotation depends on how many there are.
                apply_component(&platform, &site.cluster, MESH, &ComponentOptions::default()).await?;
            }
            Ok::<_, Failure>(settled)
        })?;
        let done = [done];
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&done, |_| table(&done, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}
