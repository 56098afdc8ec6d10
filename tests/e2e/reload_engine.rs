//! The container engine ends and comes back while `vadev dev` watches.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{CLUSTER, Platform, docker, eventually};
use crate::reload::{GO, MAIN, PYTHON, Session};
use crate::sample::edit;

/// Ends the engine, whoever runs it, and has vadev start it again.
fn restart_engine(platform: &Platform, meanwhile: impl FnOnce()) {
    let pid = fs::read_to_string("/var/run/docker.pid").expect("the engine's process");
    let pid = pid.trim();
    let ended = Command::new("kill").args(["-TERM", pid]).status().expect("kill");
    assert!(ended.success());
    let process = Path::new("/proc").join(pid);
    eventually("the engine's end", || (!process.exists()).then_some(()));
    meanwhile();
    platform.run(&["doctor", "--fix", "--yes"]);
    docker(&["version"]);
}

#[test]
#[ignore = "needs a cluster"]
fn a_session_outlives_the_container_engine() {
    let platform = Platform::running();
    let session = Session::start(&platform);
    session.greet("before");
    session.hears(PYTHON, "before");
    let since = session.count();
    restart_engine(&platform, || {
        session.sees("that the replica is lost", |session| {
            session.told(since, "lost", PYTHON)
        });
        // Saved while there is no engine, by either way.
        session.greet("meanwhile");
        edit(
            &session.path(MAIN),
            "greeting = \"hello\"",
            "greeting = \"meanwhile\"",
        );
    });
    // Whether the engine starts its containers again depends on how it ended.
    docker(&["start", &format!("{CLUSTER}-control-plane")]);
    session.hears(PYTHON, "meanwhile");
    session.hears(GO, "meanwhile");
    session.greet("after");
    session.hears(PYTHON, "after");
    session.settles();
    assert!(session.ends().success());
}
