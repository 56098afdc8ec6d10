//! Putting a database in the place of the one that is there.

use std::time::Duration;

use tokio::time::sleep;

use super::{Server, beside, database_of, drop_database, maintenance};
use crate::failure::Failure;
use crate::operate::backup::manifest::System;
use crate::operate::backup::properties::{Properties, literal, quoted};
use crate::operate::backup::shelf::Stored;
use crate::operate::site::Site;
use crate::report::Step;

/// Restores a backup: loads it beside the database, compares, and swaps the two in one transaction.
pub async fn restore(site: &Site, stored: &Stored, step: &Step) -> Result<(), Failure> {
    let workload = site.workload(System::Postgres.name()).await?;
    let pod = site.running_pod(&workload).await?;
    let server = Server {
        site,
        target: workload.target(&pod),
    };
    let database = database_of(stored);
    let (new, old) = (beside(database, "new"), beside(database, "old"));
    step.progress("loading it beside what is there");
    // Backups of earlier versions do not say what the database was like; it is taken to be as the one that is there.
    let properties = match &stored.manifest.properties {
        Some(properties) => Some(properties.clone()),
        None => server.properties(database).await?,
    };
    let missing = server.make(stored, properties.as_ref(), &new).await?;
    if !missing.is_empty() {
        site.reporter.note(format!(
            "made without login, because the backup speaks of them: roles {}",
            missing.join(", ")
        ));
    }
    if let Err(error) = replace(&server, stored, properties.as_ref(), (&new, &old), step).await {
        if let Err(also) = server.sql(maintenance(database), &drop_database(&new)).await {
            step.progress(format!("the copy beside it could not be removed: {also}"));
        }
        return Err(error);
    }
    server.sql(maintenance(database), &drop_database(&old)).await?;
    Ok(())
}

/// Fills `new`, compares it, and puts it in place; what was there is `old` then.
async fn replace(
    server: &Server<'_>,
    stored: &Stored,
    properties: Option<&Properties>,
    (new, old): (&str, &str),
    step: &Step,
) -> Result<(), Failure> {
    server.load(stored, new, step).await?;
    server.compare(stored, new, step).await?;
    step.progress("putting it in place");
    let database = database_of(stored);
    if let Some(properties) = properties {
        server.sql(maintenance(database), &properties.dress(new)).await?;
    }
    swap(server, database, new, old).await
}

/// Renames both databases in one transaction. Clients that hold the old one are cut off; they come back at once, so that
/// it may take a few tries.
async fn swap(server: &Server<'_>, database: &str, new: &str, old: &str) -> Result<(), Failure> {
    let from = maintenance(database);
    let there = format!(
        "SELECT 1 FROM pg_database WHERE datname = {};\n",
        literal(database)
    );
    let there = !server.sql(from, &there).await?.trim().is_empty();
    server.sql(from, &drop_database(old)).await?;
    let away = if there {
        format!("ALTER DATABASE {} RENAME TO {};", quoted(database), quoted(old))
    } else {
        String::new()
    };
    let rename = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN ({}, {}) AND pid <> pg_backend_pid();\n\
         BEGIN;\n{away}\nALTER DATABASE {} RENAME TO {};\nCOMMIT;\n",
        literal(database),
        literal(new),
        quoted(new),
        quoted(database)
    );
    let mut tries = 0;
    loop {
        match server.sql(from, &rename).await {
            Ok(_) => return Ok(()),
            Err(error) if tries >= 20 => return Err(error),
            Err(_) => {
                tries += 1;
                sleep(Duration::from_millis(250)).await;
            }
        }
    }
}
