//! What cannot be synced, what comes in the middle of something else, and what comes all at once.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};

use crate::harness::{Platform, block_on, text};
use crate::reload::{APPS, GO, GREETING, MAIN, PYTHON, Session, pods};
use crate::sample::edit;

/// Takes the rule of the Python modules out: the Dockerfile copies them as they are, so that a save of one is a swap.
fn without_modules(platform: &Platform) {
    let rule = "      - { from: agent_engine, to: /app/agent_engine, ignore: [\"**/__pycache__\", \"templates\"] }\n";
    edit(&platform.workspace.join("vadev.yaml"), rule, "");
}

fn appended(session: &Session<'_>, name: &str, line: &str) {
    let text = fs::read_to_string(session.path(name)).expect("a file of the sample");
    session.write(name, &(text + line));
}

#[test]
#[ignore = "needs a cluster"]
fn what_cannot_be_synced_is_swapped_or_built() {
    let platform = Platform::running();
    without_modules(&platform);
    let session = Session::start(&platform);
    let since = session.count();
    session.greet("swapped");
    session.sees("a swap", |session| {
        session.told(since, "served", "\"way\":\"swap\"")
    });
    session.hears(PYTHON, "swapped");
    let since = session.count();
    appended(&session, "services/agent-engine/requirements.txt", "# edited\n");
    session.greet("built");
    session.sees("a build of Python", |session| {
        session.told(since, "served", "\"way\":\"build\"")
    });
    session.hears(PYTHON, "built");
    // The build leaves its Dockerfile out, and is made by it all the same; what goes which way is read off it anew.
    let since = session.count();
    appended(&session, "services/agent-engine/Dockerfile", "LABEL edited=1\n");
    session.sees("a build by another Dockerfile", |session| {
        session.told(since, "served", "\"way\":\"build\"")
    });
    session.sees("a session planned anew", |session| {
        session.told(since, "attached", PYTHON) && session.told(since, "attached", GO)
    });
    session.settles();
    // Beside the image there is a binary from this machine: neither may be of the source before.
    let since = session.count();
    let main = fs::read_to_string(session.path(MAIN)).expect("main.go");
    session.write(
        MAIN,
        &main.replace("greeting = \"hello\"", "greeting = \"in the image\""),
    );
    appended(&session, "services/conversation-service/go.mod", "\n// edited\n");
    session.sees("a build of Go", |session| {
        session.told(since, "served", "\"way\":\"build\"")
    });
    session.hears(GO, "in the image");
    session.settles();
    // A version that does not start: the one before it is back, and stays as it was until the next save.
    let since = session.count();
    session.write(GREETING, "raise SystemExit(\"not this one\")\n");
    session.sees("the failed swap", |session| session.told(since, "failed", PYTHON));
    session.hears(PYTHON, "built");
    session.greet("mended");
    session.hears(PYTHON, "mended");
    session.settles();
    // What an earlier session has put over the last build is not lost to a swap of the next one.
    assert!(session.ends().success());
    let session = Session::start(&platform);
    session.write(
        "services/agent-engine/agent_engine/words.py",
        "WORD = \"second\"\n",
    );
    session.hears(PYTHON, "mended");
    session.write(GREETING, "from .words import WORD as GREETING\n");
    session.hears(PYTHON, "second");
    assert!(session.ends().success());
}

#[test]
#[ignore = "needs a cluster"]
fn every_replica_has_the_last_save() {
    let platform = Platform::running();
    let session = Session::with_two_replicas(&platform);
    // One of them goes in the middle: its successor is brought in step between two saves.
    for number in 0..200 {
        session.greet(&format!("save {number}"));
        std::thread::sleep(Duration::from_millis(50));
        if number == 60 {
            block_on(async {
                let cluster = platform.connect().await;
                let api: Api<Pod> = Api::namespaced(cluster.client(), APPS);
                let pod = pods(&cluster, PYTHON).await.pop().expect("a pod");
                api.delete(&pod, &DeleteParams::default()).await.expect("deleted");
            });
        }
    }
    session.hears(PYTHON, "save 199");
    session.settles();
    // A folder that goes and comes again, in one breath.
    let part = "services/agent-engine/agent_engine/parts/words.py";
    session.write(part, "WORD = \"one\"\n");
    session.write(GREETING, "from .parts.words import WORD as GREETING\n");
    session.hears(PYTHON, "one");
    fs::remove_dir_all(session.path(part).parent().expect("folder")).expect("remove");
    session.write(part, "WORD = \"two\"\n");
    session.hears(PYTHON, "two");
    session.settles();
    assert!(session.ends().success());
}

#[test]
#[ignore = "needs a cluster"]
fn a_branch_switch_is_one_change() {
    let platform = Platform::running();
    let (service, kept) = (
        platform.workspace.join("services/agent-engine"),
        tempfile::tempdir().expect("folder"),
    );
    // Outside of the source, which the image is built from.
    let folder = kept.path().join("git").display().to_string();
    git(
        &service,
        &["init", "-q", "-b", "main", "--separate-git-dir", &folder],
    );
    git(&service, &["add", "-A"]);
    git(&service, &["commit", "-q", "-m", "as it is"]);
    git(&service, &["checkout", "-q", "-b", "other"]);
    for number in 0..1000 {
        let file = service.join(format!("agent_engine/data/d{}/f{number}.txt", number % 20));
        fs::create_dir_all(file.parent().expect("folder")).expect("folder");
        fs::write(file, number.to_string()).expect("write");
    }
    fs::write(
        service.join("agent_engine/greeting.py"),
        "GREETING = \"other branch\"\n",
    )
    .expect("write");
    git(&service, &["add", "-A"]);
    git(&service, &["commit", "-q", "-m", "many files"]);
    git(&service, &["checkout", "-q", "main"]);
    let session = Session::start(&platform);
    session.greet("before");
    session.hears(PYTHON, "before");
    git(&service, &["checkout", "-q", "--", "."]);
    session.settles();
    let since = session.count();
    git(&service, &["checkout", "-q", "other"]);
    session.hears(PYTHON, "other branch");
    session.settles();
    let served = session.all(since, "served", PYTHON);
    assert!(
        (1..=3).contains(&served),
        "{served} reloads are more than a change or two"
    );
    git(&service, &["checkout", "-q", "main"]);
    session.settles();
    assert!(!service.join("agent_engine/data").exists());
    assert!(session.ends().success());
}

fn git(folder: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=vadev", "-c", "user.email=vadev@example.com"])
        .args(arguments)
        .output()
        .expect("git");
    assert!(output.status.success(), "{}", text(&output.stderr));
}
