//! Data for profiles that are to be shown: rows, keys and objects. Seeding again changes nothing; a note in the database says
//! which data was seeded, so that a second `up` asks one question and is done.

mod bucket;

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::platform::Platform;
use crate::agent::digest::to_hex;
use crate::failure::Failure;
use crate::k8s::{Cluster, ExecTarget, exec};
use crate::render::Object;
use crate::report::{Outcome, Step};

const ROWS: &str = include_str!("../../../profiles/seed/postgres.sql");
const KEYS: &str = include_str!("../../../profiles/seed/redis.txt");

/// Name in the bucket → content.
const OBJECTS: [(&str, &str); 3] = [
    (
        "documents/delivery-times.md",
        include_str!("../../../profiles/seed/objects/delivery-times.md"),
    ),
    (
        "documents/returns.md",
        include_str!("../../../profiles/seed/objects/returns.md"),
    ),
    (
        "documents/appointments.md",
        include_str!("../../../profiles/seed/objects/appointments.md"),
    ),
];

/// How the database is spoken to: over its socket, as itself.
const PSQL: [&str; 8] = [
    "psql",
    "-qAt",
    "-v",
    "ON_ERROR_STOP=1",
    "-U",
    "voiceassistant",
    "-d",
    "voiceassistant",
];

/// The pods of these StatefulSets: one replica each.
const POSTGRES: &str = "postgres-0";
/// See [`POSTGRES`].
const REDIS: &str = "redis-0";

/// Longest time for one system.
const PATIENCE: Duration = Duration::from_mins(2);

/// Fills the systems that the stack has. They are ready.
pub async fn seed(platform: &Platform, cluster: &Cluster, objects: &[Object]) -> Result<(), Failure> {
    let stack = platform.stack();
    let has = |name: &str| {
        stack
            .infrastructure
            .iter()
            .any(|system| system.infrastructure.is_called(name))
    };
    if !stack.seed || !has("postgres") {
        return Ok(());
    }
    let step = platform.reporter.step("seed", "Seed the demo data", None);
    match fill(platform, cluster, objects, &has, &step).await {
        Ok(detail) => {
            step.done(detail);
            Ok(())
        }
        Err(error) => {
            step.finish(Outcome::Failed, error.to_string());
            Err(error)
        }
    }
}

async fn fill(
    platform: &Platform,
    cluster: &Cluster,
    objects: &[Object],
    has: &dyn Fn(&str) -> bool,
    step: &Step,
) -> Result<String, Failure> {
    let namespace = platform.stack().namespaces.infra.as_str();
    let digest = digest();
    let asked = [PSQL.as_slice(), &["-c", "SELECT digest FROM demo.seed"]].concat();
    // No such table is the answer of a database that was never seeded.
    if let Ok(answer) = run(cluster, namespace, POSTGRES, &asked, None).await
        && answer.lines().any(|line| line == digest)
    {
        return Ok("is there already".to_owned());
    }
    let mut done = Vec::new();
    step.progress("rows");
    run(cluster, namespace, POSTGRES, &PSQL, Some(ROWS)).await?;
    done.push("rows in postgres".to_owned());
    if has("redis") {
        step.progress("keys");
        run(cluster, namespace, REDIS, &["redis-cli", "-e"], Some(KEYS)).await?;
        done.push(format!("{} keys in redis", KEYS.lines().count()));
    }
    if has("minio") {
        step.progress("objects");
        bucket::put(platform, cluster, objects, &OBJECTS).await?;
        done.push(format!("{} objects in minio", OBJECTS.len()));
    }
    let note = format!(
        "CREATE TABLE IF NOT EXISTS demo.seed (digest text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());\n\
         INSERT INTO demo.seed (digest) VALUES ('{digest}') ON CONFLICT DO NOTHING;\n"
    );
    run(cluster, namespace, POSTGRES, &PSQL, Some(&note)).await?;
    Ok(done.join(", "))
}

/// Of everything that is seeded.
fn digest() -> String {
    let mut all = Sha256::new();
    for part in [ROWS, KEYS]
        .into_iter()
        .chain(OBJECTS.iter().flat_map(|(name, content)| [*name, *content]))
    {
        all.update(part.as_bytes());
        all.update([0]);
    }
    to_hex(&all.finalize())
}

async fn run(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    command: &[&str],
    input: Option<&str>,
) -> Result<String, Failure> {
    let target = ExecTarget {
        namespace,
        pod,
        container: None,
    };
    let output = exec(cluster, &target, command, input.map(str::as_bytes), PATIENCE).await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seeded_can_be_seeded_again() {
        for line in ROWS.lines().filter(|line| line.starts_with("CREATE")) {
            assert!(line.contains("IF NOT EXISTS"), "{line}");
        }
        assert_eq!(
            ROWS.matches("INSERT INTO").count(),
            ROWS.matches("ON CONFLICT DO NOTHING").count()
        );
        for line in KEYS.lines() {
            assert!(
                ["SET ", "HSET ", "SADD ", "ZADD "]
                    .iter()
                    .any(|verb| line.starts_with(verb)),
                "{line}"
            );
        }
    }

    #[test]
    fn the_documents_table_knows_the_objects_by_name_and_size() {
        for (name, content) in OBJECTS {
            assert!(
                ROWS.contains(&format!("'{name}', {}", content.len())),
                "{name} has {} bytes",
                content.len()
            );
        }
    }
}
