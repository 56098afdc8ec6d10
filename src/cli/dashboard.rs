use clap::ArgAction;

use super::output::OutputArgs;
use super::{Context, Run};
use crate::engine::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::operate::dashboards::{Dashboards, Opened, PAGES, Page, is_deployed};
use crate::report::{Palette, Table};

/// Open the web pages of grafana, jaeger, prometheus and others on their known ports, until Ctrl+C
///
/// grafana 3000, kiali 20001, jaeger 16686, prometheus 9090, nacos 8848, minio 9001, alertmanager 9093. A page whose pod or
/// node is restarted is back by itself on the same port.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev dashboard\n  \
    vadev dashboard prometheus --open")]
pub struct Dashboard {
    /// Which page; without it: all that are deployed
    #[arg(value_name = "NAME", default_value = "all", value_parser = name())]
    name: String,
    /// Open it in the browser too
    #[arg(long, action = ArgAction::SetTrue)]
    open: bool,
    #[command(flatten)]
    output: OutputArgs,
}

fn name() -> clap::builder::PossibleValuesParser {
    let names = PAGES.iter().map(|page| page.name);
    std::iter::once("all").chain(names).collect::<Vec<_>>().into()
}

impl Run for Dashboard {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        context.block_on(async {
            let site = context.site_of(&platform).await?;
            let mut pages = Vec::new();
            for page in PAGES
                .iter()
                .filter(|page| self.name == "all" || self.name == page.name)
            {
                if is_deployed(&site, page).await? {
                    pages.push(*page);
                } else if self.name == "all" {
                    site.reporter.note(absent(context, &platform, page));
                } else {
                    return Err(Plain::new(Family::Cluster, absent(context, &platform, page)).into());
                }
            }
            if pages.is_empty() {
                return Err(
                    Plain::new(Family::Cluster, "no system with a web page is deployed")
                        .with_hint("vadev profile list shows which profile has which systems")
                        .into(),
                );
            }
            let mut dashboards = Dashboards::open(&site, &pages).await?;
            let opened = dashboards.opened();
            let palette = context.stdout_palette();
            context.print(&self.output.output.text(&opened, |_| table(&opened, palette))?)?;
            if self.open {
                for one in &opened {
                    if let Err(error) = open::that_detached(&one.url) {
                        site.reporter.warn(
                            format!("no browser could be started for {}: {error}", one.url),
                            None,
                        );
                    }
                }
            }
            site.reporter.note("Ctrl+C closes them");
            dashboards.watch().await;
            Ok(())
        })
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

/// One line: that it is not there, and how to get it.
fn absent(context: &Context, platform: &Platform, page: &Page) -> String {
    let stack = platform.stack();
    let name = page.name;
    if page.component == "kiali" {
        return format!(
            "{name} is not deployed: it is no part of the platform's catalog; its own operator installs it"
        );
    }
    if stack
        .infrastructure
        .iter()
        .any(|system| system.infrastructure.name == page.component)
    {
        return format!(
            "{name} is not deployed: `vadev up` brings it where its image can be had (vadev supply list says which can)"
        );
    }
    let with = context.loaded().ok().and_then(|loaded| {
        let group = loaded.catalog.system(page.component)?.group;
        loaded
            .profiles
            .values()
            .find(|profile| profile.groups.contains(&group))
    });
    match with {
        Some(profile) => format!("{name} is not deployed: vadev up -p {} brings it", profile.name),
        None => format!("{name} is not deployed, and no profile has it"),
    }
}

fn table(opened: &[Opened], palette: Palette) -> String {
    let mut table = Table::new(["name", "address", "state"]);
    for one in opened {
        let state = if one.up {
            palette.green("up")
        } else {
            palette.red("down")
        };
        table.row([one.name.to_owned(), palette.cyan(&one.url), state]);
    }
    table.render(palette)
}
