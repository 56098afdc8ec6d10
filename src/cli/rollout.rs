use std::slice;

use clap_complete::engine::ArgValueCompleter;

use super::output::{Format, OutputArgs};
use super::overrides::{Edit, Edited};
use super::restart::{Restart, Waiting, table};
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::operate::revisions::{self, Revision};
use crate::operate::{Site, Workload, arrival, rollout};
use crate::report::text::age;
use crate::report::{Palette, Table};

/// Look at rollouts, go back to an earlier revision, pause and resume
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Rollout {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Wait until a rollout has arrived everywhere, and say why where it can't
    #[command(after_help = "Example:\n  vadev rollout status agent-engine")]
    Status(Status),
    /// List the revisions that the cluster keeps, and what changed in each
    #[command(after_help = "Example:\n  vadev rollout history agent-engine")]
    History(Named),
    /// Go back to the revision before, or to a given one
    #[command(
        after_help = "Examples:\n  vadev rollout undo agent-engine\n  vadev rollout undo agent-engine --to-revision 3"
    )]
    Undo(Undo),
    /// Hold changes of a service back until it is resumed
    #[command(after_help = "Example:\n  vadev rollout pause agent-engine")]
    Pause(Named),
    /// Roll out what was held back, and wait for it
    #[command(after_help = "Example:\n  vadev rollout resume agent-engine")]
    Resume(Status),
    // Where kubectl has it.
    /// Replace the pods of services: `vadev restart`
    #[command(hide = true)]
    Restart(Restart),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The service or system
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    service: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, clap::Args)]
struct Undo {
    #[command(flatten)]
    named: Named,
    /// The revision; default: the one before
    #[arg(long, value_name = "NUMBER")]
    to_revision: Option<i64>,
    #[command(flatten)]
    waiting: Waiting,
}

impl Rollout {
    fn services(&self) -> &[String] {
        match &self.verb {
            Verb::Status(of) | Verb::Resume(of) => slice::from_ref(&of.named.service),
            Verb::History(of) | Verb::Pause(of) => slice::from_ref(&of.service),
            Verb::Undo(of) => slice::from_ref(&of.named.service),
            Verb::Restart(of) => of.services(),
        }
    }

    fn format(&self) -> Format {
        match &self.verb {
            Verb::Status(of) | Verb::Resume(of) => of.named.output.output,
            Verb::History(of) | Verb::Pause(of) => of.output.output,
            Verb::Undo(of) => of.named.output.output,
            Verb::Restart(of) => of.format(),
        }
    }
}

impl Run for Rollout {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let format = self.format();
        let palette = context.stdout_palette();
        let text = context.block_on(async {
            let names = self.services();
            let name = names.first().map_or("", String::as_str);
            let site = match &self.verb {
                Verb::Status(of) if of.waiting.patience().auto_undo => {
                    context
                        .site_to(&format!("Undo what does not finish of {name}"))
                        .await
                }
                Verb::Status(_) | Verb::History(_) => context.site().await,
                Verb::Undo(_) => context.site_to(&format!("Undo {name}")).await,
                Verb::Pause(_) => context.site_to(&format!("Pause {name}")).await,
                Verb::Resume(_) => context.site_to(&format!("Resume {name}")).await,
                Verb::Restart(of) => context.site_to(&of.what()).await,
            };
            let site = context.about(names, site)?;
            match &self.verb {
                Verb::Status(of) => {
                    let workload = site.workload(&of.named.service).await?;
                    if workload.value["spec"]["paused"] == true {
                        site.reporter.note(format!(
                            "the rollout of {0} is paused; vadev rollout resume {0} lets it go on",
                            workload.name()
                        ));
                    }
                    let patience = of.waiting.patience();
                    let done = [arrival::arrive_or(&site, &workload, None, "asked", patience).await?];
                    format.text(&done, |_| table(&done, palette))
                }
                Verb::History(of) => {
                    let workload = site.workload(&of.service).await?;
                    let history = revisions::history(&site, &workload).await?;
                    format.text(&history, |_| history_table(&history, palette))
                }
                Verb::Undo(of) => {
                    let workload = site.workload(&of.named.service).await?;
                    let (changed, revision) = revisions::undo(&site, &workload, of.to_revision).await?;
                    if revision.change.contains(revisions::CONFIGURATION) {
                        site.reporter.note(values_stay(workload.name()));
                    }
                    let edited = keep_image(context, &changed)?;
                    let cause = format!("back to revision {}", revision.revision);
                    let patience = of.waiting.patience();
                    let settled = arrival::arrive(&site, &workload, &changed, &cause, patience).await;
                    if let (Err(_), true, Some(edited)) = (&settled, patience.auto_undo, edited) {
                        edited.revert()?;
                    }
                    let done = [settled?];
                    format.text(&done, |_| table(&done, palette))
                }
                Verb::Restart(of) => {
                    let done = of.carry_out(&site).await?;
                    format.text(&done, |_| table(&done, palette))
                }
                Verb::Pause(of) => paused(&site, &of.service, format).await,
                Verb::Resume(of) => {
                    let before = site.workload(&of.named.service).await?;
                    let before = arrival::kept(&site, &before).await?;
                    let workload = rollout::pause(&site, &of.named.service, false).await?;
                    let patience = of.waiting.patience();
                    let done = [arrival::arrive_or(&site, &workload, before, "resumed", patience).await?];
                    format.text(&done, |_| table(&done, palette))
                }
            }
        })?;
        context.print(&text)
    }

    fn machine_readable(&self) -> bool {
        self.format().machine_readable()
    }
}

async fn paused(site: &Site, name: &str, format: Format) -> Result<String, Failure> {
    rollout::pause(site, name, true).await?;
    let state = serde_json::json!({ "name": name, "paused": true });
    format.text(&state, |_| {
        format!("changes of {name} are held back until: vadev rollout resume {name}\n")
    })
}

/// What the template of a revision does not have: the config map is not part of it.
fn values_stay(name: &str) -> String {
    format!(
        "revisions differ in configuration, which is kept beside them: the values stay as they are now; \
         vadev config undo {name}, or secret undo, takes the last change of them back"
    )
}

/// Where the workspace names the image, it has to name the one that runs now, or the next `up` would undo the undoing.
fn keep_image(context: &Context, workload: &Workload) -> Result<Option<Edited>, Failure> {
    let name = workload.name();
    let named = context
        .loaded()?
        .workspace
        .services
        .get(name)
        .and_then(|entry| entry.image.clone());
    let Some(named) = named.filter(|named| named != workload.image()) else {
        return Ok(None);
    };
    // A stand-in is what comes without an image of the service's own. The annotation with the source belongs to the newest
    // apply, not to the revision that is back.
    let stand_in = workload.image().contains("/vadev-agent:");
    let image = (!stand_in).then(|| workload.image().to_owned());
    let edited = Edited::new(context, name, &[Edit::Image(image)])?;
    edited.write()?;
    context
        .reporter()
        .note(format!("{} no longer names {named} for {name}", edited.file()));
    Ok(Some(edited))
}

fn history_table(history: &[Revision], palette: Palette) -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    let mut table = Table::new(["revision", "age", "pods", "image", "change"]);
    for one in history {
        let number = one.revision.to_string();
        table.row([
            if one.current {
                palette.green(&format!("{number} (now)"))
            } else {
                number
            },
            one.since
                .map_or_else(String::new, |since| age(now.as_second() - since.as_second())),
            one.pods.to_string(),
            one.image.clone(),
            one.change.clone(),
        ]);
    }
    table.render(palette)
}
