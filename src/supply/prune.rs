//! `vadev supply prune`: takes away what nothing needs any more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{Kind, TEMPORARY};
use super::recipe::{Action, RECIPE_LABEL, images};
use super::{Supply, SupplyError};
use crate::report::Step;

/// Nobody writes a single file for this long.
const ABANDONED: Duration = Duration::from_hours(1);

const ALL: &str = "everything is to go";
const OUTDATED: &str = "no recipe makes it like this any more";

/// What to take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneOptions {
    /// What is current too: every image that a recipe made, every tool, wheel and log.
    pub all: bool,
    /// Only tell.
    pub dry_run: bool,
}

/// One thing taken away, or that would be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrunedRow {
    /// `image`, `tool`, `file` or `entry`.
    pub what: &'static str,
    /// Its name, reference or path.
    pub name: String,
    /// Bytes it took.
    pub size: u64,
    /// Why.
    pub reason: &'static str,
}

impl Supply {
    /// Takes away outdated images and tools, what killed runs left behind, and blobs that nothing refers to. What another
    /// vadev is making is left alone, and so are images that a container uses.
    pub async fn prune(&self, options: PruneOptions, step: &Step) -> Result<Vec<PrunedRow>, SupplyError> {
        let mut rows = Vec::new();
        if self.docker().await.is_ok() {
            self.prune_images(options, step, &mut rows).await?;
        }
        self.prune_entries(options, &mut rows).await?;
        self.prune_files(options, &mut rows)?;
        Ok(rows)
    }

    async fn prune_images(
        &self,
        options: PruneOptions,
        step: &Step,
        rows: &mut Vec<PrunedRow>,
    ) -> Result<(), SupplyError> {
        let docker = self.docker().await?;
        for image in images::made_by_recipes(docker).await? {
            let hash = image.labels.get(RECIPE_LABEL).map_or("", String::as_str);
            let current = |tag: &String| {
                self.kit
                    .book
                    .recipes()
                    .any(|r| r.reference == *tag && self.kit.book.hash(&r.name) == hash)
            };
            let used = image.repo_tags.iter().any(current);
            if used && !options.all {
                continue;
            }
            // An image under construction carries no name but this one, and its lock is held.
            let building = image
                .repo_tags
                .iter()
                .filter_map(|tag| tag.strip_prefix("vadev.local/unfinished/"));
            let mut busy = false;
            for tag in building {
                busy |= self.kit.cache.try_lock(images::split(tag).0)?.is_err();
            }
            if busy {
                continue;
            }
            // Older engines give a nameless image this name.
            let mut names = image.repo_tags.clone();
            names.retain(|name| name != "<none>:<none>");
            if names.is_empty() {
                names.push(image.id.clone());
            }
            for name in names {
                step.progress(format!("removing {name}"));
                // The engine refuses while a container or a newer image needs it; then it simply stays.
                if options.dry_run || images::remove(docker, &name).await.is_ok() {
                    let reason = if used { ALL } else { OUTDATED };
                    let size = u64::try_from(image.size).unwrap_or_default();
                    rows.push(PrunedRow {
                        what: "image",
                        name,
                        size,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }

    /// Tools of changed recipes, and entries whose artefact is gone.
    async fn prune_entries(
        &self,
        options: PruneOptions,
        rows: &mut Vec<PrunedRow>,
    ) -> Result<(), SupplyError> {
        for entry in self.kit.cache.entries()? {
            let Ok(_lock) = self.kit.cache.try_lock(&entry.name)? else {
                continue;
            };
            let current = self.kit.book.recipe(&entry.name).is_ok()
                && entry.input.as_deref() == Some(self.kit.book.hash(&entry.name));
            let there = match entry.kind {
                Kind::Tool => self.kit.cache.bin(&entry.reference).is_file(),
                Kind::Image => match self.docker().await {
                    Ok(docker) => images::inspect(docker, &entry.reference).await?.is_some(),
                    Err(_) => true,
                },
            };
            if !entry.layers.is_empty()
                && let Ok(docker) = self.docker().await
            {
                let size = images::remove_layers(docker, &entry.layers, options.dry_run).await?;
                if size > 0 {
                    let name = format!("layers of {}", entry.name);
                    rows.push(PrunedRow {
                        what: "image",
                        name,
                        size,
                        reason: "only a rebuild would use them",
                    });
                }
            }
            let keep = there && (current || entry.input.is_none()) && !options.all;
            if keep {
                continue;
            }
            if !options.dry_run {
                self.kit.cache.forget(&entry.name)?;
                if entry.kind == Kind::Tool {
                    remove(&self.kit.cache.bin(&entry.reference))?;
                }
            }
            let (what, size) = if entry.kind == Kind::Tool {
                ("tool", entry.size)
            } else {
                ("entry", 0)
            };
            let reason = match (there, current) {
                (false, _) => "it is gone",
                (true, true) => ALL,
                (true, false) => OUTDATED,
            };
            rows.push(PrunedRow {
                what,
                name: entry.name,
                size,
                reason,
            });
        }
        Ok(())
    }

    /// Blobs that no entry and no recipe names, and leftovers of runs that were killed.
    fn prune_files(&self, options: PruneOptions, rows: &mut Vec<PrunedRow>) -> Result<(), SupplyError> {
        let cache = &self.kit.cache;
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        if !options.all {
            let digests = cache.entries()?.into_iter().map(|entry| entry.digest);
            wanted.extend(digests.map(|digest| digest.trim_start_matches("sha256:").to_owned()));
            for action in self.kit.book.recipes().flat_map(|recipe| &recipe.steps) {
                if let Action::Pip(pip) = action {
                    wanted.insert(pip.sha256.clone());
                }
            }
        }
        let mut doomed: Vec<(PathBuf, &'static str)> = Vec::new();
        for path in below(&cache.root().join("blobs/sha256"))? {
            if !wanted.contains(&*file_name(&path)) && !file_name(&path).starts_with(TEMPORARY) {
                doomed.push((path, "nothing refers to it"));
            }
        }
        for folder in ["blobs/sha256", "bin", "index", "go", "work"] {
            for path in below(&cache.root().join(folder))? {
                if file_name(&path).starts_with(TEMPORARY) && older_than(&path, ABANDONED) {
                    doomed.push((path, "left by a run that was killed"));
                }
            }
        }
        for path in below(&cache.root().join("work"))? {
            if !file_name(&path).starts_with(TEMPORARY) && cache.try_lock(&file_name(&path))?.is_ok() {
                doomed.push((path, "left by a run that was killed"));
            }
        }
        if options.all {
            doomed.extend(
                below(&cache.root().join("logs"))?
                    .into_iter()
                    .map(|path| (path, ALL)),
            );
            if cache.try_lock("go-toolchain")?.is_ok() {
                doomed.extend(
                    below(&cache.root().join("go"))?
                        .into_iter()
                        .map(|path| (path, ALL)),
                );
            }
        }
        for (path, reason) in doomed {
            let size = size_of(&path);
            if !options.dry_run {
                remove(&path)?;
            }
            rows.push(PrunedRow {
                what: "file",
                name: path.display().to_string(),
                size,
                reason,
            });
        }
        Ok(())
    }
}

fn below(folder: &Path) -> Result<Vec<PathBuf>, SupplyError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).map_err(SupplyError::file("read", folder))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn older_than(path: &Path, age: Duration) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|data| data.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed > age))
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

fn size_of(path: &Path) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => below(path)
            .unwrap_or_default()
            .iter()
            .map(|path| size_of(path))
            .sum(),
        Ok(data) => data.len(),
        Err(_) => 0,
    }
}

fn remove(path: &Path) -> Result<(), SupplyError> {
    let removed = if path.is_dir() {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(SupplyError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}
