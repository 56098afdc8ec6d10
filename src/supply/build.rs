//! Making artefacts by their recipes: once, in the order of their needs, at most two at a time, and only where the cache
//! or the engine has no current one.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};

use super::cache::{Entry, Kind, Source, digest_file, stamp};
use super::host::Program;
use super::recipe::{self, images};
use super::{Supply, SupplyError};
use crate::report::Step;

impl Supply {
    /// Makes `names` (recipes) where they are not current, or in any case when `force` is set (not what they need).
    /// Returns what is known of each, in the order of `names`.
    pub async fn build(&self, names: &[&str], force: bool, step: &Step) -> Result<Vec<Entry>, SupplyError> {
        for name in names {
            self.kit.book.recipe(name)?;
        }
        if force {
            for name in names {
                self.kit.cache.forget(name)?;
                if self.kit.book.recipe(name)?.kind == Kind::Image {
                    let image = &self.kit.book.recipe(name)?.reference;
                    images::remove(self.docker().await?, image).await?;
                }
            }
        }
        self.preflight(names, step).await?;
        try_join_all(names.iter().map(|name| self.ensure(name, step)))
            .await
            .map_err(SupplyError::Shared)
    }

    /// What is known of the artefact of the recipe `name` if it is there and current: made of the recipe as it is now,
    /// in the engine (image) or in the cache with its right content (tool).
    pub(super) async fn present(&self, name: &str) -> Result<Option<Entry>, SupplyError> {
        let recipe = self.kit.book.recipe(name)?;
        let hash = self.kit.book.hash(name);
        let known = self
            .kit
            .cache
            .entry(name)
            .filter(|entry| entry.input.as_deref() == Some(hash));
        if recipe.kind == Kind::Tool {
            let Some(entry) = known else { return Ok(None) };
            let cache = self.kit.cache.clone();
            let check = move || {
                let digest = entry.digest.trim_start_matches("sha256:").to_owned();
                let path = cache.bin(&entry.reference);
                if entry.written.is_some()
                    && stamp(&path) == entry.written.map(|written| (entry.size, written))
                {
                    return Ok(Some(entry));
                }
                if path.is_file() && digest_file(&path)? == digest {
                    let entry = Entry {
                        written: stamp(&path).map(|(_, written)| written),
                        ..entry
                    };
                    cache.record(&entry)?;
                    return Ok(Some(entry));
                }
                if cache.find_blob(&digest)?.is_none() {
                    return Ok(None);
                }
                cache.install(&digest, &entry.reference)?;
                Ok(Some(entry))
            };
            return match tokio::task::spawn_blocking(check).await {
                Ok(result) => result,
                Err(error) => Err(SupplyError::file("check", self.kit.cache.bin(name))(error.into())),
            };
        }
        let Some(image) = images::inspect(self.docker().await?, &recipe.reference).await? else {
            return Ok(None);
        };
        if images::recipe_label(&image) != Some(hash) {
            return Ok(None);
        }
        let id = image.id.unwrap_or_default();
        if let Some(entry) = known.filter(|entry| entry.digest == id) {
            return Ok(Some(entry));
        }
        // Made of the same inputs by somebody whose index this is not: another user, or before the cache was emptied.
        let mut entry = Entry::new(name, Kind::Image, &recipe.reference, Source::Packages);
        recipe.version.clone_into(&mut entry.version);
        entry.input = Some(hash.to_owned());
        entry.digest = id;
        entry.size = image
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default();
        Ok(Some(entry))
    }

    /// Makes the artefact of the recipe `name` unless it is there. Whoever asks while it is being made gets the same result.
    pub(super) fn ensure<'a>(
        &'a self,
        name: &'a str,
        step: &'a Step,
    ) -> BoxFuture<'a, Result<Entry, Arc<SupplyError>>> {
        async move {
            let cell = self.cell(name);
            let result = cell
                .get_or_init(|| {
                    self.ensure_once(name, step)
                        .map(|result| result.map_err(Arc::new))
                })
                .await
                .clone();
            if result.is_err() {
                // Those who wait share the failure; who asks later, in a long session, gets a new attempt.
                self.made
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .retain(|_, kept| !Arc::ptr_eq(kept, &cell));
            }
            result
        }
        .boxed()
    }

    async fn ensure_once(&self, name: &str, step: &Step) -> Result<Entry, SupplyError> {
        if let Some(entry) = self.present(name).await? {
            return Ok(entry);
        }
        let recipe = self.kit.book.recipe(name)?;
        let needs: Vec<_> = recipe
            .needs
            .iter()
            .map(|need| self.ensure_need(name, need, step))
            .collect();
        try_join_all(needs).await?;
        let programs: BTreeSet<Program> = Program::of(recipe);
        self.prepare(&programs, step).await?;
        let Ok(_slot) = self.slots.acquire().await else {
            return Err(SupplyError::NoCache("the builds were stopped".to_owned()));
        };
        let _lock = self.kit.cache.lock(name, step).await?;
        // Another vadev may have made it while this one waited.
        if let Some(entry) = self.present(name).await? {
            return Ok(entry);
        }
        let docker = match recipe.kind {
            Kind::Image => Some(self.docker().await?),
            Kind::Tool => None,
        };
        let cause = self.cause(name, docker).await?;
        let verb = if recipe.kind == Kind::Tool {
            "Compile"
        } else {
            "Build image"
        };
        let child = step.child(
            format!("build/{name}"),
            format!("{verb} {name} {}", recipe.version),
            Some(cause),
        );
        match recipe::make(&self.kit, docker, recipe, &child).await {
            Ok(entry) => {
                child.done(format!("{} · {} MB", entry.reference, entry.size / 1_000_000));
                Ok(entry)
            }
            Err(error) => {
                child.failed(&error);
                Err(error)
            }
        }
    }

    fn ensure_need<'a>(
        &'a self,
        name: &'a str,
        need: &'a str,
        step: &'a Step,
    ) -> BoxFuture<'a, Result<Entry, SupplyError>> {
        let made = self.ensure(need, step);
        let explain = move |source| SupplyError::Need {
            name: name.to_owned(),
            need: need.to_owned(),
            source,
        };
        made.map(move |result| result.map_err(explain)).boxed()
    }

    /// Why it has to be made.
    pub(super) async fn cause(
        &self,
        name: &str,
        docker: Option<&bollard::Docker>,
    ) -> Result<String, SupplyError> {
        let recipe = self.kit.book.recipe(name)?;
        let known = self.kit.cache.entry(name);
        let there = match docker {
            Some(docker) => images::inspect(docker, &recipe.reference).await?.is_some(),
            None => self.kit.cache.bin(&recipe.reference).is_file(),
        };
        Ok(match known {
            None if there => "made by somebody else, of another recipe",
            None => "missing",
            Some(entry) if entry.input.as_deref() != Some(self.kit.book.hash(name)) => "recipe changed",
            Some(_) if there => "its content was changed",
            Some(_) => "was removed",
        }
        .to_owned())
    }
}
