use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::overrides::{Edit, Edited};
use super::restart::{Waiting, table};
use super::{Context, Run, complete};
use crate::catalog::text::is_image;
use crate::engine::{ComponentOptions, apply_component};
use crate::failure::Failure;
use crate::operate::{arrival, rollout};

/// Run another image of a service: pod by pod, with a diagnosis where it does not come up
///
/// The image lands in vadev.yaml, so that `up` keeps it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev upgrade agent-engine ghcr.io/voiceassistant/agent-engine:1.2.0\n  \
    vadev upgrade agent-engine my-agent:test --auto-undo --timeout 90s")]
pub struct Upgrade {
    /// The service or system
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    service: String,
    /// The whole reference of the image
    #[arg(value_name = "IMAGE", value_parser = image)]
    image: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    output: OutputArgs,
}

fn image(text: &str) -> Result<String, String> {
    if is_image(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is no image such as registry/name:version"))
    }
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
            let patience = self.waiting.patience();
            let settled = arrival::arrive(&site, &before, &now, &cause, patience).await;
            if settled.is_err() && patience.auto_undo {
                edited.revert()?;
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
