use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;
use serde::Serialize;

use super::output::{Format, OutputArgs};
use super::platform::{Sources, Wanted};
use super::selecting::Selecting;
use super::{Context, Run, complete, timeout, up};
use crate::engine::Platform;
use crate::engine::compose::{self as room, ComposeOptions, ComposeReport, ContainerStatus, Folder};
use crate::failure::{Failure, Family, Plain};
use crate::profile::{Selection, resolve};
use crate::render::compose::{Helpers, file_name, render};
use crate::render::official;
use crate::report::{Palette, Table, text};
use crate::supply::compose::{Compose as Tool, ensure as ensure_tool};
use crate::supply::engine::{EngineOptions, ensure};

/// The platform without Kubernetes, through docker compose
///
/// The Compose file is made of the same profile as a cluster's objects; what Compose cannot express is listed at its top.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Compose {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Bring the platform up, wait until every container is healthy, and ask the gateway
    #[command(after_help = "Examples:\n  \
        vadev compose up -p minimal\n  \
        vadev compose up agent-engine                     one service, with what it needs\n  \
        vadev compose up --http-port 9080 -o json | jq .seconds")]
    Up(Up),
    /// Stop and remove the containers; data stays unless --volumes says otherwise
    #[command(after_help = "Examples:\n  vadev compose down\n  vadev compose down --volumes --yes")]
    Down(Down),
    /// List the containers with their health
    #[command(
        after_help = "Examples:\n  vadev compose ps\n  vadev compose ps -o json | jq '.[] | select(.health != \"healthy\")'"
    )]
    Ps(OutputArgs),
    /// Print the logs of services
    #[command(
        after_help = "Examples:\n  vadev compose logs agent-engine --tail 50\n  vadev compose logs --follow"
    )]
    Logs(Logs),
    /// Print the Compose file that runs, as the compose tool understands it; without passwords
    #[command(after_help = "Examples:\n  vadev compose config")]
    Config,
    /// Write the Compose files of every profile, sized by the profile alone and with official images
    #[command(after_help = "Examples:\n  vadev compose render --out compose-equivalents")]
    Render(Render),
}

#[derive(Debug, clap::Args)]
struct Up {
    #[command(flatten)]
    selecting: Selecting,
    #[command(flatten)]
    sources: Sources,
    /// Port of the gateway on 127.0.0.1; default: 8080, or what it had
    #[arg(long, value_name = "PORT", env = "VADEV_HTTP_PORT", hide_env = true,
          value_parser = clap::value_parser!(u16).range(1..))]
    http_port: Option<u16>,
    /// Longest wait until all is healthy, for instance 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Down {
    /// Remove the volumes with the data too
    #[arg(long, action = ArgAction::SetTrue)]
    volumes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Logs {
    /// Services or systems; all of them without any
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::components))]
    services: Vec<String>,
    /// Go on as lines come
    #[arg(long, action = ArgAction::SetTrue)]
    follow: bool,
    /// Only so many last lines of each
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
}

#[derive(Debug, clap::Args)]
struct Render {
    /// Folder for the files
    #[arg(long, value_name = "DIR", default_value = "compose-equivalents")]
    out: PathBuf,
}

/// What `down -o json` prints.
#[derive(Debug, Serialize)]
struct Removed {
    containers: Vec<String>,
    volumes: bool,
}

impl Run for Compose {
    fn run(self, context: &Context) -> Result<(), Failure> {
        match &self.verb {
            Verb::Up(verb) => bring_up(context, verb),
            Verb::Down(verb) => take_down(context, verb),
            Verb::Ps(output) => list(context, output.output),
            Verb::Logs(verb) => logs(context, verb),
            Verb::Config => config(context),
            Verb::Render(verb) => write_all(context, &verb.out),
        }
    }

    fn machine_readable(&self) -> bool {
        match &self.verb {
            Verb::Up(Up { output, .. }) | Verb::Down(Down { output, .. }) | Verb::Ps(output) => {
                output.output.machine_readable()
            }
            Verb::Logs(_) | Verb::Config | Verb::Render(_) => false,
        }
    }
}

/// The platform that Compose runs, else the one of the flags.
fn running(context: &Context) -> Result<Platform, Failure> {
    let loaded = context.loaded()?;
    let kept = Folder::of(&loaded.state()).kept()?;
    let profile = kept
        .as_ref()
        .map(|kept| kept.profile.as_str())
        .filter(|name| loaded.profiles.contains_key(*name));
    let mut platform = context.platform(&Wanted::default())?;
    platform.options.stack = resolve(
        &loaded.catalog,
        context.profile(profile)?,
        &loaded.workspace,
        &Selection::default(),
        None,
    )?;
    Ok(platform)
}

async fn tool(context: &Context) -> Result<Tool, Failure> {
    let step = context.reporter().step("tool/compose", "Compose tool", None);
    match ensure_tool(&|question: &str| context.agrees(question), &step).await {
        Ok(tool) => {
            step.done(format!("{} {}", tool.spoken(), tool.version));
            Ok(tool)
        }
        Err(error) => {
            step.failed(&error);
            Err(error.into())
        }
    }
}

fn bring_up(context: &Context, verb: &Up) -> Result<(), Failure> {
    let wanted = Wanted {
        selection: verb.selecting.selection(),
        sources: verb.sources.clone(),
        ..Wanted::default()
    };
    let platform = context.platform(&wanted)?;
    up::check_capacity(context, &platform, &wanted.selection)?;
    let state = context.loaded()?.state();
    let kept = Folder::of(&state).kept()?;
    let options = ComposeOptions {
        timeout: verb.timeout,
        http_port: verb.http_port.or(kept.map(|kept| kept.http_port)).unwrap_or(8080),
    };
    let report = context.block_on(async {
        let consent = |question: &str| context.agrees(question);
        let step = context.reporter().step("engine", "Container engine", None);
        match ensure(&EngineOptions::new(&consent), &step).await {
            Ok(engine) => step.done(engine.done.join(", ")),
            Err(error) => {
                step.failed(&error);
                return Err(error.into());
            }
        };
        let tool = tool(context).await?;
        context.loaded()?.make_state()?;
        room::up(&platform, &tool, options).await
    })?;
    let palette = context.stdout_palette();
    context.print(
        &verb
            .output
            .output
            .text(&report, |wide| told(&report, wide, palette))?,
    )
}

fn told(report: &ComposeReport, wide: bool, palette: Palette) -> String {
    format!(
        "{}\n{} is up in {}; {} of Kubernetes and Istio are missing here, see {}\nLook at {}\nNext: vadev compose ps, vadev compose logs, vadev compose down\n",
        table(&report.containers, wide, palette),
        report.project,
        text::seconds(report.seconds),
        if report.missing.len() == 1 {
            "one thing".to_owned()
        } else {
            format!("{} things", report.missing.len())
        },
        report.file,
        palette.cyan(&report.url),
    )
}

fn take_down(context: &Context, verb: &Down) -> Result<(), Failure> {
    let platform = running(context)?;
    let removed = context.block_on(async {
        let there = room::services(&platform).await?;
        let containers: Vec<String> = there.into_iter().map(|one| one.container).collect();
        let kept = Folder::of(&platform.options.state).kept()?;
        if kept.is_none() && containers.is_empty() {
            return Ok(Removed {
                containers,
                volumes: false,
            });
        }
        let about = format!("{} containers and their networks", containers.len());
        let (goes, stays) = if verb.volumes {
            (
                format!("{about}, and the volumes with all data"),
                "the images".to_owned(),
            )
        } else {
            (about, "the volumes with all data, and the images".to_owned())
        };
        context
            .reporter()
            .note(format!("This removes:\n  {goes}\nThis stays:\n  {stays}"));
        context.insist(&format!("Remove {goes}?"))?;
        room::down(&platform, &tool(context).await?, verb.volumes).await?;
        Ok(Removed {
            containers,
            volumes: verb.volumes,
        })
    })?;
    let text = verb.output.output.text(&removed, |_| {
        let lines = removed
            .containers
            .iter()
            .fold(String::new(), |text, one| format!("{text}removed {one}\n"));
        if lines.is_empty() {
            "nothing to remove\n".to_owned()
        } else {
            lines
        }
    })?;
    context.print(&text)
}

fn list(context: &Context, format: Format) -> Result<(), Failure> {
    let platform = running(context)?;
    let all = context.block_on(room::services(&platform))?;
    let palette = context.stdout_palette();
    context.print(&format.text(&all, |wide| {
        if all.is_empty() {
            "nothing runs here; vadev compose up\n".to_owned()
        } else {
            table(&all, wide, palette)
        }
    })?)
}

fn table(all: &[ContainerStatus], wide: bool, palette: Palette) -> String {
    let mut table = if wide {
        Table::new(["service", "state", "container", "image"])
    } else {
        Table::new(["service", "state"])
    };
    for one in all {
        let state = one.spoken();
        let state = if one.is_good() {
            palette.green(&state)
        } else {
            palette.red(&state)
        };
        let mut cells = vec![one.service.clone(), state];
        if wide {
            cells.extend([one.container.clone(), one.image.clone()]);
        }
        table.row(cells);
    }
    table.render(palette)
}

fn logs(context: &Context, verb: &Logs) -> Result<(), Failure> {
    let platform = running(context)?;
    let mut arguments = Vec::new();
    if verb.follow {
        arguments.push("--follow".to_owned());
    }
    if let Some(lines) = verb.tail {
        arguments.extend(["--tail".to_owned(), lines.to_string()]);
    }
    arguments.extend(verb.services.iter().cloned());
    context.block_on(async {
        let tool = tool(context).await?;
        let mut failed = None;
        let print = |line: &str| failed = context.print(&format!("{line}\n")).err();
        room::logs(&platform, &tool, &arguments, print).await?;
        failed.map_or(Ok(()), Err)
    })
}

fn config(context: &Context) -> Result<(), Failure> {
    let platform = running(context)?;
    let text = context.block_on(async { room::merged(&platform, &tool(context).await?).await })?;
    context.print(&text)
}

/// Every profile of the workspace, whatever machine this is.
fn write_all(context: &Context, folder: &Path) -> Result<(), Failure> {
    let loaded = context.loaded()?;
    let failed = |error: std::io::Error| -> Failure {
        Plain::new(
            Family::Environment,
            format!("cannot write to {}: {error}", folder.display()),
        )
        .with_hint("choose a folder that you may write to with --out")
        .into()
    };
    let mut count = 0;
    for profile in loaded.profiles.values() {
        let stack = resolve(
            &loaded.catalog,
            profile,
            &loaded.workspace,
            &Selection::default(),
            None,
        )?;
        let equivalent = render(&stack, &official(&stack), &Helpers::official(&stack))
            .map_err(|error| Plain::new(Family::Internal, format!("cannot write YAML: {error}")))?;
        let own = std::iter::once((file_name(&profile.name), equivalent.file));
        for (name, content) in equivalent.files.into_iter().chain(own) {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(failed)?;
            fs::write(&path, content).map_err(failed)?;
            count += 1;
        }
    }
    context
        .reporter()
        .note(format!("{count} files in {}", folder.display()));
    Ok(())
}
