use std::collections::BTreeSet;
use std::time::Duration;

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::operate::Steady;
use crate::operate::events::{EventLine, events};
use crate::report::{Palette, Table};

/// Show what Kubernetes tells about the platform, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev events\n  \
    vadev events agent-engine --warnings\n  \
    vadev events -w                                   what happens from now on, as it happens\n  \
    vadev events -w -o json | jq -r .reason           one JSON object a line, oldest first")]
pub struct Events {
    /// About these services or systems; without any: about everything
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    services: Vec<String>,
    /// Only warnings
    #[arg(long, action = ArgAction::SetTrue)]
    warnings: bool,
    /// Go on with what happens from now on
    #[arg(short, long, action = ArgAction::SetTrue)]
    watch: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Events {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let palette = context.stdout_palette();
        context.block_on(async {
            let site = context.about(&self.services, context.site().await)?;
            let found = events(&site, &self.services, self.warnings).await?;
            let format = self.output.output;
            if !self.watch {
                return context.print(&format.text(&found, |_| table(&found, palette))?);
            }
            if format.machine_readable() {
                for event in found.iter().rev() {
                    context.print(&format.one_of_many(event)?)?;
                }
            } else {
                context.print(&table(&found, palette))?;
            }
            let mut seen: BTreeSet<_> = found.iter().map(key).collect();
            let mut steady = Steady::new(site.reporter.clone());
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let now = events(&site, &self.services, self.warnings).await;
                let Some(now) = steady.look(now)? else {
                    continue;
                };
                for event in now.iter().rev().filter(|event| seen.insert(key(event))) {
                    let text = if format.machine_readable() {
                        format.one_of_many(event)?
                    } else {
                        rows(std::slice::from_ref(event), palette, false)
                    };
                    context.print(&text)?;
                }
            }
        })
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn key(event: &EventLine) -> (String, String, i64, i32) {
    (
        event.object.clone(),
        event.message.clone(),
        event.time.as_second(),
        event.count,
    )
}

fn table(events: &[EventLine], palette: Palette) -> String {
    if events.is_empty() {
        return "no events\n".to_owned();
    }
    rows(events, palette, true)
}

fn rows(events: &[EventLine], palette: Palette, header: bool) -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    let mut table = Table::new(["age", "type", "reason", "object", "times", "message"]);
    for event in events {
        let kind = if event.is_warning() {
            palette.yellow(&event.kind)
        } else {
            event.kind.clone()
        };
        table.row([
            event.age(now),
            kind,
            event.reason.clone(),
            event.object.clone(),
            event.count.to_string(),
            event.message.replace('\n', " "),
        ]);
    }
    let text = table.render(palette);
    if header {
        text
    } else {
        text.split_once('\n')
            .map_or(String::new(), |(_, rows)| rows.to_owned())
    }
}
