//! Backups of the databases, and back. A backup is a compressed file with a manifest beside it that says what is in it, down
//! to a checksum for every table or key space; nothing is restored before file and manifest agree, and nothing counts as
//! restored before the database and the manifest do.

mod digest;
mod file;
mod manifest;
mod postgres;
mod properties;
mod redis;
mod scratch;
mod shelf;

use std::path::Path;

use serde::Serialize;

pub use manifest::{Content, Manifest, System};
pub use shelf::{Cleaned, Shelf, Stored};

use super::error::OperateError;
use super::site::Site;
use crate::failure::Failure;

/// A backup or restore that came to its end.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// The file.
    pub file: String,
    /// Of what.
    pub system: System,
    /// Bytes of the file.
    pub size: u64,
    /// What is in it, in words: `3 tables, 1000000 rows`.
    pub content: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Backs systems up into the shelf's folder: streamed, with a manifest, whole or not at all.
pub async fn create(site: &Site, shelf: &Shelf, systems: &[System]) -> Result<Vec<Done>, Failure> {
    shelf.prepare()?;
    let mut done = Vec::new();
    for system in systems {
        match system {
            System::Postgres => done.extend(postgres::create(site, shelf).await?),
            System::Redis => done.push(redis::create(site, shelf).await?),
        }
    }
    Ok(done)
}

/// Restores a backup into a scratch instance of its system and compares everything with the manifest. The system itself is
/// not touched.
pub async fn verify(site: &Site, file: &Path) -> Result<Done, Failure> {
    let stored = shelf::read(file)?;
    let step = site.reporter.step(
        format!("verify/{}", stored.name()),
        format!("Verify {}", stored.name()),
        None,
    );
    step.progress("comparing the file with its manifest");
    stored.check()?;
    let result = match stored.manifest.system {
        System::Postgres => postgres::verify(site, &stored, &step).await,
        System::Redis => redis::verify(site, &stored, &step).await,
    };
    end(step, &stored, result)
}

/// Puts a backup in the place of what the system has. Nothing of the system is changed before the file was checked and
/// everything in it was loaded and compared; what was there before goes last.
pub async fn restore(site: &Site, stored: &Stored) -> Result<Done, Failure> {
    let step = site.reporter.step(
        format!("restore/{}", stored.manifest.system.name()),
        format!("Restore {}", stored.name()),
        None,
    );
    site.cluster.recheck().await?;
    let result = match stored.manifest.system {
        System::Postgres => postgres::restore(site, stored, &step).await,
        System::Redis => redis::restore(site, stored, &step).await,
    };
    end(step, stored, result)
}

/// Opens a backup and checks the file against its manifest.
pub fn open(file: &Path) -> Result<Stored, Failure> {
    let stored = shelf::read(file)?;
    stored.check()?;
    Ok(stored)
}

fn end(step: crate::report::Step, stored: &Stored, result: Result<(), Failure>) -> Result<Done, Failure> {
    match result {
        Ok(()) => {
            let content = stored.manifest.content.words();
            let seconds = step.done(content.clone());
            Ok(Done {
                file: stored.file.display().to_string(),
                system: stored.manifest.system,
                size: stored.manifest.size,
                content,
                seconds,
            })
        }
        Err(error) => {
            step.finish(crate::report::Outcome::Failed, error.to_string());
            Err(error)
        }
    }
}

/// What differs between what a manifest promises and what was found, as a refusal.
fn differs(subject: &str, differences: Vec<String>) -> OperateError {
    OperateError::Refused {
        message: format!("{subject} is not what its manifest says; nothing was changed"),
        hint: "take another backup: vadev backup list".to_owned(),
        details: differences,
    }
}
