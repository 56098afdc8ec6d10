//! The build on this machine, for services whose result is synced.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::ReloadError;
use super::link::{LinkError, blocking};
use super::origin::{Origin, digest_of};
use super::rounds::{Files, Round};
use crate::profile::workspace::HostBuild;
use crate::report::Reporter;
use crate::supply::process::{Command, ProcessError};

/// Somebody who saves all the time does so within this.
const QUIET: Duration = Duration::from_millis(500);
/// How many of its last lines a failed build shows.
const LINES: usize = 25;
/// A build that takes longer is told of.
const LONG: Duration = Duration::from_millis(1800);

/// Builds a service whose result is synced, unless its last build was of the very same source. What a build writes beside
/// its results is a reason for another one, for nobody knows who wrote it; not for ever. `begins` is called before it does.
/// Whether it built.
///
/// # Errors
/// The source cannot be read, the build cannot be started or ends with an error, or it follows from itself again and again.
pub async fn make(
    origin: &Arc<Origin>,
    reporter: &Reporter,
    begins: impl FnOnce(),
) -> Result<bool, LinkError> {
    let service = &origin.service;
    let Some(command) = &service.build else {
        return Ok(false);
    };
    // Read before the build: what is saved while it runs is of the next one.
    let mut before = sources(origin).await?;
    if origin.is_built_of(&digest_of(&before)) {
        return Ok(false);
    }
    let round = origin.rounds().due(&before);
    match round {
        Round::Due => {}
        Round::Doubted => {
            tokio::time::sleep(QUIET).await;
            before = sources(origin).await?;
        }
        Round::Endless(paths) => {
            let command = command.command.join(" ");
            return Err(ReloadError::Endless { command, paths }.into());
        }
    }
    begins();
    origin.built(None)?;
    let done = build(&service.name, command, &service.source, reporter).await;
    let after = sources(origin).await?;
    origin.rounds().done(&before, after);
    done?;
    origin.built(Some(digest_of(&before)))?;
    Ok(true)
}

async fn sources(origin: &Arc<Origin>) -> Result<Files, LinkError> {
    let shared = Arc::clone(origin);
    blocking(move || shared.sources()).await
}

/// Runs the build in the source folder.
///
/// # Errors
/// It cannot be started or ends with an error.
async fn build(
    service: &str,
    build: &HostBuild,
    source: &Path,
    reporter: &Reporter,
) -> Result<(), ReloadError> {
    let Some((program, arguments)) = build.command.split_first() else {
        return Ok(());
    };
    if build
        .command
        .iter()
        .any(|word| word.starts_with(super::infer::OUTPUT))
    {
        keep_out_of_git(source)?;
    }
    let mut command = Command::new(program).args(arguments).cwd(source);
    for (name, value) in &build.env {
        command = command.env(name, value);
    }
    let shown = build.command.join(" ");
    let mut last = String::new();
    let mut building = std::pin::pin!(command.run(|_, line| line.clone_into(&mut last)));
    let done = loop {
        tokio::select! {
            done = &mut building => break done,
            () = tokio::time::sleep(LONG) => reporter.note(format!("{service}: still building with `{shown}`")),
        }
    };
    done.map(drop).map_err(|error| {
        if let ProcessError::Start { source, .. } = &error {
            return ReloadError::NoBuilder {
                command: shown.clone(),
                problem: source.to_string(),
            };
        }
        let (problem, mut output) = told(&error);
        output.drain(..output.len().saturating_sub(LINES));
        ReloadError::HostBuild {
            command: shown.clone(),
            problem,
            output,
        }
    })
}

fn told(error: &ProcessError) -> (String, Vec<String>) {
    use crate::failure::Diagnose;
    (error.to_string(), error.details())
}

/// Results below vadev's own name are nobody's source: a file in their folder tells git so.
fn keep_out_of_git(source: &Path) -> Result<(), ReloadError> {
    let folder = source.join(super::infer::OUTPUT);
    let ignore = folder.join(".gitignore");
    if ignore.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&ignore, "*\n"))
        .map_err(ReloadError::io("write", ignore))
}
