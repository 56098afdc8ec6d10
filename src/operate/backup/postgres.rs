//! PostgreSQL: dumped in one snapshot with its checksums, restored beside what is there, compared, and swapped in.

mod restore;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::sleep;

use super::differs;
use super::digest;
use super::file::{Draft, length, pour};
use super::manifest::{Content, Manifest, System};
use super::properties::{self, Properties, quoted};
use super::scratch::Scratch;
use super::shelf::{Shelf, Stored};
use crate::failure::Failure;
use crate::k8s::{ExecTarget, Session, SessionOptions, close, drain};
use crate::operate::error::OperateError;
use crate::operate::site::Site;
use crate::report::Step;

pub use restore::restore;

/// psql on the container's own socket, as the user that the image made.
const PSQL: &str = "exec psql -X -q -A -t -v ON_ERROR_STOP=1 -U \"${POSTGRES_USER:-postgres}\" -d \"$1\"";

/// The database that is always there, for what can't be said from within the one it is about.
const MAINTENANCE: &str = "postgres";

/// The one to say things about a database from. Nobody can rename the database that they are in.
fn maintenance(about: &str) -> &'static str {
    if about == MAINTENANCE {
        "template1"
    } else {
        MAINTENANCE
    }
}

/// One PostgreSQL server: the platform's, or a scratch one.
struct Server<'a> {
    site: &'a Site,
    target: ExecTarget<'a>,
}

impl Server<'_> {
    async fn session(&self, script: &str, args: &[&str], stdin: bool) -> Result<Session, Failure> {
        let mut command = vec!["sh", "-c", script, "sh"];
        command.extend(args);
        let options = SessionOptions { stdin, tty: false };
        Ok(Session::open(&self.site.cluster, &self.target, &command, options).await?)
    }

    /// Runs SQL from standard input and returns what it prints.
    async fn sql(&self, database: &str, sql: &str) -> Result<String, Failure> {
        let session = self.session(PSQL, &[database], true).await?;
        Ok(session.answer(format!("{sql}\\q\n").as_bytes()).await?)
    }

    /// Runs a script that reads nothing, and returns what it prints.
    async fn run(&self, script: &str, args: &[&str]) -> Result<String, Failure> {
        Ok(self.session(script, args, false).await?.answer(b"").await?)
    }

    /// What a database is beside what is in it; `None` where it is not there.
    async fn properties(&self, database: &str) -> Result<Option<Properties>, Failure> {
        let answer = self
            .sql(maintenance(database), &properties::ask(database))
            .await?;
        Ok(properties::read(&answer)?)
    }

    /// Makes an empty database for what a backup holds, in the place of one that an interrupted run left, and the roles that
    /// the server lacks for it; those it returns.
    async fn make(
        &self,
        stored: &Stored,
        properties: Option<&Properties>,
        name: &str,
    ) -> Result<Vec<String>, Failure> {
        let from = maintenance(database_of(stored));
        let roles = properties.map_or(&[][..], |properties| &properties.roles);
        let missing = self.sql(from, &properties::ask_missing(roles)).await?;
        let missing: Vec<String> = missing.lines().map(str::to_owned).collect();
        let make_roles = properties::make_roles(missing.iter().map(String::as_str));
        self.sql(from, &(drop_database(name) + &make_roles)).await?;
        let plain = format!("CREATE DATABASE {} TEMPLATE template0;\n", quoted(name));
        let Some(properties) = properties else {
            self.sql(from, &plain).await?;
            return Ok(missing);
        };
        if let Err(error) = self.sql(from, &properties.create(name)).await {
            // Another image may not have the locale; the rows are worth more than their order.
            self.sql(from, &plain).await?;
            self.site.reporter.note(format!(
                "{} gets the server's own encoding and collation: {error}",
                database_of(stored)
            ));
        }
        Ok(missing)
    }

    /// Everything about a database that two states are compared by, as a plain session sees it.
    async fn content(&self, database: &str) -> Result<Content, Failure> {
        let answer = self.sql(database, &digest::tables()).await?;
        let lines = answer.lines().take_while(|line| *line != digest::END);
        let (tables, sequences) = digest::read_tables(lines.map(str::to_owned))?;
        let dump = "exec pg_dump --schema-only -U \"${POSTGRES_USER:-postgres}\" -d \"$1\"";
        let schema = self.run(dump, &[database]).await?;
        Ok(Content::Database {
            database: database.to_owned(),
            schema_sha256: digest::schema(&schema),
            tables,
            sequences,
        })
    }

    /// Loads a dump into an empty database, in one transaction.
    async fn load(&self, stored: &Stored, database: &str, step: &Step) -> Result<(), Failure> {
        // gzip's own failure shows as a dump without end, which the comparison after this finds.
        let script = "head -c \"$2\" | gunzip -c | psql -X -q -v ON_ERROR_STOP=1 --single-transaction \
            -U \"${POSTGRES_USER:-postgres}\" -d \"$1\" >/dev/null";
        let bytes = length(&stored.file)?.to_string();
        let session = self.session(script, &[database, &bytes], true).await?;
        pour(session, &stored.file, step).await
    }

    async fn compare(&self, stored: &Stored, database: &str, step: &Step) -> Result<(), Failure> {
        step.progress("comparing every table with the manifest");
        let found = self.content(database).await?;
        let mut differences = stored.manifest.content.differences(&found, 0);
        let same_version = self.version().await? == stored.manifest.version;
        if let (Content::Database { schema_sha256: wanted, .. }, Content::Database { schema_sha256, .. }) =
            (&stored.manifest.content, &found)
            // Other versions write the same definitions differently.
            && same_version && wanted != schema_sha256
        {
            differences.push("its definitions are others".to_owned());
        }
        if differences.is_empty() {
            Ok(())
        } else {
            Err(differs(&stored.name(), differences).into())
        }
    }

    async fn version(&self) -> Result<String, Failure> {
        let answer = self.sql(MAINTENANCE, "SHOW server_version;\n").await?;
        Ok(answer.split_whitespace().next().unwrap_or_default().to_owned())
    }
}

fn drop_database(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE);\n", quoted(name))
}

/// Dumps a database for as long as somebody holds this script's input open. Without that, a dump whose reader went (a full
/// disk, a killed vadev) would wait for ever, and its locks with it: nobody closes the output of a command in a container.
/// It leaves no process behind: the postmaster is the container's first, and takes an orphan that a signal ended for a crash
/// of one of its own.
const DUMP: &str = "exec 3<&0
pg_dump --format=plain --compress=6 --snapshot=\"$2\" -U \"${POSTGRES_USER:-postgres}\" -d \"$1\" </dev/null 3<&- &
dump=$!
{ while read -r _ <&3; do :; done; kill $dump; } >/dev/null 2>&1 &
eye=$!
wait $dump
code=$?
kill $eye 2>/dev/null
wait $eye 2>/dev/null
exit $code";

/// Backs up every database that holds anything, each into a file of its own.
pub async fn create(site: &Site, shelf: &Shelf) -> Result<Vec<super::Done>, Failure> {
    let workload = site.workload(System::Postgres.name()).await?;
    let pod = site.running_pod(&workload).await?;
    let server = Server {
        site,
        target: workload.target(&pod),
    };
    let list = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate \
                AND datname NOT LIKE '%\\_\\_vadev\\_%' ORDER BY 1;\n";
    let names = server.sql(MAINTENANCE, list).await?;
    let mut done = Vec::new();
    for database in names.lines().filter(|name| !name.is_empty()) {
        if database == MAINTENANCE && is_empty(&server.content(database).await?) {
            continue;
        }
        let step = site.reporter.step(
            format!("backup/{database}"),
            format!("Back up postgres database {database}"),
            None,
        );
        match dump(site, &server, shelf, database, &step).await {
            Ok(stored) => {
                let content = stored.manifest.content.words();
                let seconds = step.done(format!(
                    "{content}, {}",
                    crate::report::text::bytes(stored.manifest.size)
                ));
                done.push(super::Done {
                    file: stored.file.display().to_string(),
                    system: System::Postgres,
                    size: stored.manifest.size,
                    content,
                    seconds,
                });
            }
            Err(error) => {
                step.finish(crate::report::Outcome::Failed, error.to_string());
                return Err(error);
            }
        }
    }
    Ok(done)
}

fn is_empty(content: &Content) -> bool {
    matches!(content, Content::Database { tables, sequences, .. } if tables.is_empty() && sequences.is_empty())
}

/// Dumps one database. One session holds a snapshot open; the dump and the checksums both see exactly it, however much is
/// written meanwhile.
async fn dump(
    site: &Site,
    server: &Server<'_>,
    shelf: &Shelf,
    database: &str,
    step: &Step,
) -> Result<Stored, Failure> {
    let created = Timestamp::now();
    let mut holder = server.session(PSQL, &[database], true).await?;
    let mut ask = holder.stdin.take();
    let said = tokio::spawn(drain(holder.stderr.take()));
    let mut answers = BufReader::new(&mut holder.stdout).lines();
    let mut snapshot = String::new();
    if let Some(ask) = &mut ask {
        drop(ask.write_all(digest::begin().as_bytes()).await);
        if let Ok(Some(line)) = answers.next_line().await {
            snapshot = line;
        }
    }
    if snapshot.is_empty() {
        let said = said.await.unwrap_or_default();
        let problem = format!("psql gave no snapshot: {}", said.trim());
        return Err(OperateError::unreadable("postgres", problem).into());
    }
    let schema_script =
        "exec pg_dump --schema-only --snapshot=\"$2\" -U \"${POSTGRES_USER:-postgres}\" -d \"$1\"";
    let schema = server.run(schema_script, &[database, &snapshot]).await?;
    let mut draft = Draft::new(shelf.folder())?;
    let mut dump = server.session(DUMP, &[database, &snapshot], true).await?;
    // Beside the output, and not waited for where that can't be written: the command would wait for us in turn.
    let complaints = tokio::spawn(drain(dump.stderr.take()));
    draft.take(&mut dump.stdout, step).await?;
    let complaints = complaints.await.unwrap_or_default();
    dump.succeed(&complaints).await?;
    step.progress("checksums of every table");
    if let Some(ask) = &mut ask {
        drop(ask.write_all(digest::tables().as_bytes()).await);
    }
    let mut lines = Vec::new();
    loop {
        match answers.next_line().await {
            Ok(Some(line)) if line == digest::END => break,
            Ok(Some(line)) => lines.push(line),
            _ => {
                let said = said.await.unwrap_or_default();
                let problem = format!("psql ended before its answer did: {}", said.trim());
                return Err(OperateError::unreadable("postgres", problem).into());
            }
        }
    }
    close(ask).await;
    let (tables, sequences) = digest::read_tables(lines)?;
    let path = shelf.path(System::Postgres, database, created);
    let manifest = Manifest {
        api_version: crate::catalog::API_VERSION.to_owned(),
        kind: "Backup".to_owned(),
        system: System::Postgres,
        file: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        created,
        made_by: format!("vadev {}", env!("CARGO_PKG_VERSION")),
        version: server.version().await?,
        cluster: site.cluster.id().uid.clone(),
        size: 0,
        sha256: String::new(),
        properties: server.properties(database).await?,
        content: Content::Database {
            database: database.to_owned(),
            schema_sha256: digest::schema(&schema),
            tables,
            sequences,
        },
    };
    Ok(shelf.put(draft, manifest, &path)?)
}

fn database_of(stored: &Stored) -> &str {
    match &stored.manifest.content {
        Content::Database { database, .. } => database,
        Content::Keys(_) => "",
    }
}

/// Loads a backup into a scratch server and compares.
pub async fn verify(site: &Site, stored: &Stored, step: &Step) -> Result<(), Failure> {
    let workload = site.workload(System::Postgres.name()).await?;
    let scratch = Scratch::start(site, &workload, &[], step).await?;
    let checked = verify_in(site, &scratch, stored, step).await;
    scratch.remove().await?;
    checked
}

async fn verify_in(site: &Site, scratch: &Scratch<'_>, stored: &Stored, step: &Step) -> Result<(), Failure> {
    let server = Server {
        site,
        target: scratch.target(),
    };
    let database = database_of(stored);
    step.progress("waiting for the scratch instance");
    let ready = "exec pg_isready -q -h 127.0.0.1 -U \"${POSTGRES_USER:-postgres}\" -d postgres";
    let mut tries = 0;
    while server.run(ready, &[]).await.is_err() {
        tries += 1;
        if tries > 240 || !scratch.lives().await {
            let message = "the scratch instance of postgres does not become ready".to_owned();
            return Err(scratch.failed(message).await);
        }
        sleep(Duration::from_millis(500)).await;
    }
    let beside = beside(database, "verify");
    let properties = stored.manifest.properties.as_ref();
    server.make(stored, properties, &beside).await?;
    server.load(stored, &beside, step).await?;
    server.compare(stored, &beside, step).await
}

/// The name of a database that belongs to a run of vadev.
fn beside(database: &str, purpose: &str) -> String {
    // Names are cut at 63 bytes by the server; two that are cut to one would be trouble.
    let short: String = database.chars().take(40).collect();
    format!("{short}__vadev_{purpose}")
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
