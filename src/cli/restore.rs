use std::path::PathBuf;

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::backup::{Folder, table};
use super::output::OutputArgs;
use super::{Context, Run, complete};
use crate::failure::Failure;
use crate::operate::backup;
use crate::report::text::age;

/// Put a backup in the place of what postgres or redis has
///
/// The file is checked against its manifest, loaded beside what is there, compared table by table or key by key, and only
/// then put in place. Until that moment nothing of the old state is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev restore backups/postgres_voiceassistant_20261123T180000Z.sql.gz\n  \
    vadev restore backups/redis_20261123T180000Z.rdb.gz --yes --no-safety-backup")]
pub struct Restore {
    // Not called `file`: that is the workspace's, by --file.
    /// The backup
    #[arg(value_name = "FILE", add = ArgValueCompleter::new(complete::backups))]
    from: PathBuf,
    /// Do not back up what is there now before it is replaced
    #[arg(long, action = ArgAction::SetTrue)]
    no_safety_backup: bool,
    #[command(flatten)]
    folder: Folder,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Restore {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let stored = backup::open(&self.from)?;
        let manifest = &stored.manifest;
        let now = k8s_openapi::jiff::Timestamp::now();
        let system = manifest.system.name();
        context.reporter().note(format!(
            "This replaces everything in {system} by {}, made {} ago from {system} {}",
            manifest.content.words(),
            age(now.as_second() - manifest.created.as_second()),
            manifest.version
        ));
        let here = context.block_on(async { Ok(context.site().await?.cluster.id().uid.clone()) })?;
        if here != manifest.cluster {
            context.reporter().warn(
                "The backup was made in another cluster than the one it goes into",
                None,
            );
        }
        context.insist(&format!("Restore {}?", stored.name()))?;
        let safety =
            !self.no_safety_backup && context.consent(&format!("Back up what {system} has now, first?"))?;
        let done = context.block_on(async {
            let site = context.site_to(&format!("Restore {system}")).await?;
            let mut done = Vec::new();
            if safety {
                let folder = self.folder.shelf(context)?;
                done.extend(backup::create(&site, &folder, &[manifest.system]).await?);
            }
            done.push(backup::restore(&site, &stored).await?);
            Ok(done)
        })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&done, |_| table(&done, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}
