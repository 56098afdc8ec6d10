use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::{Context, Run, complete};
use crate::engine;
use crate::failure::{Failure, Family, Plain};
use crate::operate::OperateError;
use crate::operate::mesh::connectivity::{Pair, Reach, check};
use crate::report::{Palette, Table};

/// Try what the platform's parts can do with each other
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Check {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Call each service's health path from inside the others' pods, through their sidecars
    ///
    /// Fails where a service can't reach one that it calls. A pod whose image has nothing to ask with is given an ephemeral
    /// container that has, for three minutes.
    #[command(
        after_help = "Examples:\n  vadev check connectivity                             everybody to everybody\n  \
        vadev check connectivity agent-engine                from one to all\n  \
        vadev check connectivity agent-engine model-adapter"
    )]
    Connectivity(Connectivity),
}

#[derive(Debug, clap::Args)]
struct Connectivity {
    /// The caller; without it: every service
    #[arg(value_name = "FROM", add = ArgValueCompleter::new(complete::services))]
    from: Option<String>,
    /// The called; without it: every service
    #[arg(value_name = "TO", add = ArgValueCompleter::new(complete::services))]
    to: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Check {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let Verb::Connectivity(of) = &self.verb;
        let loaded = context.loaded()?;
        let found = context.block_on(async {
            let platform = context.running()?;
            let asked = of.from.iter().chain(&of.to);
            let site = context.about(asked, context.site_of(&platform).await)?;
            let deployed = site.workloads().await?;
            let services: Vec<String> = deployed
                .iter()
                .filter(|one| one.namespace() == site.namespaces.apps)
                .map(|one| one.name().to_owned())
                .collect();
            let chosen = |name: &Option<String>| -> Result<Vec<String>, Failure> {
                match name {
                    None => Ok(services.clone()),
                    Some(name) if services.contains(name) => Ok(vec![name.clone()]),
                    Some(name) => Err(OperateError::unknown(name, services.clone()).into()),
                }
            };
            let (from, to) = (chosen(&of.from)?, chosen(&of.to)?);
            let calls = |from: &str, to: &str| {
                let service = loaded.catalog.services.get(from);
                service.is_some_and(|service| service.calls.iter().any(|called| called == to))
            };
            let pairs: Vec<Pair> = from
                .iter()
                .flat_map(|from| to.iter().map(move |to| (from, to)))
                .filter(|(from, to)| from != to)
                .map(|(from, to)| Pair {
                    called: calls(from, to),
                    health: platform.stack().health_of(to).to_owned(),
                    from: from.clone(),
                    to: to.clone(),
                })
                .collect();
            if pairs.is_empty() {
                let name = of.from.as_deref().unwrap_or("the platform");
                let problem = "there is nobody else to call";
                let hint = "name two services: vadev check connectivity agent-engine model-adapter";
                return Err(OperateError::unfit(name, problem, hint).into());
            }
            let image = async |pods| {
                let consent = |question: &str| context.agrees(question);
                engine::asking_image(&platform, &site.cluster, pods, &consent).await
            };
            check(&site, &pairs, 8080, image).await
        })?;
        let palette = context.stdout_palette();
        context.print(&of.output.output.text(&found, |_| text(&found, palette))?)?;
        let broken = found.iter().filter(|one| one.is_broken()).count();
        if broken == 0 {
            return Ok(());
        }
        Err(Plain::new(
            Family::Unhealthy,
            format!("{broken} calls that services make do not get through"),
        )
        .with_hint("vadev proxy-config SERVICE endpoints shows what its sidecar knows; vadev analyze looks for mistakes")
        .into())
    }

    fn machine_readable(&self) -> bool {
        let Verb::Connectivity(of) = &self.verb;
        of.output.output.machine_readable()
    }
}

/// A matrix where there is one, then every pair that does not get through.
fn text(found: &[Reach], palette: Palette) -> String {
    let names = |of: fn(&Reach) -> &String| {
        let mut names: Vec<&String> = Vec::new();
        for one in found {
            if !names.contains(&of(one)) {
                names.push(of(one));
            }
        }
        names
    };
    let (from, to) = (names(|one| &one.from), names(|one| &one.to));
    let mut out = String::new();
    if from.len() > 1 && to.len() > 1 {
        let mut table = Table::new(["from \\ to"]);
        let heads = to.iter().enumerate().map(|(at, _)| (at + 1).to_string());
        table.row(std::iter::once(String::new()).chain(heads));
        for caller in &from {
            let cells = to.iter().map(|called| {
                let one = found
                    .iter()
                    .find(|one| one.from == **caller && one.to == **called);
                one.map_or("·".to_owned(), |one| mark(one, palette))
            });
            table.row(std::iter::once((*caller).clone()).chain(cells));
        }
        out = table.render(palette);
        for (at, name) in to.iter().enumerate() {
            out = format!("{out}{:>3} {name}\n", at + 1);
        }
        out += "✓ gets through, ✗ does not, ? could not be tried; ✔ and ✘ are calls of the catalog\n";
    }
    let rows: Vec<&Reach> = found
        .iter()
        .filter(|one| from.len() == 1 || to.len() == 1 || !one.ok)
        .collect();
    if !rows.is_empty() {
        let mut table = Table::new(["from", "to", "calls it", "result"]);
        for one in rows {
            table.row([
                one.from.clone(),
                one.to.clone(),
                if one.called { "yes" } else { "" }.to_owned(),
                if one.ok {
                    palette.green("reached")
                } else {
                    palette.red(one.problem.as_deref().unwrap_or("not reached"))
                },
            ]);
        }
        out += &table.render(palette);
    }
    out
}

fn mark(one: &Reach, palette: Palette) -> String {
    match (one.tried || one.ok, one.ok, one.called) {
        (false, ..) => "?".to_owned(),
        (_, true, true) => palette.green("✔"),
        (_, true, false) => "✓".to_owned(),
        (_, false, true) => palette.red("✘"),
        (_, false, false) => palette.yellow("✗"),
    }
}
