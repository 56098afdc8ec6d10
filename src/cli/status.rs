use std::time::Duration;

use clap::ArgAction;

use super::output::OutputArgs;
use super::{Context, Run};
use crate::engine::{self, StatusReport};
use crate::failure::Failure;
use crate::k8s::{Scope, View};
use crate::operate::Steady;
use crate::report::{Palette, Table};

/// Show what is deployed: ready or not, version, where each image came from, restarts, address
///
/// A `stand-in` is vadev's own placeholder and not the service: the service has neither source in the workspace nor an
/// image that can be had here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev status\n  \
    vadev status -w                                   live, until Ctrl+C\n  \
    vadev status -o json | jq '.components[] | select(.ready < .replicas)'")]
pub struct Status {
    /// Show it again whenever something changes
    #[arg(short, long, action = ArgAction::SetTrue)]
    watch: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// How soon a cluster that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(2);

impl Run for Status {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        context.block_on(async {
            let cluster = platform.reach().await?;
            let namespaces = &platform.stack().namespaces;
            let scope = Scope::Namespaces(vec![namespaces.apps.clone(), namespaces.infra.clone()]);
            let view = self.watch.then(|| View::open(&cluster, &scope));
            let mut pulse = view.as_ref().map(View::pulse);
            let mut steady = Steady::new(context.reporter());
            let mut seen = false;
            loop {
                let report = engine::status(&platform, &cluster).await;
                // The first look says whether there is anything to watch.
                let found = if seen { steady.look(report)? } else { Some(report?) };
                let Some(report) = found else {
                    tokio::time::sleep(AGAIN).await;
                    continue;
                };
                seen = true;
                let palette = context.stdout_palette();
                if self.watch && palette != Palette::new(false) {
                    // Home and clear: a terminal shows one picture that changes.
                    context.print("\x1b[H\x1b[2J")?;
                }
                context.print(
                    &self
                        .output
                        .output
                        .text(&report, |wide| table(&report, wide, palette))?,
                )?;
                let Some(pulse) = &mut pulse else { return Ok(()) };
                // At most twice a second while much happens, and now and then for the ages.
                drop(tokio::time::timeout(Duration::from_secs(10), pulse.changed()).await);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        })
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

/// The report as a table, then what is left out.
pub fn table(report: &StatusReport, wide: bool, palette: Palette) -> String {
    let mut table = if wide {
        Table::new([
            "name", "ready", "version", "source", "restarts", "age", "since", "url", "image",
        ])
    } else {
        Table::new(["name", "ready", "version", "source", "restarts", "age", "url"])
    };
    for one in &report.components {
        let ready = format!("{}/{}", one.ready, one.replicas);
        let ready = if one.is_ready() {
            palette.green(&ready)
        } else {
            palette.red(&ready)
        };
        let source = if one.source == "stand-in" {
            palette.yellow(&one.source)
        } else {
            one.source.clone()
        };
        let mut cells = vec![
            one.name.clone(),
            ready,
            one.version.clone(),
            source,
            if one.restarts > 0 {
                palette.yellow(&one.restarts.to_string())
            } else {
                "0".to_owned()
            },
            one.age.clone(),
        ];
        if wide {
            cells.push(one.since.clone());
        }
        cells.push(one.url.clone().unwrap_or_default());
        if wide {
            cells.push(one.image.clone());
        }
        table.row(cells);
    }
    let head = format!(
        "{} · profile {} · Kubernetes {}\n",
        report.cluster, report.profile, report.kubernetes
    );
    let left = report
        .left_out
        .iter()
        .map(|left| format!("{} is left out: {}\n", left.name, left.reason));
    head + &table.render(palette) + &left.collect::<String>()
}
