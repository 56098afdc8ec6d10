//! The process of a container that is there to have something run in it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{program, sigterm};

#[test]
fn it_ends_by_itself_or_at_once_when_told() {
    let folder = TempDir::new().unwrap();
    let program = program(folder.path(), b"");
    let hold = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("hold").args(arguments).stderr(Stdio::null());
        command
    };
    assert!(hold(&["0"]).status().unwrap().success());
    assert_eq!(hold(&["long"]).status().unwrap().code(), Some(2));

    let mut waits = hold(&["600"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    // Before its handler stands, the signal would end it by its default.
    let status = format!("/proc/{}/status", waits.id());
    while !catches_sigterm(&std::fs::read_to_string(&status).unwrap()) {
        assert!(Instant::now() < deadline, "it never listened");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(waits.try_wait().unwrap().is_none(), "it waits");
    sigterm(waits.id());
    let ended = loop {
        if let Some(ended) = waits.try_wait().unwrap() {
            break ended;
        }
        assert!(Instant::now() < deadline, "it did not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{ended}");
}

/// Whether the process has a handler for signal 15, by the mask in its status.
fn catches_sigterm(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << 14) != 0)
}
