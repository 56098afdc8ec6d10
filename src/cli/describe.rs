use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::operate::describe::{Description, Part, describe};
use crate::report::text::age;
use crate::report::{Palette, Table};

/// Show everything about one service or system on one page
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev describe agent-engine\n  \
    vadev describe postgres -o json | jq .diagnosis")]
pub struct Describe {
    /// The service or system
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    service: String,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Describe {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let page = context.block_on(async {
            let site = context.about([&self.service], context.site().await)?;
            describe(&site, &self.service).await
        })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&page, |_| text(&page, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

/// Events shown; the rest is behind `vadev events`.
const EVENTS: usize = 12;

fn text(page: &Description, palette: Palette) -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    let old = |since: Option<k8s_openapi::jiff::Timestamp>| {
        since.map_or_else(String::new, |since| age(now.as_second() - since.as_second()))
    };
    let ready = format!("{}/{} ready", page.ready, page.replicas);
    let ready = if page.diagnosis.is_none() {
        palette.green(&ready)
    } else {
        palette.red(&ready)
    };
    let paused = if page.paused { ", rollout paused" } else { "" };
    let mut out = vec![format!(
        "{}  {} in {}, {ready}, {} old{paused}\nimage     {} ({})\nstrategy  {}\n",
        palette.bold(&page.name),
        page.kind,
        page.namespace,
        old(page.since),
        page.image,
        page.source,
        page.strategy,
    )];
    if let Some(diagnosis) = &page.diagnosis {
        out.push(format!(
            "\n{} {}\n",
            palette.red("trouble"),
            diagnosis.explanation
        ));
        for line in diagnosis.lines() {
            out.push(format!("  {line}\n"));
        }
        out.push(format!("  next: {}\n", palette.cyan(&diagnosis.next)));
    }
    out.push(format!("\n{}\n", palette.bold("Pods")));
    for pod in &page.pods {
        let state = if pod.ready {
            palette.green(&pod.state)
        } else {
            palette.red(&pod.state)
        };
        out.push(format!(
            "  {}  {state}, {} restarts, {} old, {} on {}\n",
            pod.name,
            pod.restarts,
            old(pod.since),
            pod.ip,
            pod.node
        ));
        for container in &pod.containers {
            let before = container
                .last_end
                .as_ref()
                .map_or_else(String::new, |end| format!(", before: {end}"));
            out.push(format!("    {}: {}{before}\n", container.name, container.state));
        }
    }
    out.push(section(palette, "Probes", &page.probes));
    out.push(section(palette, "Resources", &resources(&page.resources)));
    out.extend(behind_rights(page, palette));
    out.push(format!("\n{}\n", palette.bold("Events, newest first")));
    if page.events.is_empty() {
        out.push("  none\n".to_owned());
        return out.concat();
    }
    let mut table = Table::new(["age", "type", "reason", "object", "message"]);
    for event in page.events.iter().take(EVENTS) {
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
            event.message.clone(),
        ]);
    }
    out.push(table.render(palette));
    if page.events.len() > EVENTS {
        out.push(format!(
            "{} more: vadev events {}\n",
            page.events.len() - EVENTS,
            page.name
        ));
    }
    out.concat()
}

/// The parts of the page that need a right of their own.
fn behind_rights(page: &Description, palette: Palette) -> [String; 3] {
    let config = page
        .config
        .iter()
        .map(|(key, value)| format!("{key}={}", crate::report::text::truncate(value, 90)));
    let part = |title: &str, part: Part, mut lines: Vec<String>| {
        if page.unreadable.contains(&part) {
            lines.push("(may not be read)".to_owned());
        }
        section(palette, title, &lines)
    };
    [
        part("Configuration", Part::Config, config.collect()),
        part(
            "Secret keys (values are never shown)",
            Part::Secret,
            page.secret_keys.clone(),
        ),
        part("Mesh", Part::Mesh, mesh(page)),
    ]
}

fn section(palette: Palette, title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("\n{}\n  {}\n", palette.bold(title), lines.join("\n  "))
}

fn resources(resources: &serde_json::Value) -> Vec<String> {
    ["requests", "limits"]
        .iter()
        .filter_map(|name| {
            let amounts = resources[*name].as_object()?;
            let words: Vec<String> = amounts
                .iter()
                .map(|(what, amount)| format!("{what} {}", amount.as_str().unwrap_or_default()))
                .collect();
            Some(format!("{name}: {}", words.join(", ")))
        })
        .collect()
}

fn mesh(page: &Description) -> Vec<String> {
    let mesh = &page.mesh;
    let mut lines = vec![format!(
        "{} of {} pods have a sidecar{}",
        mesh.sidecars,
        page.pods.len(),
        mesh.proxy
            .as_ref()
            .map_or_else(String::new, |image| format!(" ({image})"))
    )];
    lines.extend(mesh.mtls.as_ref().map(|mode| format!("mutual TLS {mode}")));
    lines.extend(mesh.objects.iter().cloned());
    lines
}
