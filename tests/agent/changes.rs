//! Files: what is put in place, what is refused, what comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use vadev::agent::digest;
use vadev::agent::outgoing::{Content, Write};
use vadev::agent::protocol::{Cause, Entry, Node, Then};
use vadev::agent::remote::Error;

use crate::harness::{Pod, SERVICE, bytes, change, eventually, exists, restart};

#[tokio::test]
async fn adds_edits_renames_and_deletes_in_one_change() {
    let pod = Pod::new(SERVICE);
    fs::create_dir_all(pod.path("app/old/deep")).unwrap();
    fs::write(pod.path("app/old/deep/file"), "x").unwrap();
    let mut remote = pod.connect().await;
    let script = Write {
        mode: 0o755,
        content: Content::Bytes(b"#!/bin/sh".to_vec()),
    };
    let link = Write {
        mode: 0,
        content: Content::Link("version".into()),
    };
    let mut all = change(
        [
            (pod.app("version"), bytes("2")),
            (pod.app("new/deep/run"), script),
            (pod.app("link"), link),
        ],
        restart(),
    );
    all.deletes = vec![pod.app("old"), pod.app("never/was")];
    let applied = remote.apply(all).await.unwrap();
    assert!(applied.restart_micros > 0);
    assert!(!exists(&pod.path("app/old")));
    assert_eq!(fs::read_to_string(pod.path("app/link")).unwrap(), "2");
    assert_eq!(
        fs::metadata(pod.path("app/new/deep/run"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o755
    );
    eventually("the second start", || pod.ran("2")).await;
    // Nothing temporary stays, and the status is the tree.
    let sha256 = |content: &str| digest::hex(content.as_bytes());
    let file = |name: &str, mode, content| Entry {
        path: pod.app(name),
        node: Node::File {
            mode,
            sha256: sha256(content),
        },
    };
    let link = Entry {
        path: pod.app("link"),
        node: Node::Link {
            target: "version".into(),
        },
    };
    let expected = [
        link,
        file("new/deep/run", 0o755, "#!/bin/sh"),
        file("version", 0o644, "2"),
    ];
    assert_eq!(remote.status(&[]).await.unwrap(), expected);
}

#[tokio::test]
async fn a_large_file_arrives_packed_and_whole() {
    let pod = Pod::new(SERVICE);
    let mut remote = pod.connect().await;
    let large: Vec<u8> = (0..300_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let source = pod.path("large");
    fs::write(&source, &large).unwrap();
    for (compress, length) in [(true, large.len()), (false, 256 * 1024), (false, 0)] {
        fs::File::options()
            .write(true)
            .open(&source)
            .unwrap()
            .set_len(length as u64)
            .unwrap();
        let write = Write {
            mode: 0o600,
            content: Content::File(source.clone()),
        };
        let mut change = change([(pod.app("large"), write)], Then::Nothing);
        change.compress = compress;
        remote.apply(change).await.unwrap();
        assert!(
            fs::read(pod.path("app/large")).unwrap() == large[..length],
            "{length} bytes"
        );
    }
}

#[tokio::test]
async fn ten_thousand_files_are_one_change() {
    let pod = Pod::new(SERVICE);
    let mut remote = pod.connect().await;
    let mut all = change([], restart());
    for number in 0..10_000 {
        all.writes.insert(
            pod.app(&format!("d{}/f{number}", number % 100)),
            bytes(&format!("content {number}")),
        );
    }
    remote.apply(all).await.unwrap();
    assert_eq!(remote.status(&[]).await.unwrap().len(), 10_001);
    let mut all = change([], Then::Nothing);
    all.deletes = (0..100).map(|number| pod.app(&format!("d{number}"))).collect();
    remote.apply(all).await.unwrap();
    assert_eq!(remote.status(&[]).await.unwrap().len(), 1);
    // Everything is as in the image again: nothing to replay but what the image never had.
    assert!(
        remote
            .log()
            .await
            .unwrap()
            .iter()
            .all(|entry| entry.node == Node::Gone)
    );
}

#[tokio::test]
async fn outside_the_roots_nothing_is_changed() {
    let pod = Pod::new(SERVICE);
    let mut remote = pod.connect().await;
    for path in [
        pod.path("token").to_str().unwrap().to_owned(),
        pod.app("../token"),
        "relative".into(),
    ] {
        let attempt = change([(pod.app("version"), bytes("9")), (path, bytes("x"))], restart());
        let error = remote.apply(attempt).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Failed {
                    cause: Cause::BadPath,
                    ..
                }
            ),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(pod.path("app/version")).unwrap(), "1");
    assert_eq!(fs::read_to_string(pod.path("token")).unwrap(), "secret\n");
    // The session goes on after a refused change.
    remote
        .apply(change([(pod.app("version"), bytes("2"))], Then::Nothing))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_vanished_source_aborts_the_change() {
    let pod = Pod::new(SERVICE);
    let mut remote = pod.connect().await;
    let gone = Write {
        mode: 0o644,
        content: Content::File(pod.path("gone")),
    };
    let error = remote
        .apply(change(
            [(pod.app("a"), bytes("a")), (pod.app("b"), gone)],
            restart(),
        ))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    assert!(!exists(&pod.path("app/a")));
    remote
        .apply(change([(pod.app("a"), bytes("a"))], Then::Nothing))
        .await
        .unwrap();
}

#[tokio::test]
async fn changes_come_back_after_a_restart_of_the_container() {
    let mut pod = Pod::new(SERVICE);
    fs::write(pod.path("app/obsolete"), "from the image").unwrap();
    let mut remote = pod.connect().await;
    let mut first = change(
        [(pod.app("version"), bytes("2")), (pod.app("added"), bytes("new"))],
        restart(),
    );
    first.deletes = vec![pod.app("obsolete")];
    remote.apply(first).await.unwrap();
    eventually("the second start", || pod.ran("2")).await;
    let log = remote.welcome().log.clone();
    pod.kill();
    // The container's file system is the image's again.
    fs::write(pod.path("app/version"), "1").unwrap();
    fs::remove_file(pod.path("app/added")).unwrap();
    fs::write(pod.path("app/obsolete"), "from the image").unwrap();
    pod.start();
    eventually("the third start", || {
        pod.starts().iter().filter(|v| *v == "2").count() == 2
    })
    .await;
    assert_eq!(fs::read_to_string(pod.path("app/added")).unwrap(), "new");
    assert!(!exists(&pod.path("app/obsolete")));
    let remote = pod.connect().await;
    assert_eq!(remote.welcome().changed, 3);
    assert_ne!(remote.welcome().log, log);
}

#[tokio::test]
async fn a_newer_image_wins_over_old_changes() {
    let mut pod = Pod::new(SERVICE);
    let mut remote = pod.connect().await;
    remote
        .apply(change([(pod.app("version"), bytes("2"))], restart()))
        .await
        .unwrap();
    pod.kill();
    fs::write(pod.path("app/version"), "3, built").unwrap();
    pod.start();
    eventually("a start with the new image", || pod.ran("3, built")).await;
    assert_eq!(pod.connect().await.welcome().changed, 0);
}

#[tokio::test]
async fn forgotten_changes_do_not_come_back() {
    let mut pod = Pod::new(SERVICE);
    let mut remote = pod.connect().await;
    remote
        .apply(change([(pod.app("version"), bytes("2"))], restart()))
        .await
        .unwrap();
    eventually("the second start", || pod.ran("2")).await;
    remote.forget().await.unwrap();
    pod.kill();
    fs::write(pod.path("app/version"), "1").unwrap();
    pod.start();
    eventually("a start as in the image", || pod.ran("1")).await;
}

#[tokio::test]
async fn the_last_of_many_saves_wins() {
    let pod = Pod::new(SERVICE);
    let mut remote = pod.connect().await;
    for number in 2..=50 {
        remote
            .apply(change(
                [(pod.app("version"), bytes(&number.to_string()))],
                restart(),
            ))
            .await
            .unwrap();
    }
    eventually("the last start", || pod.ran("50")).await;
}
