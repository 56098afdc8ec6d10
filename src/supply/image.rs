//! An image for a component, from the first source that has it: what is there already, a container registry, a bundle
//! file, packages.

use super::cache::{Entry, Kind, Source};
use super::pulse::Pulse;
use super::recipe::{Recipe, images};
use super::{Supply, SupplyError, registry};
use crate::failure::Diagnose;
use crate::report::Step;

/// Which sources may be used.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSource {
    /// What is there, else a registry if one answers, else the bundle if one is given, else packages.
    #[default]
    Auto,
    /// Official images from container registries, and tools from their projects' releases, only.
    Registry,
    /// The bundle file only.
    Bundle,
    /// Built from packages only.
    Packages,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRequest {
    /// The component, for messages and the index.
    pub component: String,
    /// The official image's reference, if there is one.
    pub official: Option<String>,
    /// The recipe that makes an equivalent one from packages, if there is one.
    pub recipe: Option<String>,
}

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Supplied {
    /// The reference to deploy.
    pub reference: String,
    /// Where it came from.
    pub source: Source,
    /// `sha256:<hex>`: the repository digest of a pulled image, else the image's id.
    pub digest: String,
    /// Bytes, unpacked.
    pub size: u64,
}

impl From<Entry> for Supplied {
    fn from(entry: Entry) -> Self {
        Self {
            reference: entry.reference,
            source: entry.source,
            digest: entry.digest,
            size: entry.size,
        }
    }
}

impl Supply {
    /// The image for a component. When this returns, the engine has it. `step` shows the progress; parts of the work that
    /// deserve a line of their own become its children.
    pub async fn image(&self, request: &ImageRequest, step: &Step) -> Result<Supplied, SupplyError> {
        let pulse = Pulse::new(step);
        pulse.during(self.find_image(request, step)).await
    }

    /// Whether the options let a source be used.
    pub(super) fn allows(&self, source: ImageSource) -> bool {
        [ImageSource::Auto, source].contains(&self.options.source)
    }

    /// The official reference and the recipe of a request, each where its source may be used.
    pub(super) fn candidates<'a>(&self, request: &'a ImageRequest) -> (Option<&'a str>, Option<&'a str>) {
        let official = request.official.as_deref();
        let recipe = request.recipe.as_deref();
        let carried = |name: &str| self.kit.book.recipe(name).is_ok_and(Recipe::is_carried);
        (
            official.filter(|_| self.allows(ImageSource::Registry)),
            recipe.filter(|name| self.allows(ImageSource::Packages) || carried(name)),
        )
    }

    /// What the engine has already for a request, current.
    pub(super) async fn here(&self, request: &ImageRequest) -> Result<Option<Entry>, SupplyError> {
        let (official, recipe) = self.candidates(request);
        if let Some(official) = official
            && let Some(entry) = self.pulled(&request.component, official).await?
        {
            return Ok(Some(entry));
        }
        match recipe {
            Some(recipe) => self.present(recipe).await,
            None => Ok(None),
        }
    }

    async fn find_image(&self, request: &ImageRequest, step: &Step) -> Result<Supplied, SupplyError> {
        let (official, recipe) = self.candidates(request);
        if let Some(entry) = self.here(request).await? {
            return Ok(entry.into());
        }
        let allowed = |source: ImageSource| self.allows(source);
        let mut tried = Vec::new();
        if let Some(official) = official {
            match self.pull(&request.component, official, step).await {
                Ok(entry) => return Ok(entry.into()),
                Err(error) => tried.push(format!("registry: {error}")),
            }
        }
        if let Some(bundle) = self
            .options
            .bundle
            .as_deref()
            .filter(|_| allowed(ImageSource::Bundle))
        {
            match self.image_from_bundle(bundle, request, step).await {
                Ok(Some(entry)) => return Ok(entry.into()),
                Ok(None) => tried.push(format!("bundle: {} does not contain it", bundle.display())),
                // A bundle that was asked for and is broken is not to be passed over.
                Err(error) => return Err(error),
            }
        }
        match recipe {
            Some(recipe) => match self.ensure(recipe, step).await {
                Ok(entry) => return Ok(entry.into()),
                Err(error) if tried.is_empty() => return Err(SupplyError::Shared(error)),
                // The build's own error says more than a list could; the registry's reason goes ahead of it.
                Err(error) if error.family() != crate::failure::Family::Usage => {
                    step.progress(tried.join("; "));
                    return Err(SupplyError::Shared(error));
                }
                Err(error) => tried.push(format!("packages: {error}")),
            },
            None if allowed(ImageSource::Packages) => {
                tried.push("packages: there is no recipe for it".to_owned());
            }
            None => {}
        }
        if request.official.is_none() && recipe.is_none() && self.options.source == ImageSource::Registry {
            tried.push("registry: it has no official image".to_owned());
        }
        if self.options.bundle.is_none() && self.options.source == ImageSource::Bundle {
            tried.push("bundle: no file is given, use --bundle FILE".to_owned());
        }
        Err(SupplyError::NoSource {
            name: request.component.clone(),
            tried,
        })
    }

    /// The official image, if the engine has it already.
    async fn pulled(&self, component: &str, official: &str) -> Result<Option<Entry>, SupplyError> {
        let Some(image) = images::inspect(self.docker().await?, official).await? else {
            return Ok(None);
        };
        let mut entry = Entry::new(component, Kind::Image, official, Source::Registry);
        images::split(official).1.clone_into(&mut entry.version);
        let repository = image
            .repo_digests
            .unwrap_or_default()
            .into_iter()
            .find_map(|digest| digest.split_once('@').map(|(_, digest)| digest.to_owned()));
        entry.digest = repository.or(image.id).unwrap_or_default();
        entry.size = image
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default();
        Ok(Some(entry))
    }

    async fn pull(&self, component: &str, official: &str, step: &Step) -> Result<Entry, SupplyError> {
        let docker = self.docker().await?;
        self.registries.reachable(docker, official).await?;
        let _lock = self
            .kit
            .cache
            .lock(&format!("pull-{}", component.replace('/', "_")), step)
            .await?;
        if let Some(entry) = self.pulled(component, official).await? {
            return Ok(entry);
        }
        let before = self.kit.cache.entry(component);
        let begun = std::time::Instant::now();
        registry::pull(docker, official, step).await?;
        let Some(mut entry) = self.pulled(component, official).await? else {
            let action = format!("pull {official}");
            return Err(SupplyError::Engine {
                action,
                reason: "it is not there afterwards".to_owned(),
            });
        };
        if let Some((_, pinned)) = official.split_once('@')
            && entry.digest != pinned
        {
            let (subject, expected) = (official.to_owned(), pinned.to_owned());
            return Err(SupplyError::Digest {
                subject,
                expected,
                found: entry.digest,
            });
        }
        if let Some(word) = before.and_then(|before| moved(&before, &entry)) {
            step.reporter().warn(
                word,
                Some(format!(
                    "to stay with one, name it with its digest: {official}@{}",
                    entry.digest
                )),
            );
        }
        entry.seconds = begun.elapsed().as_secs_f64();
        self.kit.cache.record(&entry)?;
        Ok(entry)
    }
}

/// Says that a tag means another image than when it was pulled before. No refusal: tags of official images move with every
/// security update, and where one must not, a digest says so.
fn moved(before: &Entry, now: &Entry) -> Option<String> {
    let comparable = before.source == Source::Registry && before.reference == now.reference;
    (comparable && before.digest != now.digest).then(|| {
        format!(
            "{} is another image than before: {}, and was {}",
            now.reference, now.digest, before.digest
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supply::Options;

    #[test]
    fn a_tag_that_has_moved_is_told() {
        let pulled = |reference: &str, digest: &str| {
            let mut entry = Entry::new("redis", Kind::Image, reference, Source::Registry);
            digest.clone_into(&mut entry.digest);
            entry
        };
        let (first, second) = (pulled("redis:7", "sha256:1"), pulled("redis:7", "sha256:2"));
        assert_eq!(moved(&first, &first), None);
        let word = moved(&first, &second).unwrap();
        assert!(word.contains("sha256:1") && word.contains("sha256:2"), "{word}");
        assert_eq!(moved(&pulled("redis:6", "sha256:1"), &second), None);
        let built = Entry {
            source: Source::Packages,
            ..first
        };
        assert_eq!(
            moved(&built, &second),
            None,
            "an image of vadev's own has an id of its own"
        );
    }

    #[test]
    fn what_vadev_carries_is_allowed_under_every_source() {
        let folder = tempfile::tempdir().unwrap();
        let request = |official: Option<&str>, recipe: &str| ImageRequest {
            component: recipe.to_owned(),
            official: official.map(str::to_owned),
            recipe: Some(recipe.to_owned()),
        };
        let (agent, redis) = (request(None, "agent"), request(Some("redis:7"), "redis"));
        for (source, expected) in [
            (ImageSource::Auto, (Some("redis:7"), Some("redis"))),
            (ImageSource::Registry, (Some("redis:7"), None)),
            (ImageSource::Bundle, (None, None)),
            (ImageSource::Packages, (None, Some("redis"))),
        ] {
            let options = Options {
                source,
                cache: Some(folder.path().to_owned()),
                ..Options::default()
            };
            let supply = Supply::open(options).unwrap();
            assert_eq!(supply.candidates(&redis), expected, "{source:?}");
            assert_eq!(supply.candidates(&agent), (None, Some("agent")), "{source:?}");
        }
    }
}
