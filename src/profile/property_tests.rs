//! Whatever stands in the user's files, reading them ends in a workspace or in problems, and never in a panic.

use proptest::prelude::*;

use super::*;
use crate::catalog::load::read_document;
use crate::failure::Diagnose;

const WORKSPACE: &str = "apiVersion: vadev.dev/v1
kind: Workspace
name: shop
profile: mine
services:
  agent-engine:
    source: services/agent-engine
    build: { command: [make], env: { A: b } }
    sync: [{ from: app, to: /app, ignore: ['**/*.pyc'] }]
    restart: process
    replicas: 2
    resources: { requests: { cpu: 100m }, limits: { memory: 1Gi } }
    config: { LOG_LEVEL: debug }
infrastructure:
  redis: { replicas: 1 }
extraServiceFiles: []
";

const PROFILE: &str = "apiVersion: vadev.dev/v1
kind: Profile
name: mine
summary: Ours
groups: [core-storage]
services: [agent-engine, model-adapter]
sizing: fitted
budget: { cpu: \"2\", memory: 4Gi, hostCpuPercent: 100 }
overrides: { agent-engine: { replicas: 1 } }
";

/// Reads both, each whatever becomes of the other, and tells every problem.
fn read(workspace: &str, profile: &str) {
    if let Err(problems) = read_workspace(&("vadev.yaml".into(), workspace.into())) {
        assert!(!problems.details().is_empty());
    }
    if let Err(problems) = read_document::<Profile>("mine.yaml", profile) {
        assert!(!problems.is_empty());
    }
}

/// As [`read`], and all of it checked against the catalog.
fn load(workspace: &str, profile: &str) {
    let sources = Sources {
        workspace: Some(("vadev.yaml".into(), workspace.into())),
        profiles: vec![("profiles/mine.yaml".into(), profile.into())],
        ..Sources::default()
    };
    if let Err(problems) = load_all(&sources, "unused") {
        assert!(!problems.details().is_empty());
    }
}

/// A text with some of it replaced by what means something to YAML.
fn changed(text: &'static str) -> impl Strategy<Value = String> {
    let with = "[-\\[\\]{}:,&*!|>'\"%@`#a0 \n\t~é]{0,4}";
    (0..text.len(), 0usize..3, with).prop_map(move |(at, length, with)| {
        let mut text = text.to_owned();
        text.replace_range(at..(at + length).min(text.len()), &with);
        text
    })
}

#[test]
fn the_files_that_are_changed_here_are_good_ones() {
    assert!(read_workspace(&("vadev.yaml".into(), WORKSPACE.into())).is_ok());
    let sources = Sources {
        workspace: Some(("vadev.yaml".into(), WORKSPACE.into())),
        profiles: vec![("profiles/mine.yaml".into(), PROFILE.into())],
        ..Sources::default()
    };
    assert!(load_all(&sources, "unused").is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        read(&text, &text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_reading_panic(workspace in changed(WORKSPACE), profile in changed(PROFILE)) {
        read(&workspace, &profile);
    }
}

proptest! {
    // Each reads the whole catalog.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_change_of_a_good_file_makes_loading_panic(workspace in changed(WORKSPACE), profile in changed(PROFILE)) {
        load(&workspace, &profile);
    }
}
