use std::time::Instant;

use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::up::Up;
use super::{Context, Run, complete, developing, timeout};
use crate::failure::{Failure, Family, Plain};
use crate::reload::forced::{self, Built};
use crate::reload::inspect::{self, ReplicaStatus};
use crate::reload::session::Turn;
use crate::reload::{Ledger, ReloadError, Row, stats};
use crate::report::{Palette, Table};

/// Bring a developed service in step now, or look at how reloading goes
///
/// With a service: whatever differs is synced to every replica and its process is started again; with --build the
/// Dockerfile is built and every pod runs the new image.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    vadev reload agent-engine                    sync what differs, and start it again\n  \
    vadev reload agent-engine --build            build its image, and run that\n  \
    vadev reload status                          does every replica have what the source has?\n  \
    vadev reload stats                           how long saves took, by service and way"
)]
pub struct Reload {
    /// The service
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    service: Option<String>,
    /// Build its image and run that, instead of syncing
    #[arg(long, requires = "service")]
    build: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Status(Status),
    Stats(Stats),
}

/// Compare every replica of the developed services with their sources, by hash
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vadev reload status\n  vadev reload status agent-engine -o json")]
struct Status {
    /// Only these services; without any: all that have their source here
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::services))]
    services: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Show how long saves took until they were served: median, 95 of 100, worst
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  vadev reload stats\n  vadev reload stats -o json")]
struct Stats {
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Reload {
    fn run(self, context: &Context) -> Result<(), Failure> {
        match self.verb {
            Some(Verb::Status(status)) => status.run(context),
            Some(Verb::Stats(stats)) => stats.run(context),
            None => match &self.service {
                Some(service) => self.force(context, service),
                None => Err(Plain::new(Family::Usage, "which service?")
                    .with_hint("vadev reload SERVICE, vadev reload status, vadev reload stats")
                    .into()),
            },
        }
    }

    fn machine_readable(&self) -> bool {
        let output = match &self.verb {
            Some(Verb::Status(status)) => status.output,
            Some(Verb::Stats(stats)) => stats.output,
            None => self.output,
        };
        output.output.machine_readable()
    }
}

impl Reload {
    fn force(&self, context: &Context, service: &str) -> Result<(), Failure> {
        let platform = context.running()?;
        let services = developing::services(context, platform.stack(), &[service.to_owned()])?;
        let state = context.loaded()?.make_state()?;
        let reporter = context.reporter();
        let reloaded = context.block_on(async {
            let cluster = platform.running(timeout::DEFAULT).await?;
            let developed = developing::developed(&platform, &cluster, &services).await?;
            let Some(one) = developed.first() else {
                return Err(ReloadError::NotDeveloped {
                    service: service.to_owned(),
                }
                .into());
            };
            let origin = inspect::origin(one, &state)?;
            let namespace = &platform.stack().namespaces.apps;
            if self.build {
                // A session that is at work would bring its own image into the same pods.
                let _turn = Turn::take(&state)?;
                let built = forced::build_now(&platform, &cluster, &origin, &reporter).await?;
                return match built {
                    Built::Served(reloaded) => Ok(reloaded),
                    Built::Replan(stages) => {
                        let begun = Instant::now();
                        let up = Up::beside(vec![service.to_owned()], timeout::DEFAULT);
                        let anew = up.platform(context)?;
                        up.carry_out(context, &anew, developing::develop(&services))
                            .await?;
                        forced::replanned(&anew, &cluster, service, stages, begun.elapsed()).await
                    }
                };
            }
            forced::sync_now(&cluster, namespace, &origin, &state, &reporter).await
        })?;
        let text = |_| {
            format!(
                "{service}: {} to {} replicas, {} files, {:.0} ms ({})\n",
                reloaded.way,
                reloaded.replicas,
                reloaded.files,
                reloaded.total,
                reloaded.stages.told()
            )
        };
        context.print(&self.output.output.text(&reloaded, text)?)
    }
}

impl Status {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let services = developing::services(context, platform.stack(), &self.services)?;
        let state = context.loaded()?.make_state()?;
        let all = context.block_on(async {
            let cluster = platform.running(timeout::DEFAULT).await?;
            let namespace = &platform.stack().namespaces.apps;
            let mut all = Vec::new();
            for one in developing::developed(&platform, &cluster, &services).await? {
                let origin = inspect::origin(&one, &state)?;
                // Without rules each change is an image, and no agent is needed.
                if origin.service.recipe.rules.is_empty() {
                    all.extend(inspect::image_status(&platform, &cluster, &origin).await?);
                    continue;
                }
                // Asked for without a name, services that are not being developed are no failure.
                if one.token.is_empty() && self.services.is_empty() {
                    continue;
                }
                all.extend(inspect::status(&platform, &cluster, namespace, &origin).await?);
            }
            Ok(all)
        })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&all, |_| replicas(&all, palette))?)?;
        let behind: Vec<String> = all
            .iter()
            .filter(|one| !one.in_step)
            .map(|one| one.pod.clone())
            .collect();
        if behind.is_empty() {
            return Ok(());
        }
        let message = format!("not in step with the source: {}", behind.join(", "));
        let hint = match all.iter().find(|one| one.needs_build) {
            Some(one) => format!(
                "vadev watch keeps them in step; vadev reload {} --build does it once",
                one.service
            ),
            None => "vadev watch keeps them in step; vadev reload SERVICE does it once".to_owned(),
        };
        Err(Plain::new(Family::Unhealthy, message).with_hint(hint).into())
    }
}

fn replicas(all: &[ReplicaStatus], palette: Palette) -> String {
    if all.is_empty() {
        return "no service is being developed; vadev dev\n".to_owned();
    }
    let mut table = Table::new([
        "SERVICE",
        "POD",
        "STATE",
        "FILES",
        "SOURCE",
        "REPLICA",
        "DIFFERING",
    ]);
    for one in all {
        let state = match (&one.problem, one.in_step) {
            (Some(problem), _) => palette.red(problem),
            (None, true) => palette.green("in step"),
            (None, false) if one.needs_build => palette.red("needs a build"),
            (None, false) => palette.red("differs"),
        };
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        let mut differing = one.differing.to_string();
        if !one.paths.is_empty() {
            differing = format!("{differing}: {}", one.paths.join(", "));
        }
        table.row([
            one.service.clone(),
            one.pod.clone(),
            state,
            one.files.to_string(),
            short(&one.source_hash),
            short(&one.replica_hash),
            differing,
        ]);
    }
    table.render(palette)
}

impl Stats {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let state = context.loaded()?.state();
        let entries = Ledger::new(&state)
            .read()
            .map_err(ReloadError::io("read the ledger in", &state))?;
        let rows = stats(&entries);
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&rows, |_| ledger(&rows, palette))?)
    }
}

fn ledger(rows: &[Row], palette: Palette) -> String {
    if rows.is_empty() {
        return "no save has been served yet; vadev dev\n".to_owned();
    }
    let mut table = Table::new([
        "SERVICE",
        "WAY",
        "SAVES",
        "FAILED",
        "P50 MS",
        "P95 MS",
        "WORST MS",
        "MEDIAN OF EACH STAGE, MS",
    ]);
    for row in rows {
        let number = |value: f64| format!("{value:.0}");
        table.row([
            row.service.clone(),
            row.way.to_string(),
            row.saves.to_string(),
            row.failures.to_string(),
            number(row.p50),
            number(row.p95),
            number(row.worst),
            row.stages.told(),
        ]);
    }
    table.render(palette)
}
