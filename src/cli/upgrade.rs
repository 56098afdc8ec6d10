use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::overrides::{Edit, Edited};
use super::restart::{Waiting, table};
use super::{Context, Run, complete};
use crate::engine::{ComponentOptions, apply_component};
use crate::failure::Failure;
use crate::operate::revisions;
use crate::operate::rollout;

/// Run another image of a service: pod by pod, with a diagnosis where it does not come up
///
/// The image lands in vadev.yaml, so that `up` keeps it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev upgrade agent-engine ghcr.io/voiceassistant/agent-engine:1.2.0\n  \
    vadev upgrade agent-engine my-agent:test --auto-undo --timeout 90s")]
pub struct Upgrade {
    /// The service
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    service: String,
    /// The whole reference of the image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Go back to what ran before where the new image does not come up
    #[arg(long, action = ArgAction::SetTrue)]
    auto_undo: bool,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Upgrade {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let name = &self.service;
        let edited = Edited::new(context, name, &[Edit::Image(Some(self.image.clone()))])?;
        let platform = edited.platform(context)?;
        let done = context.block_on(async {
            let what = format!("Upgrade {name}");
            let site = context.site_of_to(&platform, &what).await?;
            let before = site.workload(name).await?;
            rollout::refuse_paused(&before)?;
            let options = ComponentOptions {
                image: Some(self.image.clone()),
                keep_replicas: true,
            };
            if platform.options.place.existing().is_some() {
                // Images of other clusters come from their registries.
                rollout::set_image(&site, &before, &self.image).await?;
            } else {
                apply_component(&platform, &site.cluster, name, &options).await?;
            }
            edited.write()?;
            let now = site.workload(name).await?;
            let cause = format!("image {} → {}", before.image(), now.image());
            let settled = rollout::settle(&site, &now, &cause, self.waiting.timeout).await;
            if settled.is_err()
                && self.auto_undo
                && now.value["spec"]["template"] != before.value["spec"]["template"]
            {
                site.reporter
                    .note(format!("going back to {}, as --auto-undo asks", before.image()));
                edited.revert()?;
                // To exactly what ran before, whatever number its revision has by now.
                let revision = revision_of(&site, &before).await?;
                let (back, _) = revisions::undo(&site, &now, revision).await?;
                rollout::settle(&site, &back, "undone", self.waiting.timeout).await?;
            }
            settled
        })?;
        let done = [done];
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&done, |_| table(&done, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

/// The number that a workload's state had when it was read.
async fn revision_of(
    site: &crate::operate::Site,
    before: &crate::operate::Workload,
) -> Result<Option<i64>, Failure> {
    let number = before.value["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
    let Some(number) = number.and_then(|text| text.parse().ok()) else {
        return Ok(None);
    };
    let kept = revisions::history(site, before).await?;
    Ok(kept.iter().any(|one| one.revision == number).then_some(number))
}
