//! Where tools and images come from: the cache, a container registry or release download, a bundle file, or packages.
//!
//! [`Supply`] is the door to the room. Images are asked for with [`Supply::image`], tools with [`Supply::tool`]; both first
//! look at what is there already.

mod brought;
mod build;
mod bundle;
pub mod cache;
pub mod compose;
mod credentials;
pub mod docker;
pub mod doctor;
pub mod engine;
mod error;
pub mod host;
mod image;
mod list;
pub mod machine;
pub mod process;
mod prune;
pub mod pulse;
mod push;
pub mod recipe;
mod registry;
mod release;
mod resolve;
pub mod tools;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bollard::Docker;
use tokio::sync::{OnceCell, Semaphore};

pub use cache::{Kind, Source};
pub use credentials::credentials;
pub use error::SupplyError;
pub use image::{ImageRequest, ImageSource, Supplied};
pub use list::{ListRow, State};
pub use prune::{PruneOptions, PrunedRow};
pub use push::push;
pub use recipe::recipe_names;
pub use resolve::Resolved;

use cache::{Cache, Entry};
use host::{Host, Program};
use pulse::Pulse;
use recipe::{Book, Kit, Recipe};
use registry::Registries;

use crate::report::Step;

/// Builds that may go on side by side: two linkers of Kubernetes' size are what a laptop's memory bears.
const SIDE_BY_SIDE: usize = 2;

/// Asked before anything is installed on the machine; gives the user's answer to the question.
pub type Consent = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a [`Supply`] goes about it.
#[derive(Clone)]
pub struct Options {
    /// Which sources may be used.
    pub source: ImageSource,
    /// The bundle file of `--bundle`.
    pub bundle: Option<PathBuf>,
    /// Asked before programs are installed.
    pub consent: Consent,
    /// The cache's folder, where it is not the usual one.
    pub cache: Option<PathBuf>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("source", &self.source)
            .field("bundle", &self.bundle)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    /// Every source, the usual cache, and no consent to anything.
    fn default() -> Self {
        Self {
            source: ImageSource::Auto,
            bundle: None,
            consent: Arc::new(|_| false),
            cache: None,
        }
    }
}

type Made = Arc<OnceCell<Result<Entry, Arc<SupplyError>>>>;

/// The supply of one run of vadev. Methods take `&self` and may be called side by side; the same thing asked for twice is
/// made once.
#[derive(Debug)]
pub struct Supply {
    options: Options,
    kit: Kit,
    docker: OnceCell<Docker>,
    registries: Registries,
    slots: Semaphore,
    preparing: tokio::sync::Mutex<()>,
    made: Mutex<HashMap<String, Made>>,
}

impl Supply {
    /// Opens the cache and reads the recipes. The Docker engine is connected to when it is first needed.
    pub fn open(options: Options) -> Result<Self, SupplyError> {
        let cache = match &options.cache {
            Some(folder) => Cache::at(folder)?,
            None => Cache::open()?,
        };
        let kit = Kit {
            cache,
            book: Book::embedded()?,
            host: Host::default(),
        };
        Ok(Self {
            options,
            kit,
            docker: OnceCell::new(),
            registries: Registries::default(),
            slots: Semaphore::new(SIDE_BY_SIDE),
            preparing: tokio::sync::Mutex::new(()),
            made: Mutex::new(HashMap::new()),
        })
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.kit.cache
    }

    /// A reference with the digest that its registry knows it by; `None` where the registry cannot be reached or has no such
    /// image.
    pub async fn digest(&self, reference: &str) -> Result<Option<String>, SupplyError> {
        let docker = self.docker().await?;
        if self.registries.reachable(docker, reference).await.is_err() {
            return Ok(None);
        }
        let login = credentials(reference).await?;
        let told = docker.inspect_registry_image(reference, login).await.ok();
        let digest = told.and_then(|told| told.descriptor.digest);
        Ok(digest.map(|digest| format!("{reference}@{digest}")))
    }

    /// The recipes.
    pub fn book(&self) -> &Book {
        &self.kit.book
    }

    /// The engine.
    pub async fn docker(&self) -> Result<&Docker, SupplyError> {
        self.docker
            .get_or_try_init(|| async { Ok(docker::connect().await?) })
            .await
    }

    /// Why the tool `name` has to be made; `None` where the cache has a current one.
    pub async fn tool_cause(&self, name: &str) -> Result<Option<String>, SupplyError> {
        if self.present(name).await?.is_some() || brought::on_path(name).await.is_some() {
            return Ok(None);
        }
        self.cause(name, None).await.map(Some)
    }

    /// Where the tool `name` is most likely: in the cache, else on PATH. Nothing is made, and its version is not asked for.
    pub fn program(&self, name: &str) -> PathBuf {
        let kept = self.kit.cache.bin(name);
        if kept.is_file() {
            return kept;
        }
        which::which(name).unwrap_or(kept)
    }

    /// The tool `name` (`kind`, `istioctl`). Where the cache has no current one, it comes from the bundle, or is one on PATH
    /// of a supported version, or its project's release, or is compiled, as far as the options allow each. The path stays
    /// valid for this run.
    pub async fn tool(&self, name: &str, step: &Step) -> Result<PathBuf, SupplyError> {
        let recipe = self.kit.book.recipe(name)?;
        if recipe.kind != Kind::Tool {
            let reason = "it makes an image, not a tool".to_owned();
            return Err(SupplyError::InvalidRecipe {
                name: name.to_owned(),
                reason,
            });
        }
        let kept = |entry: &Entry| self.kit.cache.bin(&entry.reference);
        if let Some(entry) = self.present(name).await? {
            return Ok(kept(&entry));
        }
        let mut tried = Vec::new();
        let bundle = self.options.bundle.as_deref();
        if let Some(bundle) = bundle.filter(|_| self.allows(ImageSource::Bundle)) {
            if let Some(entry) = self.tool_from_bundle(bundle, name, step).await? {
                return Ok(kept(&entry));
            }
            tried.push(format!("bundle: {} does not contain it", bundle.display()));
        }
        if let Some(found) = brought::on_path(name).await {
            return Ok(found.path);
        }
        let pulse = Pulse::new(step);
        if self.allows(ImageSource::Registry) {
            match pulse.during(self.released(recipe, step)).await {
                Ok(Some(entry)) => return Ok(kept(&entry)),
                Ok(None) => tried.push("release: there is none of it".to_owned()),
                Err(error) => tried.push(format!("release: {error}")),
            }
        }
        if !self.allows(ImageSource::Packages) {
            return Err(SupplyError::NoSource {
                name: name.to_owned(),
                tried,
            });
        }
        let entry = pulse
            .during(self.ensure(name, step))
            .await
            .map_err(SupplyError::Shared)?;
        Ok(kept(&entry))
    }

    /// Sees to it that the programs are there which making `names` (recipes) will call, so that a missing one is told
    /// before the first minutes are spent. What is made already needs none.
    pub async fn preflight(&self, names: &[&str], step: &Step) -> Result<(), SupplyError> {
        let programs = self
            .outstanding(names)
            .await?
            .into_iter()
            .flat_map(Program::of)
            .collect();
        self.prepare(&programs, step).await
    }

    /// The recipes that have to be carried out so that `names` are there, each after what it needs. Their `seconds` add up
    /// to what it takes at worst.
    pub async fn outstanding(&self, names: &[&str]) -> Result<Vec<&Recipe>, SupplyError> {
        let mut open: Vec<&str> = names.to_vec();
        let mut missing = BTreeSet::new();
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            let recipe = self.kit.book.recipe(name)?;
            if seen.insert(&recipe.name) && self.present(&recipe.name).await?.is_none() {
                missing.insert(&recipe.name);
                open.extend(recipe.needs.iter().map(String::as_str));
            }
        }
        let mut order = self.kit.book.closure(names)?;
        order.retain(|recipe| missing.contains(&recipe.name));
        Ok(order)
    }

    async fn prepare(&self, programs: &BTreeSet<Program>, step: &Step) -> Result<(), SupplyError> {
        // Two questions at once, or two apt-gets, would be one too many.
        let _turn = self.preparing.lock().await;
        self.kit
            .host
            .prepare(&self.kit.cache, programs, self.options.consent.as_ref(), step)
            .await
    }

    fn cell(&self, name: &str) -> Made {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry(name.to_owned()).or_default())
    }
}
