use std::path::PathBuf;

use clap_complete::engine::ArgValueCompleter;

use super::output::{Format, OutputArgs};
use super::{Context, Run, complete};
use crate::failure::{Failure, Family, Plain};
use crate::operate::backup::{self, Done, Shelf, Stored, System};
use crate::report::text::{age, bytes, seconds};
use crate::report::{Palette, Table};

/// Back postgres and redis up, and look after the backups
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Backup {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Back up postgres and redis: streamed, compressed, with a manifest of every table and key space
    ///
    /// What else keeps data (milvus, minio, kafka, clickhouse, elasticsearch, nacos) has no backup here.
    #[command(
        after_help = "Examples:\n  vadev backup create\n  vadev backup create postgres --dir /mnt/backups"
    )]
    Create(Create),
    /// List the backups that there are
    #[command(after_help = "Example:\n  vadev backup list -o json | jq -r '.[].file'")]
    List(List),
    /// Restore backups into a scratch instance and compare everything; what runs is not touched
    #[command(
        after_help = "Examples:\n  vadev backup verify                                  the newest of each system\n  \
        vadev backup verify backups/redis_20261123T180000Z.rdb.gz"
    )]
    Verify(Verify),
    /// Remove old backups, but never the newest ones
    #[command(after_help = "Example:\n  vadev backup cleanup --days 30 --keep 3")]
    Cleanup(Cleanup),
}

/// Where backups are.
#[derive(Debug, Clone, clap::Args)]
pub struct Folder {
    /// Folder of the backups; default: `backups` beside vadev.yaml
    #[arg(long, value_name = "FOLDER", env = "VADEV_BACKUPS", hide_env = true)]
    dir: Option<PathBuf>,
}

impl Folder {
    /// The backups of this workspace.
    pub fn shelf(&self, context: &Context) -> Result<Shelf, Failure> {
        let folder = match &self.dir {
            Some(folder) => folder.clone(),
            None => context.loaded()?.root.join("backups"),
        };
        Ok(Shelf::new(folder))
    }
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What to back up
    #[arg(value_enum, default_value_t, value_name = "WHAT")]
    what: What,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    output: OutputArgs,
}

/// What to back up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum What {
    /// Postgres and redis, whichever is deployed.
    #[default]
    All,
    /// The relational database.
    Postgres,
    /// The key-value store.
    Redis,
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The files; without any: the newest of each system and database
    #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
    files: Vec<PathBuf>,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
struct Cleanup {
    /// Remove what is older than so many days
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    days: u32,
    /// Keep so many of the newest of each cluster, system and database, however old they are
    #[arg(long, value_name = "N", default_value_t = 1)]
    keep: usize,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    output: OutputArgs,
}

impl Backup {
    fn format(&self) -> Format {
        match &self.verb {
            Verb::Create(of) => of.output.output,
            Verb::List(of) => of.output.output,
            Verb::Verify(of) => of.output.output,
            Verb::Cleanup(of) => of.output.output,
        }
    }
}

impl Run for Backup {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let format = self.format();
        let palette = context.stdout_palette();
        let text = match &self.verb {
            Verb::Create(of) => {
                let done = create(context, of)?;
                format.text(&done, |_| table(&done, palette))?
            }
            Verb::List(of) => {
                let all = of.folder.shelf(context)?.list()?;
                format.text(&all, |_| list(&all, palette))?
            }
            Verb::Verify(of) => {
                let done = verify(context, of)?;
                format.text(&done, |_| table(&done, palette))?
            }
            Verb::Cleanup(of) => cleanup(context, of, format)?,
        };
        context.print(&text)
    }

    fn machine_readable(&self) -> bool {
        self.format().machine_readable()
    }
}

fn create(context: &Context, of: &Create) -> Result<Vec<Done>, Failure> {
    let shelf = of.folder.shelf(context)?;
    context.block_on(async {
        // The keys of a backup of redis are counted in a pod of its own.
        let site = match of.what {
            What::Postgres => context.site().await?,
            What::All | What::Redis => context.site_to("Start a scratch pod of redis").await?,
        };
        let systems = match of.what {
            What::Postgres => vec![System::Postgres],
            What::Redis => vec![System::Redis],
            What::All => {
                let deployed = site.workloads().await?;
                let is_there = |system: &System| deployed.iter().any(|one| one.name() == system.name());
                System::ALL.into_iter().filter(is_there).collect()
            }
        };
        if systems.is_empty() {
            let message = "neither postgres nor redis is deployed; there is nothing to back up";
            return Err(Plain::new(Family::Refused, message)
                .with_hint("vadev status shows what is deployed")
                .into());
        }
        backup::create(&site, &shelf, &systems).await
    })
}

fn verify(context: &Context, of: &Verify) -> Result<Vec<Done>, Failure> {
    let mut files = of.files.clone();
    if files.is_empty() {
        let cleaned = of.folder.shelf(context)?.newest()?;
        files.extend(cleaned.into_iter().map(|stored| stored.file));
    }
    if files.is_empty() {
        return Err(Plain::new(Family::Usage, "there is no backup")
            .with_hint("vadev backup create makes one")
            .into());
    }
    context.block_on(async {
        let site = context.site_to("Start scratch pods").await?;
        let mut done = Vec::new();
        for file in &files {
            done.push(backup::verify(&site, file).await?);
        }
        Ok(done)
    })
}

fn cleanup(context: &Context, of: &Cleanup, format: Format) -> Result<String, Failure> {
    let shelf = of.folder.shelf(context)?;
    let cleaned = shelf.clean(of.days, of.keep)?;
    let count = cleaned.goes.len() + cleaned.drafts.len();
    if count > 0 {
        let lines = |files: &[PathBuf]| {
            files.iter().fold(String::new(), |text, file| {
                format!("{text}\n  {}", file.display())
            })
        };
        let about = format!(
            "This removes:{}{}\nThis stays:{}",
            lines(&cleaned.goes),
            lines(&cleaned.drafts),
            lines(&cleaned.stays)
        );
        context.reporter().note(about);
        context.insist(&format!("Remove {count} files?"))?;
        shelf.remove(&cleaned)?;
    }
    format.text(&cleaned, |_| {
        format!("{count} removed, {} kept\n", cleaned.stays.len())
    })
}

fn list(all: &[Stored], palette: Palette) -> String {
    if all.is_empty() {
        return "no backups; vadev backup create makes one\n".to_owned();
    }
    let now = k8s_openapi::jiff::Timestamp::now();
    let mut table = Table::new(["file", "system", "version", "age", "size", "content"]);
    for one in all {
        table.row([
            one.name(),
            one.manifest.system.name().to_owned(),
            one.manifest.version.clone(),
            age(now.as_second() - one.manifest.created.as_second()),
            bytes(one.manifest.size),
            one.manifest.content.words(),
        ]);
    }
    table.render(palette)
}

/// Backups or restores that came to their end.
pub fn table(done: &[Done], palette: Palette) -> String {
    let mut table = Table::new(["file", "size", "content", "took"]);
    for one in done {
        table.row([
            one.file.clone(),
            bytes(one.size),
            palette.green(&one.content),
            seconds(one.seconds),
        ]);
    }
    table.render(palette)
}
