//! The service's process: sessions, restarts, crashes, signals, upgrades.

use std::fs;
use std::time::Duration;

use vadev::agent::protocol::{Child, Then};
use vadev::agent::remote::Error;

use crate::harness::{Pod, SERVICE, bytes, change, eventually, restart};

#[tokio::test]
async fn only_the_sessions_token_lets_in() {
    let pod = Pod::new(SERVICE);
    assert!(matches!(
        pod.try_connect("guess").await.err().unwrap(),
        Error::Refused(_)
    ));
    // The token can change while the agent runs; an empty one lets nobody in.
    fs::write(pod.path("token"), "other").unwrap();
    assert!(matches!(
        pod.try_connect("secret").await.err().unwrap(),
        Error::Refused(_)
    ));
    pod.try_connect("other").await.unwrap();
    fs::write(pod.path("token"), "").unwrap();
    assert!(matches!(
        pod.try_connect("").await.err().unwrap(),
        Error::Refused(_)
    ));
}

#[tokio::test]
async fn the_service_waits_for_the_first_session() {
    let pod = Pod::with(SERVICE, &["--wait-for-session", "60"]);
    let mut remote = pod.connect().await;
    assert_eq!(remote.welcome().child, Child::Waiting);
    // Replayed before the first start: the image's content is never served.
    remote
        .apply(change([(pod.app("version"), bytes("2"))], restart()))
        .await
        .unwrap();
    assert!(pod.starts().is_empty());
    assert!(matches!(
        remote.start().await.unwrap(),
        Child::Running { starts: 1, .. }
    ));
    eventually("the start", || pod.starts() == ["2"]).await;
}

#[tokio::test]
async fn it_does_not_wait_for_ever() {
    let pod = Pod::with(SERVICE, &["--wait-for-session", "1"]);
    eventually("the start without a session", || pod.starts() == ["1"]).await;
}

#[tokio::test]
async fn a_crash_is_told_and_the_next_save_mends_it() {
    let pod = Pod::new(
        "cat $APP/version >> $APP/../starts; echo >> $APP/../starts; grep -q bad $APP/version && exit 3; exec sleep 1000",
    );
    let mut remote = pod.connect().await;
    let mut events = remote.events().unwrap();
    remote
        .apply(change([(pod.app("version"), bytes("bad"))], restart()))
        .await
        .unwrap();
    let down = async {
        loop {
            if let Some(Child::Down { why, .. }) = events.recv().await {
                return why;
            }
        }
    };
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(10), down).await.unwrap(),
        "exit code 3"
    );
    // A language that reloads itself asks for nothing; a dead process is started all the same.
    let applied = remote
        .apply(change([(pod.app("version"), bytes("good"))], Then::Nothing))
        .await
        .unwrap();
    assert!(
        matches!(applied.child, Child::Running { .. }),
        "{:?}",
        applied.child
    );
    eventually("the good start", || pod.ran("good")).await;
}

#[tokio::test]
async fn what_ignores_sigterm_is_killed_with_its_workers() {
    // The worker would keep the service's port.
    let pod = Pod::new(
        "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > $APP/../worker; while :; do sleep 0.1; done' & while :; do sleep 0.1; done",
    );
    let worker = || fs::read_to_string(pod.path("worker")).unwrap_or_default();
    eventually("the worker", || worker().ends_with('\n')).await;
    let worker = worker();
    let mut remote = pod.connect().await;
    let child = remote.act(Then::Restart { grace_millis: 100 }).await.unwrap();
    assert!(matches!(child, Child::Running { starts: 2, .. }));
    // Reaped, too: no zombie is left.
    let process = format!("/proc/{}", worker.trim());
    eventually("the worker's end", || !std::path::Path::new(&process).exists()).await;
    remote.act(Then::Signal { name: "USR1".into() }).await.unwrap();
}

#[tokio::test]
async fn sigterm_ends_both_with_the_services_exit_code() {
    let mut pod = Pod::new("trap 'exit 7' TERM; echo > $APP/../up; while :; do sleep 0.02; done");
    eventually("the service", || pod.path("up").exists()).await;
    assert_eq!(pod.terminate().code(), Some(7));
}

#[tokio::test]
async fn an_upgrade_keeps_the_service() {
    let pod = Pod::outdated(SERVICE);
    let mut remote = pod.connect().await;
    assert!(!remote.is_current());
    remote
        .apply(change([(pod.app("version"), bytes("2"))], restart()))
        .await
        .unwrap();
    let Child::Running { pid, .. } = remote.ping().await.unwrap() else {
        panic!("not running")
    };
    remote.upgrade().await.unwrap();
    let mut upgraded = loop {
        // The old program may still take a connection that does not survive it.
        match pod.try_connect("secret").await {
            Ok(remote) if remote.is_current() => break remote,
            Ok(_) | Err(Error::Closed(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert!(matches!(upgraded.ping().await.unwrap(), Child::Running { pid: kept, .. } if kept == pid));
    let program = fs::read_link(format!("/proc/{}/exe", pod.agent_pid())).unwrap();
    assert!(program.starts_with(pod.path("state")), "{}", program.display());
    // The upgraded agent still knows the changes and still reaps and restarts.
    assert_eq!(upgraded.welcome().changed, 1);
    upgraded
        .apply(change([(pod.app("version"), bytes("3"))], restart()))
        .await
        .unwrap();
    eventually("the start by the new agent", || pod.ran("3")).await;
}
