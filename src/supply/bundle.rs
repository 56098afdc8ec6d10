//! Bundles: one file with images and tools, made where they are and used where neither registries nor packages can be
//! reached.
//!
//! A bundle is a tar archive. Its first member, `manifest.json`, lists the others with their SHA-256; the others are
//! `images/<name>.tar` in the format of `docker save`, and `tools/<name>`.

mod archive;

use std::path::Path;

use archive::{Member, bad, extract_member, read_manifest, write_archive};
use bollard::body_try_stream;
use bollard::query_parameters::ImportImageOptions;
use futures::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::cache::{Entry, Kind, Source, stamp};
use super::docker::reason;
use super::image::ImageRequest;
use super::pulse::Pulse;
use super::recipe::images;
use super::{Supply, SupplyError};
use crate::report::Step;

impl Supply {
    /// Writes a bundle of everything that is there, or of `names` only. Returns what went into it.
    pub async fn create_bundle(
        &self,
        file: &Path,
        names: &[&str],
        step: &Step,
    ) -> Result<Vec<Entry>, SupplyError> {
        let mut entries = Vec::new();
        for name in names {
            let known = match self.kit.book.recipe(name) {
                Ok(_) => self.present(name).await?,
                Err(_) => self.kit.cache.entry(name),
            };
            entries.push(known.ok_or_else(|| SupplyError::NoSource {
                name: (*name).to_owned(),
                tried: vec!["it is not here yet: `vadev supply build` makes it".to_owned()],
            })?);
        }
        if names.is_empty() {
            for row in self
                .list()
                .await?
                .into_iter()
                .filter(|row| row.state == super::State::Present)
            {
                let present = match self.kit.book.recipe(&row.name) {
                    Ok(_) => self.present(&row.name).await?,
                    Err(_) => self.kit.cache.entry(&row.name),
                };
                entries.extend(present);
            }
        }
        if entries.is_empty() {
            return Err(SupplyError::EmptyBundle);
        }
        // Beside the target: the parts are as large as the bundle, and other file systems may be small.
        let folder = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let scratch = tempfile::Builder::new()
            .prefix(".vadev-bundle-")
            .tempdir_in(folder)
            .map_err(SupplyError::file("write to", folder))?;
        let mut members = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            step.progress(format!(
                "{} ({} of {})",
                entry.reference,
                index + 1,
                entries.len()
            ));
            let part = scratch.path().join(index.to_string());
            let path = match entry.kind {
                Kind::Image => {
                    self.save_image(&entry.reference, &part, step).await?;
                    format!("images/{index}.tar")
                }
                Kind::Tool => {
                    let tool = self.kit.cache.bin(&entry.reference);
                    std::fs::copy(&tool, &part).map_err(SupplyError::file("read", tool))?;
                    format!("tools/{}", entry.reference)
                }
            };
            members.push((
                part,
                Member {
                    path,
                    sha256: String::new(),
                    entry: entry.clone(),
                },
            ));
        }
        step.progress("writing the bundle");
        let (target, scratch_path) = (file.to_owned(), scratch.path().join("bundle"));
        let write = move || {
            write_archive(members, &scratch_path)?;
            std::fs::rename(&scratch_path, &target).map_err(SupplyError::file("write", target))
        };
        Pulse::new(step).during(blocking(write)).await?;
        Ok(entries)
    }

    async fn save_image(&self, reference: &str, part: &Path, step: &Step) -> Result<(), SupplyError> {
        let pulse = Pulse::new(step);
        let mut stream = std::pin::pin!(self.docker().await?.export_image(reference));
        let mut out = tokio::fs::File::create(part)
            .await
            .map_err(SupplyError::file("write", part))?;
        let mut bytes = 0;
        while let Some(chunk) = pulse.during(stream.next()).await {
            let chunk = chunk.map_err(SupplyError::engine(format!("export {reference}")))?;
            out.write_all(&chunk)
                .await
                .map_err(SupplyError::file("write", part))?;
            bytes += chunk.len();
            pulse.tell(&format!("{reference} · {} MB", bytes / 1_000_000));
        }
        out.flush().await.map_err(SupplyError::file("write", part))
    }

    /// The image out of a bundle; `None` where the bundle has none that fits.
    pub(super) async fn image_from_bundle(
        &self,
        bundle: &Path,
        request: &ImageRequest,
        step: &Step,
    ) -> Result<Option<Entry>, SupplyError> {
        let fits = |entry: &Entry| self.fits(request, entry);
        let Some((member, part)) = self.extract(bundle, fits, step).await? else {
            return Ok(None);
        };
        let docker = self.docker().await?;
        let open = tokio::fs::File::open(part.path())
            .await
            .map_err(SupplyError::file("read", part.path()))?;
        let body = body_try_stream(ReaderStream::with_capacity(open, 1 << 18));
        let load = docker.import_image(ImportImageOptions::default(), body, None);
        let loaded = Pulse::new(step)
            .during(load.try_for_each(|_| async { Ok(()) }))
            .await;
        loaded
            .map_err(|error| bad(bundle)(format!("{} cannot be loaded: {}", member.path, reason(&error))))?;
        let Some(image) = images::inspect(docker, &member.entry.reference).await? else {
            return Err(bad(bundle)(format!(
                "{} does not contain {}",
                member.path, member.entry.reference
            )));
        };
        let mut entry = member.entry;
        entry.source = Source::Bundle;
        entry.digest = image.id.unwrap_or_default();
        entry.name = request
            .recipe
            .clone()
            .unwrap_or_else(|| request.component.clone());
        self.kit.cache.record(&entry)?;
        Ok(Some(entry))
    }

    /// The reference of the image that [`Self::image_from_bundle`] would bring.
    pub(super) async fn in_bundle(
        &self,
        bundle: &Path,
        request: &ImageRequest,
    ) -> Result<Option<String>, SupplyError> {
        let path = bundle.to_owned();
        let manifest = blocking(move || read_manifest(&path)).await?;
        let mut members = manifest.members.into_iter().map(|member| member.entry);
        Ok(members
            .find(|entry| self.fits(request, entry))
            .map(|entry| entry.reference))
    }

    /// Whether an artefact of a bundle is what a request wants. One that was made of another version of the recipe is not.
    fn fits(&self, request: &ImageRequest, entry: &Entry) -> bool {
        let official = request.official.as_deref() == Some(entry.reference.as_str());
        let made = request.recipe.as_deref().is_some_and(|recipe| {
            recipe == entry.name && entry.input.as_deref() == Some(self.kit.book.hash(recipe))
        });
        entry.kind == Kind::Image && (official || made)
    }

    /// The tool of the recipe `name` out of a bundle, if it has one made of the same recipe.
    pub(super) async fn tool_from_bundle(
        &self,
        bundle: &Path,
        name: &str,
        step: &Step,
    ) -> Result<Option<Entry>, SupplyError> {
        let hash = self.kit.book.hash(name);
        let fits = |e: &Entry| e.kind == Kind::Tool && e.name == name && e.input.as_deref() == Some(hash);
        let Some((member, part)) = self.extract(bundle, fits, step).await? else {
            return Ok(None);
        };
        let (digest, _) = self.kit.cache.put_blob(part.path())?;
        let path = self.kit.cache.install(&digest, &member.entry.reference)?;
        let mut entry = member.entry;
        entry.source = Source::Bundle;
        entry.digest = format!("sha256:{digest}");
        entry.written = stamp(&path).map(|(_, written)| written);
        self.kit.cache.record(&entry)?;
        Ok(Some(entry))
    }

    /// Copies the first member that fits into a file of its own, checking its digest.
    async fn extract(
        &self,
        bundle: &Path,
        fits: impl Fn(&Entry) -> bool,
        step: &Step,
    ) -> Result<Option<(Member, tempfile::NamedTempFile)>, SupplyError> {
        let path = bundle.to_owned();
        let manifest = blocking(move || read_manifest(&path)).await?;
        let Some(member) = manifest.members.into_iter().find(|member| fits(&member.entry)) else {
            return Ok(None);
        };
        step.progress(format!(
            "reading {} from {}",
            member.entry.reference,
            bundle.display()
        ));
        let (path, wanted, scratch) = (
            bundle.to_owned(),
            member.clone(),
            self.kit.cache.root().join("work"),
        );
        let part = Pulse::new(step)
            .during(blocking(move || extract_member(&path, &wanted, &scratch)))
            .await?;
        Ok(Some((member, part)))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SupplyError> + Send + 'static,
) -> Result<T, SupplyError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(SupplyError::NoCache(error.to_string())),
    }
}
