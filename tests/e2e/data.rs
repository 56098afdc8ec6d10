//! Data that must outlive what is done to the platform: a row in PostgreSQL and a key in Redis.

use std::time::Duration;

use vadev::k8s::{ExecTarget, exec};

use crate::harness::{Platform, block_on, text};

/// Writes a mark and gives it back, different with every call.
pub fn put(platform: &Platform) -> String {
    let mark =
        format!("{:?}", std::time::SystemTime::now()).replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS e2e_mark (mark text PRIMARY KEY); INSERT INTO e2e_mark VALUES ('{mark}'); CHECKPOINT"
    );
    run(
        platform,
        "postgres-0",
        &["psql", "-qAt", "-U", "voiceassistant", "-c", &sql],
    );
    run(
        platform,
        "redis-0",
        &["redis-cli", "-e", "SET", "e2e:mark", &mark],
    );
    // Redis writes its log to the disk every second.
    std::thread::sleep(Duration::from_millis(1500));
    mark
}

/// Fails unless the mark is in both.
pub fn is_there(platform: &Platform, mark: &str) {
    let sql = format!("SELECT count(*) FROM e2e_mark WHERE mark = '{mark}'");
    let rows = run(
        platform,
        "postgres-0",
        &["psql", "-qAt", "-U", "voiceassistant", "-c", &sql],
    );
    assert_eq!(rows.trim(), "1", "PostgreSQL lost it");
    assert_eq!(
        run(platform, "redis-0", &["redis-cli", "-e", "GET", "e2e:mark"]).trim(),
        mark,
        "Redis lost it"
    );
}

fn run(platform: &Platform, pod: &str, command: &[&str]) -> String {
    block_on(async {
        let cluster = platform.connect().await;
        let target = ExecTarget {
            namespace: "voiceassistant-infra",
            pod,
            container: None,
        };
        let output = exec(&cluster, &target, command, None, Duration::from_mins(1)).await;
        text(&output.expect("exec").stdout)
    })
}
