//! Steps that talk to the Docker engine: `build`, `save`, and the import of a root file system.

use std::collections::HashMap;
use std::path::Path;
use std::sync::PoisonError;

use bollard::models::{BuildInfo, ImageInspect};
use bollard::query_parameters::{
    BuildImageOptions, CreateImageOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions,
};
use bollard::{Docker, body_try_stream};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::super::docker::reason;
use super::super::error::SupplyError;
use super::job::{Job, RECIPE_LABEL, Trouble, make_parent};
use super::model::{Build, Save};

/// Bytes read from a file at once on their way to the engine.
const CHUNK: usize = 1 << 18;
/// Variables that tell programs of a proxy; the builder neither keeps nor shows build arguments of these names.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"];

/// Builds the work folder as `reference`.
pub async fn build(job: &Job<'_>, build: &Build, reference: &str) -> Result<(), Trouble> {
    let archive = job.scratch.join("context.tar");
    let (folder, target) = (job.context.clone(), archive.clone());
    job.blocking(move || pack(&folder, &target).map_err(SupplyError::file("pack", folder)))
        .await?;
    let mut args: HashMap<String, String> = build
        .args
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for name in PROXIES {
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            if let Ok(value) = std::env::var(&name) {
                args.entry(name).or_insert(value);
            }
        }
    }
    let options = BuildImageOptions {
        dockerfile: build.dockerfile.clone(),
        t: Some(reference.to_owned()),
        rm: true,
        forcerm: true,
        networkmode: build.network.clone(),
        buildargs: Some(args),
        labels: Some(labels(job)),
        ..Default::default()
    };
    let body = body_try_stream(read(&archive).await?);
    follow(job, job.docker()?.build_image(options, None, Some(body))).await
}

fn labels(job: &Job<'_>) -> HashMap<String, String> {
    let hash = job.kit.book.hash(&job.recipe.name).to_owned();
    HashMap::from([
        (RECIPE_LABEL.to_owned(), hash),
        ("dev.vadev.name".to_owned(), job.recipe.name.clone()),
        (
            "org.opencontainers.image.version".to_owned(),
            job.recipe.version.clone(),
        ),
    ])
}

fn pack(folder: &Path, target: &Path) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(std::io::BufWriter::new(std::fs::File::create(target)?));
    archive.follow_symlinks(false);
    archive.append_dir_all(".", folder)?;
    archive.into_inner()?.into_inner()?.sync_data()
}

async fn read(file: &Path) -> Result<ReaderStream<tokio::fs::File>, SupplyError> {
    let open = tokio::fs::File::open(file)
        .await
        .map_err(SupplyError::file("read", file))?;
    Ok(ReaderStream::with_capacity(open, CHUNK))
}

/// Shows what the engine's builder says, to its end.
async fn follow(
    job: &Job<'_>,
    stream: impl Stream<Item = Result<BuildInfo, bollard::errors::Error>>,
) -> Result<(), Trouble> {
    let mut stream = std::pin::pin!(stream);
    let mut partial = String::new();
    while let Some(info) = job.during(stream.next()).await {
        let info = info.map_err(|error| Trouble(last_cause(&error)))?;
        if let Some(message) = info.error_detail.and_then(|detail| detail.message) {
            return Err(Trouble(message));
        }
        // The builder passes output on in pieces that need not end with a line's end.
        partial.push_str(info.stream.as_deref().unwrap_or_default());
        while let Some(end) = partial.find('\n') {
            let line = &partial[..end];
            job.say(line);
            if let Some(id) = layer(line) {
                job.layers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(id.to_owned());
            }
            partial.drain(..=end);
        }
        if let Some(status) = info.status {
            job.say(&status);
        }
    }
    job.say(&partial);
    Ok(())
}

/// The layer's id in a line of the builder's that ends an instruction: ` ---> 0a4bf1cd1970`.
fn layer(line: &str) -> Option<&str> {
    let id = line.strip_prefix(" ---> ")?.trim_end();
    (id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

fn last_cause(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerStreamError { error } => error.clone(),
        other => reason(other),
    }
}

/// Imports a root file system's archive as `reference`.
pub async fn import(job: &Job<'_>, archive: &Path, reference: &str) -> Result<(), Trouble> {
    let (repo, tag) = split(reference);
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        changes: labels(job)
            .iter()
            .map(|(key, value)| format!("LABEL {key}={value:?}"))
            .collect(),
        ..Default::default()
    };
    let body = body_try_stream(read(archive).await?);
    let stream = job.docker()?.create_image(Some(options), Some(body), None);
    job.during(stream.try_for_each(|_| async { Ok(()) }))
        .await
        .map_err(|error| Trouble(last_cause(&error)))
}

/// Writes images into one archive.
pub async fn save(job: &Job<'_>, save: &Save) -> Result<(), Trouble> {
    let target = job.path(&save.to)?;
    make_parent(&target)?;
    let names: Vec<&str> = save.images.iter().map(String::as_str).collect();
    let mut stream = std::pin::pin!(job.docker()?.export_images(&names));
    let mut file = tokio::fs::File::create(&target)
        .await
        .map_err(SupplyError::file("write", &target))?;
    let mut bytes = 0_u64;
    while let Some(chunk) = job.during(stream.next()).await {
        let chunk = chunk.map_err(|error| Trouble(last_cause(&error)))?;
        file.write_all(&chunk)
            .await
            .map_err(SupplyError::file("write", &target))?;
        bytes += chunk.len() as u64;
    }
    file.flush().await.map_err(SupplyError::file("write", &target))?;
    job.say(&format!("saved {} images, {} MB", names.len(), bytes / 1_000_000));
    Ok(())
}

/// Repository and tag of a reference; the tag is `latest` where none is given.
pub fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repo, tag)) if !tag.contains('/') => (repo, tag),
        _ => (reference, "latest"),
    }
}

/// What the engine knows of an image; `None` where it has none of that name.
pub async fn inspect(docker: &Docker, reference: &str) -> Result<Option<ImageInspect>, SupplyError> {
    match docker.inspect_image(reference).await {
        Ok(image) => Ok(Some(image)),
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(SupplyError::engine(format!("inspect image {reference}"))(error)),
    }
}

/// Of which inputs an image was made, if a recipe made it.
pub fn recipe_label(image: &ImageInspect) -> Option<&str> {
    image
        .config
        .as_ref()?
        .labels
        .as_ref()?
        .get(RECIPE_LABEL)
        .map(String::as_str)
}

/// Gives the image `from` the name `to` and takes away its old name. An image that thereby loses its last name is removed
/// unless a container uses it.
pub async fn rename(docker: &Docker, from: &str, to: &str) -> Result<(), SupplyError> {
    let replaced = inspect(docker, to).await?.and_then(|image| image.id);
    let (repo, tag) = split(to);
    let options = TagImageOptions {
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
    };
    docker
        .tag_image(from, Some(options))
        .await
        .map_err(SupplyError::engine(format!("tag image {to}")))?;
    remove(docker, from).await?;
    if let Some(id) = replaced
        && inspect(docker, &id)
            .await?
            .is_some_and(|image| image.repo_tags.is_none_or(|tags| tags.is_empty()))
    {
        // Kept by the engine while a container or another image needs it, which is right.
        let _ = remove(docker, &id).await;
    }
    Ok(())
}

/// Removes a name of an image, and the image where that was its last one. One that is not there counts as removed.
pub async fn remove(docker: &Docker, reference: &str) -> Result<(), SupplyError> {
    match docker
        .remove_image(reference, None::<RemoveImageOptions>, None)
        .await
    {
        Ok(_) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(SupplyError::engine(format!("remove image {reference}"))(error)),
    }
}

/// Removes those of `layers` (ids) that no image needs any more. The newest goes first: the older ones it was made of may
/// then go with it. Returns the bytes they took.
pub async fn remove_layers(docker: &Docker, layers: &[String], dry_run: bool) -> Result<u64, SupplyError> {
    let mut bytes = 0;
    for id in layers.iter().rev().filter(|id| !id.is_empty()) {
        let Some(image) = inspect(docker, id).await? else {
            continue;
        };
        if image.repo_tags.is_some_and(|tags| !tags.is_empty()) {
            continue;
        }
        // The engine refuses while another image is made of it.
        if dry_run || remove(docker, id).await.is_ok() {
            bytes = bytes.max(
                image
                    .size
                    .and_then(|size| u64::try_from(size).ok())
                    .unwrap_or_default(),
            );
        }
    }
    Ok(bytes)
}

/// Id and size of every image that a recipe made, with its names.
pub async fn made_by_recipes(docker: &Docker) -> Result<Vec<bollard::models::ImageSummary>, SupplyError> {
    let filters = HashMap::from([("label".to_owned(), vec![RECIPE_LABEL.to_owned()])]);
    let options = ListImagesOptions {
        filters: Some(filters),
        ..Default::default()
    };
    docker
        .list_images(Some(options))
        .await
        .map_err(SupplyError::engine("list images"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_from_remarks() {
        assert_eq!(layer(" ---> 0a4bf1cd1970"), Some("0a4bf1cd1970"));
        for line in [
            " ---> ",
            " ---> Using cache",
            " ---> Running in 0a4bf1cd1970",
            "Step 1/2 : FROM scratch",
        ] {
            assert_eq!(layer(line), None, "{line}");
        }
    }

    #[test]
    fn references_are_split_at_the_tag_and_not_at_the_port() {
        assert_eq!(
            split("vadev.local/istio/pilot:1.31.0"),
            ("vadev.local/istio/pilot", "1.31.0")
        );
        assert_eq!(split("localhost:5000/redis"), ("localhost:5000/redis", "latest"));
    }
}
