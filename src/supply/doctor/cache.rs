//! The cache: writable, and free of what killed runs left half written.

use super::proc::gibibytes;
use super::report::{Check, Severity};
use crate::failure::Diagnose as _;
use crate::supply::SupplyError;
use crate::supply::cache::{Cache, Lock};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whoever writes a file here takes seconds; one that is older was abandoned.
const ABANDONED: Duration = Duration::from_hours(1);

/// Something that a killed run left. While this is held, no other vadev begins to use it.
#[derive(Debug)]
pub struct Leftover {
    path: PathBuf,
    _lock: Option<Lock>,
}

impl Leftover {
    /// Takes it away; returns its bytes.
    pub fn remove(self) -> Result<u64, SupplyError> {
        let bytes = size(&self.path);
        let removed = if self.path.is_dir() {
            std::fs::remove_dir_all(&self.path)
        } else {
            std::fs::remove_file(&self.path)
        };
        removed.map_err(SupplyError::file("remove", &self.path))?;
        Ok(bytes)
    }
}

/// Work folders whose lock nobody holds, and temporary files that nobody finished.
pub fn leftovers(cache: &Cache) -> Result<Vec<Leftover>, SupplyError> {
    let mut found = Vec::new();
    for path in entries(&cache.root().join("work")) {
        let artefact = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if let Ok(lock) = cache.try_lock(&artefact)? {
            found.push(Leftover {
                path,
                _lock: Some(lock),
            });
        }
    }
    for folder in ["blobs/sha256", "bin", "index", "go"] {
        let paths = entries(&cache.root().join(folder))
            .into_iter()
            .filter(|path| abandoned(path));
        found.extend(paths.map(|path| Leftover { path, _lock: None }));
    }
    Ok(found)
}

fn abandoned(path: &Path) -> bool {
    let temporary = path
        .file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(".new-"));
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    temporary && modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED))
}

/// The check.
pub fn check(cache: Result<&Cache, &SupplyError>) -> Check {
    let (id, title) = ("cache", "Cache");
    let failed = |error: &SupplyError| {
        let hint = error
            .hint()
            .unwrap_or_else(|| "set VADEV_CACHE to a folder that can be written".to_owned());
        Check::ok(id, title, error.to_string()).problem(Severity::Error, hint)
    };
    let cache = match cache {
        Ok(cache) => cache,
        Err(error) => return failed(error),
    };
    match leftovers(cache) {
        Ok(found) if found.is_empty() => Check::ok(
            id,
            title,
            format!("{}, nothing half written", cache.root().display()),
        ),
        Ok(found) => {
            let bytes = found.iter().map(|leftover| size(&leftover.path)).sum();
            let value = format!("{} leftovers of killed runs, {}", found.len(), gibibytes(bytes));
            Check::ok(id, title, value)
                .problem(Severity::Info, "vadev supply prune")
                .fixable()
        }
        Err(error) => failed(&error),
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Bytes below a path; links are not followed.
fn size(path: &Path) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => entries(path).iter().map(|path| size(path)).sum(),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_abandoned_and_not_what_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        assert_eq!(check(Ok(&cache)).trouble(), None);
        for name in ["dead", "alive"] {
            std::fs::create_dir(cache.work(name)).unwrap();
        }
        std::fs::write(cache.work("dead").join("x"), "12345").unwrap();
        let held = cache.try_lock("alive").unwrap().unwrap();
        let young = cache.root().join("bin/.new-1");
        std::fs::write(&young, "1").unwrap();
        let old = std::fs::File::create(cache.root().join("index/.new-2")).unwrap();
        old.set_modified(std::time::SystemTime::now() - ABANDONED * 2)
            .unwrap();

        let found = check(Ok(&cache));
        assert_eq!((found.trouble(), found.fixable), (Some(Severity::Info), true));
        assert!(found.value.starts_with("2 leftovers"), "{}", found.value);
        let removed = leftovers(&cache)
            .unwrap()
            .into_iter()
            .map(|leftover| leftover.remove().unwrap());
        assert_eq!(removed.sum::<u64>(), 5);
        assert!(young.exists() && cache.work("alive").exists() && !cache.work("dead").exists());
        drop(held);
    }
}
