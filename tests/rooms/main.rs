//! The invariants of ARCHITECTURE.md that can be read off the source.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::new_without_default)]

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that get everything as values.
const PURE: [&str; 5] = ["catalog", "profile", "render", "plan", "promote"];

/// What a pure room must not name: runtimes, files, network, environment, clocks, processes, and rooms with effects.
const EFFECTS: [&str; 23] = [
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "rustix",
    "reqwest",
    "bollard",
    "kube::",
    "tempfile",
    "File::open",
    "env::var",
    "env!(\"HOME",
    "crate::cli",
    "crate::engine",
    "crate::supply",
    "crate::cluster",
    "crate::image",
    "crate::k8s",
    "crate::report",
];

/// What a verb must leave to the rooms below it.
const DIRECT: [&str; 5] = [
    "bollard",
    "kube::",
    "std::process::Command",
    "tokio::process",
    "reqwest",
];

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn room(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    rust_files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name),
        &mut found,
    );
    found.sort();
    found
}

/// Lines of code with their numbers: without comments, and without the module of tests at the end.
fn code(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = |pair: &[&str]| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].contains('{')
    };
    let end = lines.windows(2).position(tests).unwrap_or(lines.len());
    let numbered = lines[..end].iter().enumerate().map(|(at, line)| (at + 1, *line));
    numbered
        .map(|(at, line)| (at, line.split("//").next().unwrap_or_default()))
        .collect()
}

/// `use std::{fs, io}` as `std::fs std::io`, so that grouped imports are seen too.
fn spelled_out(line: &str) -> String {
    let Some((path, group)) = line.split_once("::{") else {
        return line.to_owned();
    };
    let path = path.rsplit(' ').next().unwrap_or(path);
    let names = group
        .trim_end_matches(['}', ';', ' '])
        .split(',')
        .map(|name| format!("{path}::{}", name.trim()));
    format!("{line} {}", names.collect::<Vec<_>>().join(" "))
}

fn named(file: &Path, forbidden: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let found = code(&text).into_iter().filter_map(|(at, line)| {
        let line = spelled_out(line);
        let word = forbidden.iter().find(|word| names(&line, word))?;
        Some(format!("{}:{at}: {word}", file.display()))
    });
    found.collect()
}

/// Whether a line names a path: `report` in `crate::report`, and not `kube::` in `mykube::`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let identifier = |c: char| c.is_alphanumeric() || c == '_';
        let after = line[at + word.len()..].chars().next();
        let whole = !word.ends_with(identifier) || !after.is_some_and(identifier);
        whole && !line[..at].ends_with(identifier)
    })
}

#[test]
fn pure_rooms_have_no_effects() {
    let mut found = Vec::new();
    for file in PURE.iter().flat_map(|name| room(name)) {
        if file
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("tests"))
        {
            continue;
        }
        found.extend(named(&file, &EFFECTS));
    }
    assert!(found.is_empty(), "pure rooms name effects:\n{}", found.join("\n"));
}

#[test]
fn verbs_leave_effects_to_the_rooms_below() {
    let found: Vec<_> = room("cli").iter().flat_map(|file| named(file, &DIRECT)).collect();
    assert!(
        found.is_empty(),
        "verbs go around the rooms:\n{}",
        found.join("\n")
    );
}

#[test]
fn files_stay_small_enough_to_read() {
    let long: Vec<_> = room("")
        .into_iter()
        .filter_map(|file| {
            let lines = code(&fs::read_to_string(&file).unwrap()).len();
            (lines > 400).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
}

#[test]
fn the_scanner_sees_what_it_should() {
    assert_eq!(
        code("a // std::fs\n#[cfg(test)]\nmod tests { use std::fs; }"),
        [(1, "a ")]
    );
    assert!(names(&spelled_out("use std::{fs, io};"), "std::fs"));
    assert!(names("let now = Instant::now();", "Instant"));
    assert!(!names("struct Instantly;", "Instant"));
    assert!(!names("mykube::x", "kube::"));
    assert!(names("kube::Client", "kube::"));
}
