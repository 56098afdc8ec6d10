//! The crate's build script: compiles `vadev-agent` as a small static Linux program, so that `vadev` can carry it
//! inside itself (see `embedded.rs`).
//!
//! The nested cargo works in `<target>/agent`, beside the outer profile folders: its dependencies are compiled once
//! for all profiles and checkouts that share a target folder, and its lock is never one that the outer cargo holds.
//! It builds without the `cli` feature, and without that feature this script does nothing: it cannot nest twice.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Outcome<T> = Result<T, String>;

/// Names a finished static agent to embed instead of building one: for hosts that cannot link Linux programs.
const PREBUILT: &str = "VADEV_AGENT_BINARY";

fn main() -> Outcome<()> {
    for path in ["src/agent", "src/bin/vadev-agent.rs", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    if std::env::var_os("CARGO_FEATURE_CLI").is_none() {
        return Ok(());
    }
    let out = PathBuf::from(variable("OUT_DIR")?);
    let embedded = out.join("vadev-agent");
    if let Some(prebuilt) = std::env::var_os(PREBUILT) {
        println!("cargo::rerun-if-changed={}", Path::new(&prebuilt).display());
        return copy(Path::new(&prebuilt), &embedded);
    }
    let target_dir = nested_target_dir(&out);
    fs::create_dir_all(&target_dir).map_err(|e| format!("cannot create {}: {e}", target_dir.display()))?;
    // Two checkouts may share the folder: one's program must not be copied as the other's.
    let lock_path = target_dir.join("embed.lock");
    let lock =
        fs::File::create(&lock_path).map_err(|e| format!("cannot create {}: {e}", lock_path.display()))?;
    lock.lock()
        .map_err(|e| format!("cannot lock {}: {e}", lock_path.display()))?;
    let built = build(&target_dir)?;
    copy(&built, &embedded)
}

/// Runs the nested cargo and returns the program's path.
fn build(target_dir: &Path) -> Outcome<PathBuf> {
    let triple = agent_triple()?;
    let mut command = Command::new(variable("CARGO")?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| must_not_be_inherited(name)) {
        command.env_remove(name);
    }
    let mut flags = String::from("-C target-feature=+crt-static");
    if triple.ends_with("musl") {
        // Rust's own linker and C library: no cross toolchain needed.
        flags.push_str(" -C linker=rust-lld");
    }
    command
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "agent",
            "--bin",
            "vadev-agent",
            "--no-default-features",
        ])
        .arg("--target")
        .arg(&triple)
        .arg("--target-dir")
        .arg(target_dir)
        .arg("--manifest-path")
        .arg(Path::new(&variable("CARGO_MANIFEST_DIR")?).join("Cargo.toml"))
        .env("RUSTFLAGS", flags);
    let status = command
        .status()
        .map_err(|e| format!("cannot start cargo for vadev-agent: {e}"))?;
    if !status.success() {
        return Err(format!(
            "building vadev-agent for {triple} failed ({status}); its errors are above. On a host that cannot link \
             Linux programs, set {PREBUILT} to a finished one"
        ));
    }
    Ok(target_dir.join(&triple).join("agent").join("vadev-agent"))
}

/// Containers run Linux whatever the host runs. On Linux the host's own C library is linked statically, which needs
/// no extra toolchain; elsewhere musl is what Rust can link by itself.
fn agent_triple() -> Outcome<String> {
    if variable("CARGO_CFG_TARGET_OS")? == "linux" {
        return variable("TARGET");
    }
    Ok(format!(
        "{}-unknown-linux-musl",
        variable("CARGO_CFG_TARGET_ARCH")?
    ))
}

/// What the outer cargo (or clippy, or a coverage run) tells its own compiler must not reach the agent's.
fn must_not_be_inherited(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let kept = ["CARGO_HOME", "CARGO_MAKEFLAGS"].contains(&name.as_ref())
        || ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"]
            .iter()
            .any(|p| name.starts_with(p));
    let cargo = ["CARGO_", "CLIPPY_", "DEP_"].iter().any(|p| name.starts_with(p));
    let compiler = [
        "RUSTFLAGS",
        "RUSTC",
        "RUSTDOC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "OPT_LEVEL",
        "DEBUG",
        "PROFILE",
        "TARGET",
        "HOST",
        "NUM_JOBS",
        "OUT_DIR",
        "LLVM_PROFILE_FILE",
    ];
    (cargo && !kept) || compiler.contains(&name.as_ref())
}

/// `<target>/agent`: cargo marks the root of a target folder with CACHEDIR.TAG. Without one, a folder of our own.
fn nested_target_dir(out: &Path) -> PathBuf {
    let root = out
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file());
    root.unwrap_or(out).join("agent")
}

fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))
}

fn variable(name: &str) -> Outcome<String> {
    std::env::var(name).map_err(|e| format!("cargo did not set {name}: {e}"))
}
