use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::output::{Format, OutputArgs};
use super::platform::Sources;
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::report::{Palette, Table};
use crate::supply::engine::{self, EngineOptions};
use crate::supply::{ImageRequest, Kind, ListRow, PruneOptions, PrunedRow, Supply as Room};

/// Tools and images: what is there, making them ahead of time, taking away what is not needed
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Supply {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List tools and images with source, size and digest
    #[command(after_help = "Examples:\n  vadev supply list\n  vadev supply list -o wide")]
    List(OutputArgs),
    /// Make tools and images from packages ahead of time
    #[command(after_help = "Examples:\n  vadev supply build node postgres\n  vadev supply build --all --yes")]
    Build(Build),
    /// Take away outdated artefacts and what killed runs left behind
    #[command(after_help = "Examples:\n  vadev supply prune --dry-run\n  vadev supply prune --all")]
    Prune(Prune),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// Names as `vadev supply list` shows them
    #[arg(value_name = "NAME", required_unless_present = "all", add = ArgValueCompleter::new(complete::recipes))]
    names: Vec<String>,
    /// Everything that there is a recipe for
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Prune {
    /// Take away what is current too
    #[arg(long, action = ArgAction::SetTrue)]
    all: bool,
    /// Only tell what would go
    #[arg(long, action = ArgAction::SetTrue)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Supply {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let supply = context.supply(&Sources::default())?;
        match &self.verb {
            Verb::List(output) => list(context, &supply, output.output),
            Verb::Build(build) => make(context, &supply, build),
            Verb::Prune(prune) => take_away(context, &supply, prune),
        }
    }

    fn machine_readable(&self) -> bool {
        let (Verb::List(output) | Verb::Build(Build { output, .. }) | Verb::Prune(Prune { output, .. })) =
            &self.verb;
        output.output.machine_readable()
    }
}

fn list(context: &Context, supply: &Room, format: Format) -> Result<(), Failure> {
    let rows = context.block_on(async { Ok(supply.list().await?) })?;
    show(context, &rows, format)
}

fn show(context: &Context, rows: &[ListRow], format: Format) -> Result<(), Failure> {
    let palette = context.stdout_palette();
    context.print(&format.text(&rows, |wide| listed(rows, wide).render(palette))?)
}

fn listed(rows: &[ListRow], wide: bool) -> Table {
    let optional = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mut table = if wide {
        Table::new([
            "name",
            "kind",
            "state",
            "source",
            "version",
            "size",
            "made in",
            "reference",
            "digest",
        ])
    } else {
        Table::new(["name", "kind", "state", "source", "version", "size", "made in"])
    };
    for row in rows {
        let mut cells = vec![
            row.name.clone(),
            if row.kind == Kind::Tool { "tool" } else { "image" }.to_owned(),
            row.state.to_string(),
            optional(row.source.map(|source| source.to_string())),
            row.version.clone(),
            optional(row.size.map(megabytes)),
            crate::report::text::seconds(row.seconds),
        ];
        if wide {
            cells.extend([row.reference.clone(), optional(row.digest.clone())]);
        }
        table.row(cells);
    }
    table
}

fn make(context: &Context, supply: &Room, build: &Build) -> Result<(), Failure> {
    let all: Vec<String> = supply
        .book()
        .recipes()
        .map(|recipe| recipe.name.clone())
        .collect();
    let names = if build.all { &all } else { &build.names };
    for name in names {
        supply.book().recipe(name)?;
    }
    let rows = context.block_on(async {
        let step = context.reporter().step("supply", "Make tools and images", None);
        let consent = |question: &str| context.agrees(question);
        engine::ensure(&EngineOptions::new(&consent), &step).await?;
        // A tool may be downloaded: what compiling it takes is asked for only then.
        let images = |name: &&str| {
            supply
                .book()
                .recipe(name)
                .is_ok_and(|recipe| recipe.kind == Kind::Image)
        };
        let wanted: Vec<&str> = names.iter().map(String::as_str).filter(images).collect();
        supply.preflight(&wanted, &step).await?;
        let each = names.iter().map(|name| one(supply, name, &step));
        futures::future::try_join_all(each).await?;
        step.done(format!("{} made or there already", names.len()));
        Ok(supply.list().await?)
    })?;
    let rows: Vec<ListRow> = rows.into_iter().filter(|row| names.contains(&row.name)).collect();
    show(context, &rows, build.output.output)
}

async fn one(supply: &Room, name: &str, step: &crate::report::Step) -> Result<(), Failure> {
    let recipe = supply.book().recipe(name)?;
    let part = step.child(
        format!("supply/{name}"),
        format!("Make {name}"),
        Some(recipe.summary.clone()),
    );
    let made = match recipe.kind {
        Kind::Tool => supply
            .tool(name, &part)
            .await
            .map(|path| path.display().to_string()),
        Kind::Image => {
            let request = ImageRequest {
                component: name.to_owned(),
                official: None,
                recipe: Some(name.to_owned()),
            };
            supply.image(&request, &part).await.map(|image| image.reference)
        }
    };
    match made {
        Ok(reference) => {
            part.done(reference);
            Ok(())
        }
        Err(error) => {
            part.failed(&error);
            Err(error.into())
        }
    }
}

fn take_away(context: &Context, supply: &Room, prune: &Prune) -> Result<(), Failure> {
    if prune.all && !prune.dry_run {
        context
            .insist("Take away every tool and image that vadev has made? Making them again takes an hour")?;
    }
    let options = PruneOptions {
        all: prune.all,
        dry_run: prune.dry_run,
    };
    let rows = context.block_on(async {
        let step = context
            .reporter()
            .step("prune", "Take away what is not needed", None);
        let rows = supply.prune(options, &step).await?;
        step.done("");
        Ok(rows)
    })?;
    let palette = context.stdout_palette();
    let table = |_| pruned(&rows, prune.dry_run, palette);
    context.print(&prune.output.output.text(&rows, table)?)
}

fn pruned(rows: &[PrunedRow], dry_run: bool, palette: Palette) -> String {
    if rows.is_empty() {
        return "nothing to take away\n".to_owned();
    }
    let mut table = Table::new(["what", "name", "size", "because"]);
    for row in rows {
        table.row([
            row.what.to_owned(),
            row.name.clone(),
            megabytes(row.size),
            row.reason.to_owned(),
        ]);
    }
    let total = megabytes(rows.iter().map(|row| row.size).sum());
    let verb = if dry_run { "would be freed" } else { "freed" };
    format!("{}\n{total} {verb}\n", table.render(palette))
}

/// Bytes as people compare them.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_add(50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded() {
        assert_eq!(megabytes(0), "0.0 MB");
        assert_eq!(megabytes(1_749_999), "1.7 MB");
        assert_eq!(megabytes(1_750_000), "1.8 MB");
    }

    #[test]
    fn nothing_to_prune_is_said() {
        assert_eq!(pruned(&[], false, Palette::new(false)), "nothing to take away\n");
        let row = PrunedRow {
            what: "tool",
            name: "kind".into(),
            size: 1_000_000,
            reason: "it is gone",
        };
        assert!(pruned(&[row], true, Palette::new(false)).ends_with("\n1.0 MB would be freed\n"));
    }
}
