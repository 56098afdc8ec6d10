use clap_complete::engine::ArgValueCompleter;

use super::output::{Format, OutputArgs};
use super::{Context, Run, complete};
use crate::failure::{Failure, Family, Plain};
use crate::operate::hpa::{self, HpaSpec};
use crate::profile::check_replicas;
use crate::report::{Palette, Table};

/// Look at autoscalers, set and remove one
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Hpa {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List every autoscaler with what it sees and wants
    #[command(after_help = "Example:\n  vadev hpa list")]
    List(OutputArgs),
    /// Show the autoscaler of a service
    #[command(after_help = "Example:\n  vadev hpa show agent-engine -o json")]
    Show(Named),
    /// Make or change the autoscaler of a service
    ///
    /// It lives in the cluster, and `up` leaves the replicas to it; it goes with `hpa remove` and `down`. Production's is made
    /// from the catalog's `autoscaling`: sizes of a laptop are not promoted.
    #[command(after_help = "Example:\n  vadev hpa set agent-engine --min 1 --max 4 --cpu 70")]
    Set(Set),
    /// Remove the autoscaler of a service; the replicas stay as they are until `scale` or `up`
    #[command(after_help = "Example:\n  vadev hpa remove agent-engine")]
    Remove(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The service
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    service: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Set {
    #[command(flatten)]
    named: Named,
    /// Fewest replicas
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    min: Option<u32>,
    /// Most replicas
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50))]
    max: Option<u32>,
    /// CPU use to aim for, per cent of the request
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    cpu: Option<u32>,
}

impl Hpa {
    fn format(&self) -> Format {
        match &self.verb {
            Verb::List(output) => output.output,
            Verb::Show(named) | Verb::Remove(named) => named.output.output,
            Verb::Set(set) => set.named.output.output,
        }
    }
}

impl Run for Hpa {
    fn run(self, context: &Context) -> Result<(), Failure> {
        if let Verb::Set(set) = &self.verb {
            check_replicas(&context.loaded()?.catalog, &set.named.service, set.max)?;
        }
        let found = context.block_on(async {
            let site = match &self.verb {
                Verb::Set(set) => {
                    let what = format!("Set the autoscaler of {}", set.named.service);
                    context.about([&set.named.service], context.site_to(&what).await)?
                }
                Verb::Remove(named) => {
                    let what = format!("Remove the autoscaler of {}", named.service);
                    context.about([&named.service], context.site_to(&what).await)?
                }
                Verb::Show(named) => context.about([&named.service], context.site().await)?,
                Verb::List(_) => context.site().await?,
            };
            let found = match &self.verb {
                Verb::List(_) => hpa::list(&site, None).await?,
                Verb::Show(named) => {
                    let name = &named.service;
                    let workload = site.workload(name).await?;
                    let found = hpa::list(&site, Some(workload.name())).await?;
                    if found.is_empty() {
                        return Err(none(name).into());
                    }
                    found
                }
                Verb::Remove(named) => {
                    let workload = site.workload(&named.service).await?;
                    let removed = hpa::remove(&site, &workload).await?;
                    return Ok(vec![removed.ok_or_else(|| none(&named.service))?]);
                }
                Verb::Set(set) => {
                    let workload = site.workload(&set.named.service).await?;
                    let spec = HpaSpec {
                        min: set.min,
                        max: set.max,
                        cpu_percent: set.cpu,
                    };
                    vec![hpa::set(&site, &workload, spec).await?]
                }
            };
            if let Some(word) = hpa::without_metrics(&site).await? {
                site.reporter.warn(word, None);
            }
            Ok(found)
        })?;
        let palette = context.stdout_palette();
        let text = || match &self.verb {
            Verb::Remove(_) => removed(&found),
            _ => table(&found, palette),
        };
        context.print(&self.format().text(&found, |_| text())?)
    }

    fn machine_readable(&self) -> bool {
        self.format().machine_readable()
    }
}

fn none(name: &str) -> Plain {
    Plain::new(Family::Cluster, format!("{name} has no autoscaler"))
        .with_hint(format!("vadev hpa set {name} --min 1 --max 3 --cpu 70 makes one"))
}

fn removed(found: &[hpa::Hpa]) -> String {
    let line = |one: &hpa::Hpa| {
        let (name, target, replicas) = (&one.name, &one.target, one.replicas);
        format!("removed {name}; {target} stays at {replicas} replicas until scale or up\n")
    };
    found.iter().map(line).collect()
}

fn table(found: &[hpa::Hpa], palette: Palette) -> String {
    if found.is_empty() {
        return "no autoscalers\n".to_owned();
    }
    let mut table = Table::new([
        "service", "min", "max", "replicas", "wants", "cpu", "target", "trouble",
    ]);
    let percent = |value: Option<i32>| value.map_or_else(|| "?".to_owned(), |value| format!("{value}%"));
    for one in found {
        table.row([
            one.target.clone(),
            one.min.to_string(),
            one.max.to_string(),
            one.replicas.to_string(),
            one.desired.to_string(),
            percent(one.cpu_percent),
            percent(one.cpu_target_percent),
            palette.yellow(one.trouble.as_deref().unwrap_or_default()),
        ]);
    }
    table.render(palette)
}
