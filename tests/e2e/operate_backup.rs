//! Backups are proven by what comes back: a million rows and 100,000 keys with binary values, and every way in which it
//! must not come back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kube::api::DeleteParams;
use serde_json::Value;

use crate::harness::{Platform, block_on, eventually, text};

const ROWS: u64 = 1_000_000;
const KEYS: u64 = 100_000;

fn sql(platform: &Platform, sql: &str) -> String {
    platform.succeed(&[
        "exec",
        "postgres",
        "--",
        "psql",
        "-X",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "voiceassistant",
        "-d",
        "voiceassistant",
        "-c",
        sql,
    ])
}

fn redis(platform: &Platform, words: &[&str]) -> String {
    let mut args = vec!["exec", "redis", "--", "redis-cli"];
    args.extend(words);
    platform.succeed(&args)
}

/// A table with every kind of value that reads differently by setting, and a sequence.
fn fill_postgres(platform: &Platform) {
    sql(platform, "DROP SCHEMA IF EXISTS proof CASCADE");
    sql(
        platform,
        "CREATE SCHEMA proof; CREATE TABLE proof.rows (id bigserial PRIMARY KEY, word text, bits bytea, amount double precision, \
         moment timestamptz, span interval); CREATE TABLE proof.empty (x int); CREATE INDEX ON proof.rows (word);",
    );
    let insert = format!(
        "INSERT INTO proof.rows (word, bits, amount, moment, span) SELECT 'wort-' || i || chr(8364), decode(md5(i::text), 'hex'), \
         i / 7.0, timestamptz '2026-01-01 00:00:00+00' + i * interval '1 second', i * interval '1 minute' \
         FROM generate_series(1, {ROWS}) i"
    );
    sql(platform, &insert);
}

fn proof_of_postgres(platform: &Platform) -> String {
    sql(
        platform,
        "SELECT count(*), md5(string_agg(md5(r::text), '' ORDER BY id)) FROM proof.rows r; SELECT last_value FROM proof.rows_id_seq",
    )
}

/// Keys of every type, with binary values, a part of them with a time to live.
fn fill_redis(platform: &Platform) {
    let script = "for i = 1, tonumber(ARGV[1]) do local v = string.char(i % 256, 0, 255, 13, 10) .. redis.sha1hex(i) \
        redis.call('SET', 'bin:' .. i .. string.char(0, 200), v) \
        if i % 10 == 0 then redis.call('PEXPIREAT', 'bin:' .. i .. string.char(0, 200), 1893456000000 + i) end end \
        for i = 1, 500 do redis.call('HSET', 'h', 'f' .. i, i) redis.call('SADD', 's', i) redis.call('ZADD', 'z', i / 3, i) \
        redis.call('RPUSH', 'l', i) redis.call('XADD', 'x', i .. '-1', 'a', i) end return 'ok'";
    redis(platform, &["FLUSHALL"]);
    assert_eq!(
        redis(platform, &["EVAL", script, "0", &KEYS.to_string()]).trim(),
        "ok"
    );
}

fn proof_of_redis(platform: &Platform) -> String {
    let script = "local all = redis.call('KEYS', '*') table.sort(all) local d = '' \
        for _, k in ipairs(all) do local t = redis.call('TYPE', k)['ok'] local v = '' \
        if t == 'string' then v = redis.call('GET', k) end \
        d = redis.sha1hex(d .. k .. t .. v .. string.format('%.0f', redis.call('PEXPIRETIME', k))) end return #all .. ' ' .. d";
    redis(platform, &["EVAL", script, "0"])
}

fn backups(platform: &Platform) -> PathBuf {
    let folder = platform.workspace.join("backups");
    drop(fs::remove_dir_all(&folder));
    folder
}

fn file_of(done: &Value, at: usize) -> String {
    done[at]["file"].as_str().expect("file").to_owned()
}

fn refused(platform: &Platform, file: &Path, words: &str) {
    let before = sql(platform, "SELECT count(*) FROM proof.rows");
    let output = platform.run(&[
        "restore",
        "--yes",
        "--no-safety-backup",
        &file.display().to_string(),
    ]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "{said}");
    assert!(
        said.contains(words) && said.contains("nothing was changed"),
        "{said}"
    );
    assert_eq!(sql(platform, "SELECT count(*) FROM proof.rows"), before);
}

#[test]
#[ignore = "needs a cluster"]
fn a_million_rows_come_back_byte_for_byte() {
    let platform = Platform::running();
    let folder = backups(&platform);
    fill_postgres(&platform);
    let before = proof_of_postgres(&platform);
    let done = platform.json(&["backup", "create", "postgres", "-o", "json"]);
    let file = PathBuf::from(file_of(&done, 0));
    let name = file.file_name().expect("name").to_string_lossy().into_owned();
    assert!(
        name.starts_with("postgres_") && name.ends_with(".sql.gz"),
        "{name}"
    );
    let unpacked = Command::new("gunzip")
        .arg("-t")
        .arg(&file)
        .status()
        .expect("gunzip");
    assert!(unpacked.success(), "any gunzip reads it");
    platform.succeed(&["backup", "verify"]);
    sql(
        &platform,
        "DROP SCHEMA proof CASCADE; CREATE TABLE public.later (x int)",
    );
    let restored = platform.json(&["restore", "--yes", &file.display().to_string(), "-o", "json"]);
    assert_eq!(
        restored.as_array().map(Vec::len),
        Some(2),
        "a safety backup came first: {restored:#}"
    );
    assert_eq!(proof_of_postgres(&platform), before);
    assert_eq!(
        sql(&platform, "SELECT to_regclass('public.later') IS NULL").trim(),
        "t"
    );
    let left = sql(
        &platform,
        "SELECT count(*) FROM pg_database WHERE datname LIKE '%vadev%'",
    );
    assert_eq!(left.trim(), "0", "no copy is left");

    // Refusals, each with nothing changed.
    let copy = folder.join("postgres_copy.sql.gz");
    let manifest = |file: &Path| PathBuf::from(format!("{}.manifest.json", file.display()));
    let bytes = fs::read(&file).expect("read");
    fs::write(&copy, &bytes).expect("write");
    refused(&platform, &copy, "no manifest");
    fs::copy(manifest(&file), manifest(&copy)).expect("copy");
    fs::write(&copy, &bytes[..bytes.len() / 2]).expect("write");
    refused(&platform, &copy, "truncated");
    let mut tampered = bytes.clone();
    tampered[bytes.len() / 2] ^= 1;
    fs::write(&copy, &tampered).expect("write");
    refused(&platform, &copy, "SHA-256");
    // A file that agrees with its manifest's checksum, and whose content does not agree with the rest of it.
    fs::write(&copy, &bytes).expect("write");
    let said = fs::read_to_string(manifest(&file)).expect("manifest");
    fs::write(manifest(&copy), said.replace("1000000", "1000001")).expect("write");
    refused(&platform, &copy, "not what its manifest says");
    assert_eq!(proof_of_postgres(&platform), before);
    sql(&platform, "DROP SCHEMA proof CASCADE");
}

#[test]
#[ignore = "needs a cluster"]
fn a_hundred_thousand_keys_come_back_byte_for_byte() {
    let platform = Platform::running();
    backups(&platform);
    fill_redis(&platform);
    let before = proof_of_redis(&platform);
    let done = platform.json(&["backup", "create", "redis", "-o", "json"]);
    assert_eq!(done[0]["content"], format!("{} keys", KEYS + 5), "{done:#}");
    let file = file_of(&done, 0);
    platform.succeed(&["backup", "verify", &file]);
    redis(&platform, &["FLUSHALL"]);
    redis(&platform, &["SET", "later", "x"]);
    platform.succeed(&["restore", "--yes", "--no-safety-backup", &file]);
    assert_eq!(proof_of_redis(&platform), before);
    assert!(redis(&platform, &["INFO", "replication"]).contains("role:master"));
    redis(&platform, &["SET", "writable", "yes"]);
    redis(&platform, &["DEL", "writable"]);
    // What is on the disk counts: the pod is killed, and reads its files again.
    block_on(async {
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-infra");
        pods.delete("redis-0", &DeleteParams::default().grace_period(0))
            .await
            .expect("delete");
    });
    eventually("redis is back", || {
        let output = platform.run(&["exec", "redis", "--", "redis-cli", "ping"]);
        text(&output.stdout).contains("PONG").then_some(())
    });
    assert_eq!(proof_of_redis(&platform), before);
    redis(&platform, &["FLUSHALL"]);
}

#[test]
#[ignore = "needs a cluster"]
fn a_full_disk_leaves_nothing_behind() {
    let platform = Platform::running();
    sql(
        &platform,
        "DROP SCHEMA IF EXISTS proof CASCADE; CREATE SCHEMA proof; CREATE TABLE proof.rows AS SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 100000) i",
    );
    let folder = platform.workspace.join("small-disk");
    fs::create_dir_all(&folder).expect("folder");
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
        .arg(&folder)
        .status()
        .expect("mount");
    assert!(mount.success(), "this test needs root");
    let output = platform.run(&[
        "backup",
        "create",
        "postgres",
        "--dir",
        &folder.display().to_string(),
    ]);
    let left: Vec<_> = fs::read_dir(&folder)
        .expect("folder")
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name != ".gitignore")
        .collect();
    let unmounted = Command::new("umount").arg(&folder).status().expect("umount");
    assert!(unmounted.success());
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("No space left") && said.contains("make room"),
        "{said}"
    );
    assert!(left.is_empty(), "{left:?}");
    sql(&platform, "DROP SCHEMA proof CASCADE");
}

#[test]
#[ignore = "needs a cluster"]
fn a_pod_killed_midway_leaves_the_old_state() {
    let platform = Platform::running();
    backups(&platform);
    fill_postgres(&platform);
    let done = platform.json(&["backup", "create", "postgres", "-o", "json"]);
    let file = file_of(&done, 0);
    sql(&platform, "DELETE FROM proof.rows WHERE id > 1000");
    let before = proof_of_postgres(&platform);
    let kill_during = |args: &[&str]| {
        let child = platform
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("vadev starts");
        std::thread::sleep(std::time::Duration::from_secs(3));
        block_on(async {
            let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
                kube::Api::namespaced(platform.connect().await.client(), "voiceassistant-infra");
            pods.delete("postgres-0", &DeleteParams::default().grace_period(0))
                .await
                .expect("delete");
        });
        child.wait_with_output().expect("output")
    };
    let output = kill_during(&["restore", "--yes", "--no-safety-backup", &file]);
    assert!(!output.status.success(), "{}", text(&output.stdout));
    eventually("postgres is back", || {
        let args = ["exec", "postgres", "--", "pg_isready", "-h", "127.0.0.1"];
        platform.run(&args).status.success().then_some(())
    });
    assert_eq!(proof_of_postgres(&platform), before, "the old state is whole");
    platform.succeed(&["restore", "--yes", "--no-safety-backup", &file]);
    assert_eq!(
        sql(&platform, "SELECT count(*) FROM proof.rows").trim(),
        ROWS.to_string()
    );
    sql(&platform, "DROP SCHEMA proof CASCADE");
}
