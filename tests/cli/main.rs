//! The binary as users and scripts meet it: help, errors, exit codes, streams, signals. Nothing here needs a cluster.

// A panic is how a test fails.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::new_without_default)]

mod capacity;
mod completions;
mod errors;
mod help;
mod proposals;
mod streams;

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A folder to run in, and a home that nothing of the user's own shines into.
pub struct Place(TempDir);

impl Place {
    /// An empty workspace.
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A workspace with this `vadev.yaml`.
    pub fn with(workspace: &str) -> Self {
        let place = Self::new();
        std::fs::write(place.path().join("vadev.yaml"), workspace).unwrap();
        place
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// vadev with these arguments, without a terminal, Docker or the caller's settings.
    pub fn vadev(&self, arguments: &[&str]) -> Command {
        let mut command = Command::cargo_bin("vadev").unwrap();
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command
    }

    /// Runs vadev to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.vadev(arguments).output().unwrap()
    }
}

/// What it wrote to stdout.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What it wrote to stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
