//! Redis: its own snapshot format, streamed; restored by letting the server copy a scratch instance that holds the backup,
//! because a server keeps what it has until such a copy has arrived whole.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::differs;
use super::digest;
use super::file::{Draft, length, pour};
use super::manifest::{Content, Manifest, System};
use super::scratch::Scratch;
use super::shelf::{Shelf, Stored};
use crate::failure::Failure;
use crate::k8s::{ExecTarget, Session, SessionOptions, drain, readiness};
use crate::operate::error::OperateError;
use crate::operate::site::{Site, Workload, pod_name};
use crate::report::Step;

/// What every script begins with: a deployment that was not rendered by vadev may have the password under one name only.
const LOGIN: &str = "\
: \"${REDISCLI_AUTH:=$REDIS_PASSWORD}\" \"${REDIS_PASSWORD:=$REDISCLI_AUTH}\"
[ -z \"$REDISCLI_AUTH\" ] || export REDISCLI_AUTH
";

/// How a scratch instance begins: it waits for its data, then serves it and keeps nothing. The password comes with the
/// configuration on standard input, never in an argument list.
const WAIT_THEN_SERVE: &str = r#"until [ -f /data/ready ]; do sleep 0.1; done
{
  printf '%s\n' 'appendonly no' 'save ""' 'dir /data' 'dbfilename dump.rdb'
  if [ -n "$REDIS_PASSWORD" ]; then
    printf 'requirepass "%s"\n' "$(printf %s "$REDIS_PASSWORD" | sed 's/[\\"]/\\&/g')"
  else
    echo 'protected-mode no'
  fi
} | exec redis-server -"#;

/// Loads the script from standard input (so many bytes), then asks page after page.
const PAGES: &str = "sha=$(head -c \"$2\" | redis-cli -x SCRIPT LOAD) || exit 1; c=0; \
    while :; do out=$(redis-cli -e -n \"$1\" EVALSHA \"$sha\" 0 \"$c\" 1000) || { echo \"$out\" >&2; exit 1; }; \
    echo \"$out\"; c=$(echo \"$out\" | head -n 1); [ \"$c\" = 0 ] && exit 0; done";

/// Copies another server (its address comes as the first argument), says `copied` when all has arrived, and is the master
/// again as soon as somebody says so, nobody listens any more, or ten minutes have passed: whatever becomes of vadev, the
/// server does not stay a copy. The password goes from variable to pipe, and never into an argument list.
const COPY: &str = "\
trap '' HUP PIPE
before=$(redis-cli CONFIG GET masterauth | sed -n 2p)
free() { redis-cli REPLICAOF NO ONE >/dev/null; printf %s \"$before\" | redis-cli -x CONFIG SET masterauth >/dev/null; }
( sleep 600; free ) >/dev/null 2>&1 </dev/null &
guard=$!
printf %s \"$REDIS_PASSWORD\" | redis-cli -x CONFIG SET masterauth >/dev/null
redis-cli -e REPLICAOF \"$1\" 6379 >/dev/null || { kill $guard; free; exit 1; }
i=0
while [ $i -lt 1200 ]; do
  info=$(redis-cli INFO replication)
  case \"$info\" in *master_link_status:up*) echo copied; break;; esac
  sleep 0.25; i=$((i+1))
done
[ $i -lt 1200 ] || echo failed
read -r word
free
kill $guard 2>/dev/null
echo free";

/// Where redis listens.
const PORT: u16 = 6379;

/// One server.
struct Server<'a> {
    site: &'a Site,
    target: ExecTarget<'a>,
}

impl Server<'_> {
    async fn session(&self, script: &str, args: &[&str], stdin: bool) -> Result<Session, Failure> {
        // The first line is what a failure shows of it.
        let named = format!("# {}\n{LOGIN}{script}", script.lines().next().unwrap_or_default());
        let mut command = vec!["sh", "-c", named.as_str(), "sh"];
        command.extend(args);
        let options = SessionOptions { stdin, tty: false };
        Ok(Session::open(&self.site.cluster, &self.target, &command, options).await?)
    }

    /// Runs a script with this input, whose end the script knows, and returns what it prints.
    async fn run(&self, script: &str, args: &[&str], input: &str) -> Result<String, Failure> {
        let session = self.session(script, args, !input.is_empty()).await?;
        Ok(session.answer(input.as_bytes()).await?)
    }

    async fn info(&self, section: &str) -> Result<BTreeMap<String, String>, Failure> {
        let text = self.run("exec redis-cli -e INFO \"$1\"", &[section], "").await?;
        let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
        Ok(pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }

    /// Every key space with its sums.
    async fn content(&self) -> Result<Content, Failure> {
        let mut spaces = BTreeMap::new();
        let keyspace = self.info("keyspace").await?;
        let numbers = keyspace
            .keys()
            .filter_map(|name| name.strip_prefix("db")?.parse::<u32>().ok());
        for number in numbers {
            let (number_text, bytes) = (number.to_string(), digest::KEYS.len().to_string());
            let answer = self.run(PAGES, &[&number_text, &bytes], digest::KEYS).await?;
            spaces.insert(number, digest::read_keys(&answer)?);
        }
        Ok(Content::Keys(spaces))
    }
}

/// The platform's server.
fn live<'a>(site: &'a Site, workload: &'a Workload, pod: &'a Pod) -> Server<'a> {
    Server {
        site,
        target: workload.target(pod),
    }
}

/// The ready pod that is written to. Of several, a copy would give an older state, and take none.
async fn master(site: &Site, workload: &Workload) -> Result<Pod, Failure> {
    let mut others = Vec::new();
    for pod in site.pods(workload).await? {
        if pod.metadata.deletion_timestamp.is_some() || !readiness(&pod).is_ready() {
            continue;
        }
        let mut info = live(site, workload, &pod).info("replication").await?;
        let role = info.remove("role").unwrap_or_default();
        if role == "master" {
            return Ok(pod);
        }
        others.push(format!("{} is a {role}", pod_name(&pod)));
    }
    if others.is_empty() {
        let name = workload.name().to_owned();
        return Err(OperateError::NoPod { name }.into());
    }
    Err(OperateError::Refused {
        message: "no ready pod of redis is the master; nothing was changed".to_owned(),
        hint: "vadev exec redis -- redis-cli info replication shows which one is".to_owned(),
        details: others,
    }
    .into())
}

/// Backs redis up. What it holds is counted in a scratch instance that has loaded the file, so that a backup that can't be
/// loaded never counts as one.
pub async fn create(site: &Site, shelf: &Shelf) -> Result<super::Done, Failure> {
    let step = site.reporter.step("backup/redis", "Back up redis", None);
    match dump(site, shelf, &step).await {
        Ok(stored) => {
            let content = stored.manifest.content.words();
            let seconds = step.done(format!(
                "{content}, {}",
                crate::report::text::bytes(stored.manifest.size)
            ));
            Ok(super::Done {
                file: stored.file.display().to_string(),
                system: System::Redis,
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

async fn dump(site: &Site, shelf: &Shelf, step: &Step) -> Result<Stored, Failure> {
    let workload = site.workload(System::Redis.name()).await?;
    let pod = master(site, &workload).await?;
    let server = live(site, &workload, &pod);
    let created = Timestamp::now();
    let version = server
        .info("server")
        .await?
        .remove("redis_version")
        .unwrap_or_default();
    let mut draft = Draft::new(shelf.folder())?;
    // A pipe gives the exit code of gzip alone: that of redis-cli comes on the other stream.
    let script = "{ redis-cli --rdb - 2>/dev/null || echo \"redis-cli ended with $?\" >&2; } | gzip -c";
    let mut session = server.session(script, &[], false).await?;
    // Beside the output, and not waited for where that can't be written: the command would wait for us in turn.
    let complaints = tokio::spawn(drain(session.stderr.take()));
    draft.take(&mut session.stdout, step).await?;
    let complaints = complaints.await.unwrap_or_default();
    session.succeed(&complaints).await?;
    if !complaints.trim().is_empty() {
        return Err(OperateError::unreadable("redis's snapshot", complaints.trim()).into());
    }
    let scratch = start(site, step).await?;
    let content = serve_and_count(site, &scratch, draft.path(), step).await;
    scratch.remove().await?;
    let path = shelf.path(System::Redis, "", created);
    let manifest = Manifest {
        api_version: crate::catalog::API_VERSION.to_owned(),
        kind: "Backup".to_owned(),
        system: System::Redis,
        file: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        created,
        made_by: format!("vadev {}", env!("CARGO_PKG_VERSION")),
        version,
        cluster: site.cluster.id().uid.clone(),
        size: 0,
        sha256: String::new(),
        properties: None,
        content: content?,
    };
    Ok(shelf.put(draft, manifest, &path)?)
}

async fn start<'a>(site: &'a Site, step: &Step) -> Result<Scratch<'a>, Failure> {
    let workload = site.workload(System::Redis.name()).await?;
    let script = format!("{LOGIN}{WAIT_THEN_SERVE}");
    Scratch::start(site, &workload, &["sh", "-c", &script], step).await
}

/// Lets a scratch instance serve a file, and counts what it then holds.
async fn serve_and_count(
    site: &Site,
    scratch: &Scratch<'_>,
    file: &std::path::Path,
    step: &Step,
) -> Result<Content, Failure> {
    let server = Server {
        site,
        target: scratch.target(),
    };
    step.progress("loading it into a scratch instance");
    let bytes = length(file)?.to_string();
    let script = "head -c \"$1\" | gunzip -c > /data/dump.rdb && touch /data/ready";
    let session = scratch.session(&["sh", "-c", script, "sh", &bytes], true).await?;
    pour(session, file, step).await?;
    let end = Instant::now() + Duration::from_mins(5);
    while server.run("exec redis-cli -e ping", &[], "").await.is_err() {
        if !scratch.lives().await || Instant::now() > end {
            let message = "redis does not load the backup; nothing was changed".to_owned();
            return Err(scratch.failed(message).await);
        }
        sleep(Duration::from_millis(300)).await;
    }
    step.progress("counting every key");
    server.content().await
}

fn now_millis() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

fn compare(stored: &Stored, found: &Content) -> Result<(), Failure> {
    let differences = stored.manifest.content.differences(found, now_millis());
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differs(&stored.name(), differences).into())
    }
}

/// As [`compare`], of what redis itself holds after the copy: there is no going back to what it had any more.
fn compare_copied(stored: &Stored, found: &Content) -> Result<(), Failure> {
    let details = stored.manifest.content.differences(found, now_millis());
    if details.is_empty() {
        return Ok(());
    }
    Err(OperateError::Refused {
        message: format!(
            "redis has taken {} in the place of what it had, and holds something else now",
            stored.name()
        ),
        hint: "restore it once more, or the safety backup from before it: vadev backup list".to_owned(),
        details,
    }
    .into())
}

/// Loads a backup into a scratch instance and compares.
pub async fn verify(site: &Site, stored: &Stored, step: &Step) -> Result<(), Failure> {
    let scratch = start(site, step).await?;
    let found = serve_and_count(site, &scratch, &stored.file, step).await;
    scratch.remove().await?;
    compare(stored, &found?)
}

/// Restores a backup: a scratch instance loads it and is compared; the server copies that one, is compared while nobody can
/// write, and is then on its own again.
pub async fn restore(site: &Site, stored: &Stored, step: &Step) -> Result<(), Failure> {
    let scratch = start(site, step).await?;
    let restored = restore_from(site, &scratch, stored, step).await;
    scratch.remove().await?;
    restored
}

async fn restore_from(
    site: &Site,
    scratch: &Scratch<'_>,
    stored: &Stored,
    step: &Step,
) -> Result<(), Failure> {
    compare(stored, &serve_and_count(site, scratch, &stored.file, step).await?)?;
    let workload = site.workload(System::Redis.name()).await?;
    let pod = master(site, &workload).await?;
    let server = live(site, &workload, &pod);
    let address = scratch.address().await?;
    scratch.admit(&workload, PORT).await?;
    step.progress("copying it into redis");
    let mut session = server.session(COPY, &[&address], true).await?;
    let copied = next_word(&mut session).await;
    let checked = if copied == "copied" {
        step.progress("comparing every key with the manifest");
        match server.content().await {
            Ok(found) => compare_copied(stored, &found),
            Err(error) => Err(error),
        }
    } else {
        let problem = format!("redis did not take the copy ({copied}); it has what it had");
        Err(OperateError::unreadable("the restore", problem).into())
    };
    // On its own again, whatever came of it.
    if let Some(stdin) = &mut session.stdin {
        drop(stdin.write_all(b"done\n").await);
    }
    let freed = next_word(&mut session).await;
    checked?;
    if freed != "free" {
        let problem =
            "the connection was lost while it was being made a master again; redis does that by itself";
        return Err(OperateError::unreadable("the restore", problem).into());
    }
    lasting(&server, step).await
}

/// The next line that a script prints; empty at its end.
async fn next_word(session: &mut Session) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while let Ok(1) = session.stdout.read(&mut byte).await {
        if byte[0] == b'\n' {
            break;
        }
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).into_owned()
}

/// Waits until the append-only file, from which a restarted server reads, holds the new state.
async fn lasting(server: &Server<'_>, step: &Step) -> Result<(), Failure> {
    step.progress("writing it to the disk");
    let end = Instant::now() + Duration::from_mins(5);
    loop {
        let info = server.info("persistence").await?;
        let is = |key: &str, value: &str| info.get(key).is_some_and(|found| found == value);
        if is("aof_enabled", "0") {
            // Without that file the snapshot counts, which is not written by itself now.
            server.run("exec redis-cli -e SAVE", &[], "").await?;
            return Ok(());
        }
        let resting = is("aof_rewrite_in_progress", "0") && is("aof_rewrite_scheduled", "0");
        if resting && is("aof_last_bgrewrite_status", "ok") {
            return Ok(());
        }
        if Instant::now() > end {
            let problem = "the restored keys are in memory, but redis does not get them written to its disk";
            return Err(OperateError::unreadable("the restore", problem).into());
        }
        sleep(Duration::from_millis(300)).await;
    }
}
