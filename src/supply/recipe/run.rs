//! Carries one recipe out, from an empty work folder to an artefact that was seen to be there.

use std::sync::PoisonError;
use std::time::Instant;

use bollard::Docker;

use super::super::cache::{Entry, Kind, Source, set_executable, stamp};
use super::super::error::SupplyError;
use super::images;
use super::job::{Job, Kit, Trouble};
use super::model::{Action, Recipe};
use super::{debian, languages, preload};
use crate::failure::Diagnose;
use crate::report::Step;

/// Makes the artefact of `recipe` and records it. The caller holds the recipe's lock, has what it needs, and has not
/// found it in the cache. Until the last moment an image goes by another name: nothing half-made is ever taken for it.
pub async fn make(
    kit: &Kit,
    docker: Option<&Docker>,
    recipe: &Recipe,
    step: &Step,
) -> Result<Entry, SupplyError> {
    let begun = Instant::now();
    let job = Job::begin(kit, docker, recipe, step).await?;
    let unfinished = format!("vadev.local/unfinished/{}:latest", recipe.name);
    for (index, action) in recipe.steps.iter().enumerate() {
        job.say(&format!(
            "step {} of {}: {}",
            index + 1,
            recipe.steps.len(),
            action.name()
        ));
        if let Err(Trouble(reason)) = act(&job, action, &unfinished).await {
            job.say(&reason);
            let error = SupplyError::Step {
                recipe: recipe.name.clone(),
                step: format!("{} of {} ({})", index + 1, recipe.steps.len(), action.name()),
                reason,
                tail: job.tail(),
                log: kit.cache.log(&recipe.name),
            };
            // The next attempt would clear it as well, but that may never come, and hundreds of MB may lie there.
            if let Err(remains) = job.end().await {
                step.reporter().warn(remains.to_string(), remains.hint());
            }
            return Err(error);
        }
    }
    let mut entry = Entry::new(&recipe.name, recipe.kind, &recipe.reference, Source::Packages);
    recipe.version.clone_into(&mut entry.version);
    entry.input = Some(kit.book.hash(&recipe.name).to_owned());
    match (recipe.kind, docker) {
        (Kind::Tool, _) => keep_tool(&job, &mut entry).await?,
        (Kind::Image, Some(docker)) => keep_image(kit, docker, &unfinished, &mut entry).await?,
        (Kind::Image, None) => {
            let reason = "an image needs the Docker engine".to_owned();
            return Err(SupplyError::InvalidRecipe {
                name: recipe.name.clone(),
                reason,
            });
        }
    }
    entry.layers = std::mem::take(&mut job.layers.lock().unwrap_or_else(PoisonError::into_inner));
    if let (Some(docker), Some(old)) = (docker, kit.cache.entry(&recipe.name)) {
        let mut unused = old.layers;
        unused.retain(|layer| !entry.layers.contains(layer));
        images::remove_layers(docker, &unused, false).await?;
    }
    job.end().await?;
    entry.seconds = begun.elapsed().as_secs_f64();
    kit.cache.record(&entry)?;
    Ok(entry)
}

async fn act(job: &Job<'_>, action: &Action, image: &str) -> Result<(), Trouble> {
    match action {
        Action::Go(step) => languages::go(job, step).await,
        Action::Maven(step) => languages::maven(job, step).await,
        Action::Javac(step) => languages::javac(job, step).await,
        Action::Pip(step) => languages::pip(job, step).await,
        Action::ModuleFile(step) => languages::module_file(job, step).await,
        Action::Toolchain(step) => languages::toolchain(job, step).await,
        Action::Debootstrap(step) => debian::debootstrap(job, step, image).await,
        Action::Build(step) => images::build(job, step, image).await,
        Action::Save(step) => images::save(job, step).await,
        Action::Preload(step) => preload::preload(job, step, image).await,
        Action::Agent(_) => {
            let path = job.path("vadev-agent")?;
            std::fs::write(&path, crate::agent::embedded::BINARY)
                .map_err(SupplyError::file("write", &path))?;
            set_executable(&path).map_err(Trouble::from)
        }
    }
}

async fn keep_tool(job: &Job<'_>, entry: &mut Entry) -> Result<(), SupplyError> {
    let built = job.context.join("out").join(&entry.reference);
    let (cache, name) = (job.kit.cache.clone(), entry.reference.clone());
    let kept = job.blocking(move || {
        let (digest, size) = cache.put_blob(&built)?;
        let path = cache.install(&digest, &name)?;
        Ok((digest, size, stamp(&path).map(|(_, written)| written)))
    });
    let (digest, size, written) = kept.await.map_err(|Trouble(reason)| SupplyError::InvalidRecipe {
        name: entry.name.clone(),
        reason: format!("its steps left no program `out/{}`: {reason}", entry.reference),
    })?;
    entry.digest = format!("sha256:{digest}");
    entry.size = size;
    entry.written = written;
    Ok(())
}

/// Gives the image its name and sees that the engine has it under that name, made of these inputs.
async fn keep_image(
    kit: &Kit,
    docker: &Docker,
    unfinished: &str,
    entry: &mut Entry,
) -> Result<(), SupplyError> {
    images::rename(docker, unfinished, &entry.reference).await?;
    let image = images::inspect(docker, &entry.reference).await?;
    let image = image.filter(|image| images::recipe_label(image) == Some(kit.book.hash(&entry.name)));
    let Some(image) = image else {
        let action = format!("show image {}", entry.reference);
        return Err(SupplyError::Engine {
            action,
            reason: "it is not there after its build".to_owned(),
        });
    };
    entry.digest = image.id.unwrap_or_default();
    entry.size = image
        .size
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default();
    Ok(())
}
