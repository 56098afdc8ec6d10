use clap_complete::engine::ArgValueCompleter;
use serde::Serialize;

use super::output::{Format, OutputArgs};
use super::selecting::Size;
use super::{Context, Run, complete};
use crate::catalog::service::{Amount, Resources};
use crate::failure::Failure;
use crate::profile::stack::{Figure, Stack};
use crate::profile::{Capacity, Profile as Definition, available, resolve};
use crate::report::Table;

/// Look at profiles: what they contain and how large they become on this machine
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Profile {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the profiles, and whether each fits this machine
    #[command(after_help = "Example:\n  vadev profile list")]
    List(OutputArgs),
    /// Show what a profile runs, with the figures it takes on this machine
    #[command(after_help = "Examples:\n  vadev profile show dev\n  vadev profile show minimal -o json")]
    Show(Named),
    /// Show every figure, with the rule it came from
    #[command(
        after_help = "Examples:\n  vadev profile explain dev | grep nacos\n  vadev profile explain dev --cpus 4 --memory 12Gi"
    )]
    Explain(Named),
    /// Show how one profile differs from another
    #[command(after_help = "Example:\n  vadev profile diff minimal dev")]
    Diff(Diff),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The profile; without it: the one that `up` would take
    #[arg(value_name = "PROFILE", add = ArgValueCompleter::new(complete::profiles))]
    name: Option<String>,
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Diff {
    /// The profile to start from
    #[arg(value_name = "FROM", add = ArgValueCompleter::new(complete::profiles))]
    from: String,
    /// The profile to compare with it
    #[arg(value_name = "TO", add = ArgValueCompleter::new(complete::profiles))]
    to: String,
    #[command(flatten)]
    size: Size,
    #[command(flatten)]
    output: OutputArgs,
}

impl Profile {
    fn format(&self) -> Format {
        match &self.verb {
            Verb::List(output) => output.output,
            Verb::Show(named) | Verb::Explain(named) => named.output.output,
            Verb::Diff(diff) => diff.output.output,
        }
    }
}

impl Run for Profile {
    fn run(self, context: &Context) -> Result<(), Failure> {
        match &self.verb {
            Verb::List(output) => list(context, output.output),
            Verb::Show(named) => show(context, named),
            Verb::Explain(named) => explain(context, named),
            Verb::Diff(diff) => difference(context, diff),
        }
    }

    fn machine_readable(&self) -> bool {
        self.format().machine_readable()
    }
}

/// One profile, as `profile list` has it.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    name: String,
    summary: String,
    services: usize,
    systems: usize,
    requests: Amount,
    /// Whether it fits this machine; absent where the machine's size is not known.
    fits: Option<bool>,
}

fn sized(context: &Context, profile: &Definition, size: &Size) -> Result<Stack, Failure> {
    let loaded = context.loaded()?;
    Ok(resolve(
        &loaded.catalog,
        profile,
        &loaded.workspace,
        &size.selection(),
        context.machine(),
    )?)
}

fn list(context: &Context, format: Format) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for profile in context.loaded()?.profiles.values() {
        let stack = sized(context, profile, &Size::default())?;
        let capacity = context.machine().map(|host| Capacity::of(&stack, host, false));
        rows.push(Row {
            name: profile.name.clone(),
            summary: profile.summary.clone(),
            services: stack.services.len(),
            systems: stack.infrastructure.len(),
            requests: capacity
                .as_ref()
                .map_or_else(|| stack.requested(), |capacity| capacity.needed),
            fits: capacity.map(|capacity| capacity.fits()),
        });
    }
    let palette = context.stdout_palette();
    let table = |_| {
        let mut table = Table::new([
            "profile", "services", "systems", "cpu", "memory", "fits", "summary",
        ]);
        for row in &rows {
            table.row([
                row.name.clone(),
                row.services.to_string(),
                row.systems.to_string(),
                row.requests.cpu.to_string(),
                mebibytes(row.requests),
                match row.fits {
                    Some(true) => palette.green("yes"),
                    Some(false) => palette.red("no"),
                    None => palette.dim("?"),
                },
                row.summary.clone(),
            ]);
        }
        table.render(palette)
    };
    context.print(&format.text(&rows, table)?)
}

fn show(context: &Context, named: &Named) -> Result<(), Failure> {
    let stack = sized(context, context.profile(named.name.as_deref())?, &named.size)?;
    let palette = context.stdout_palette();
    let table = |wide| {
        let mut table = Table::new([
            "component",
            "kind",
            "replicas",
            "cpu",
            "memory",
            "limit",
            "without",
        ]);
        for system in &stack.infrastructure {
            for (name, size) in &system.sizes {
                table.row([
                    name.clone(),
                    system.infrastructure.group.name().to_owned(),
                    size.replicas.to_string(),
                    size.resources.requests.cpu.to_string(),
                    mebibytes(size.resources.requests),
                    mebibytes(size.resources.limits),
                ]);
            }
        }
        for sized in &stack.services {
            table.row([
                sized.service.name.clone(),
                sized.service.language.name().to_owned(),
                sized.replicas.to_string(),
                sized.resources.requests.cpu.to_string(),
                mebibytes(sized.resources.requests),
                mebibytes(sized.resources.limits),
                sized.absent.join(", "),
            ]);
        }
        let mut text = table.render(palette);
        if let Some(most) = available(&named.size.selection(), context.machine()) {
            let capacity = Capacity::of(&stack, most, false);
            let rows = capacity.table();
            let shown = if wide {
                &rows[..]
            } else {
                &rows[rows.len().saturating_sub(2)..]
            };
            text = text + "\n" + &shown.join("\n") + "\n";
        }
        if wide && !stack.left_out.is_empty() {
            let mut left = Table::new(["left out", "because"]);
            for one in &stack.left_out {
                left.row([&one.name, &one.reason].map(String::clone));
            }
            text = text + "\n" + &left.render(palette);
        }
        text
    };
    context.print(&named.output.output.text(&stack, table)?)
}

fn explain(context: &Context, named: &Named) -> Result<(), Failure> {
    let stack = sized(context, context.profile(named.name.as_deref())?, &named.size)?;
    let palette = context.stdout_palette();
    let table = |_| figures(&stack.figures).render(palette);
    context.print(&named.output.output.text(&stack.figures, table)?)
}

fn figures(figures: &[Figure]) -> Table {
    let mut table = Table::new(["component", "field", "production", "here", "rule"]);
    for figure in figures {
        let Figure {
            component,
            field,
            production,
            value,
            rule,
        } = figure;
        table.row([component, field, production, value, rule].map(String::clone));
    }
    table
}

/// One difference between two profiles.
#[derive(Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Change {
    component: String,
    field: String,
    from: String,
    to: String,
}

fn difference(context: &Context, diff: &Diff) -> Result<(), Failure> {
    let facts = |name: &str| {
        let stack = sized(context, context.profile(Some(name))?, &diff.size)?;
        Ok::<_, Failure>(facts(&stack))
    };
    let changes = changes(&facts(&diff.from)?, &facts(&diff.to)?);
    let palette = context.stdout_palette();
    let table = |_| {
        let mut table = Table::new(["component", "field", &diff.from, &diff.to]);
        for change in &changes {
            table.row([
                change.component.clone(),
                change.field.clone(),
                change.from.clone(),
                change.to.clone(),
            ]);
        }
        table.render(palette)
    };
    context.print(&diff.output.output.text(&changes, table)?)
}

type Fields = Vec<(String, String)>;
type Facts = Vec<(String, Fields)>;

/// What is compared: presence, replicas, resources, heaps and volumes of each workload and service, and of the mesh.
fn facts(stack: &Stack) -> Facts {
    let systems = stack.infrastructure.iter().flat_map(|system| &system.sizes);
    let systems = systems.map(|(name, size)| {
        let mut fields = fields("", Some(size.replicas), &size.resources);
        fields.extend(size.heap_mib.map(|mib| ("heap".to_owned(), format!("{mib}Mi"))));
        let volumes = size.volumes.iter();
        fields.extend(volumes.map(|(volume, bytes)| (format!("volume.{volume}"), bytes.to_string())));
        (name.clone(), fields)
    });
    let services = stack.services.iter().map(|one| {
        (
            one.service.name.clone(),
            fields("", Some(one.replicas), &one.resources),
        )
    });
    let mesh = stack.mesh.iter().map(|mesh| {
        let parts = [
            fields("pilot ", Some(mesh.pilot_replicas), &mesh.pilot),
            fields("gateway ", Some(mesh.gateway_replicas), &mesh.gateway),
            fields("sidecar ", None, &mesh.sidecar),
        ];
        ("mesh".to_owned(), parts.concat())
    });
    systems.chain(services).chain(mesh).collect()
}

fn fields(prefix: &str, replicas: Option<u32>, resources: &Resources) -> Fields {
    let sizes = [
        ("requests.cpu", resources.requests.cpu.to_string()),
        ("requests.memory", resources.requests.memory.to_string()),
        ("limits.cpu", resources.limits.cpu.to_string()),
        ("limits.memory", resources.limits.memory.to_string()),
    ];
    replicas
        .map(|count| ("replicas", count.to_string()))
        .into_iter()
        .chain(sizes)
        .map(|(field, value)| (format!("{prefix}{field}"), value))
        .collect()
}

fn changes(from: &Facts, to: &Facts) -> Vec<Change> {
    let present = |component: &str, from: &str, to: &str| Change {
        component: component.to_owned(),
        field: "present".to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    let mut changes = Vec::new();
    for (name, before) in from {
        let Some((_, after)) = to.iter().find(|(other, _)| other == name) else {
            changes.push(present(name, "yes", "no"));
            continue;
        };
        let value = |fields: &Fields, field: &str| {
            let found = fields.iter().find(|(other, _)| other == field);
            found.map_or_else(|| "none".to_owned(), |(_, value)| value.clone())
        };
        let only_after = after
            .iter()
            .filter(|(field, _)| !before.iter().any(|(other, _)| other == field));
        for (field, _) in before.iter().chain(only_after) {
            let (from, to) = (value(before, field), value(after, field));
            if from != to {
                let (component, field) = (name.clone(), field.clone());
                changes.push(Change {
                    component,
                    field,
                    from,
                    to,
                });
            }
        }
    }
    let added = to
        .iter()
        .filter(|(name, _)| !from.iter().any(|(other, _)| other == name));
    changes.extend(added.map(|(name, _)| present(name, "no", "yes")));
    changes
}

fn mebibytes(amount: Amount) -> String {
    format!("{} MiB", amount.memory.as_mib())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(name: &str, fields: &[(&str, &str)]) -> (String, Fields) {
        let owned = |(field, value): &(&str, &str)| ((*field).to_owned(), (*value).to_owned());
        (name.to_owned(), fields.iter().map(owned).collect())
    }

    #[test]
    fn differences_are_named_once() {
        let changes = changes(
            &vec![fact("a", &[]), fact("b", &[("replicas", "1"), ("cpu", "1")])],
            &vec![
                fact("b", &[("replicas", "2"), ("cpu", "1"), ("heap", "3")]),
                fact("c", &[]),
            ],
        );
        let told: Vec<_> = changes
            .iter()
            .map(|c| format!("{} {} {} {}", c.component, c.field, c.from, c.to))
            .collect();
        assert_eq!(
            told,
            [
                "a present yes no",
                "b replicas 1 2",
                "b heap none 3",
                "c present no yes"
            ]
        );
    }
}
