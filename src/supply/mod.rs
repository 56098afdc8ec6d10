//! Where tools and images come from: the cache, a container registry, a bundle file, or packages.
//!
//! [`Supply`] is the door to the room. Images are asked for with [`Supply::image`], tools with [`Supply::tool`]; both first
//! look at what is there already. Tools never come as release downloads: `go.sum` pins what is compiled, whereas the
//! digest of a download could not be known to this project's own machines, which reach no release server.

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
pub use resolve::Resolved;

use cache::{Cache, Entry};
use host::{Host, Program};
use pulse::Pulse;
use recipe::{Book, Kit, Recipe};
use registry::Registries;

use crate::report::Step;

/// Builds that may go on side by side: two linkers of Kubernetes' size are what a laptop's memory bears.
const SIDE_BY_SIDE: usize = 2;

/// How long a program may take to tell its version.
const TELLS_VERSION: std::time::Duration = std::time::Duration::from_secs(10);

/// What makes a tool tell its version without asking a cluster.
fn version_args(name: &str) -> &'static [&'static str] {
    match name {
        "istioctl" => &["version", "--remote=false"],
        _ => &["version"],
    }
}

/// Whether a program's answer has exactly this version in it, and neither a candidate for it nor a variant of it.
fn tells(answer: &str, version: &str) -> bool {
    let bare = version.trim_start_matches('v');
    answer
        .split_whitespace()
        .any(|word| word.trim_start_matches('v') == bare)
}

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
        if self.present(name).await?.is_some() || self.on_path(name).await?.is_some() {
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
    /// of exactly the recipe's version, or is compiled. The path stays valid for this run.
    pub async fn tool(&self, name: &str, step: &Step) -> Result<PathBuf, SupplyError> {
        let recipe = self.kit.book.recipe(name)?;
        if recipe.kind != Kind::Tool {
            let reason = "it makes an image, not a tool".to_owned();
            return Err(SupplyError::InvalidRecipe {
                name: name.to_owned(),
                reason,
            });
        }
        if let Some(bundle) = &self.options.bundle
            && self.present(name).await?.is_none()
            && let Some(entry) = self.tool_from_bundle(bundle, name, step).await?
        {
            return Ok(self.kit.cache.bin(&entry.reference));
        }
        if self.present(name).await?.is_none()
            && let Some(program) = self.on_path(name).await?
        {
            return Ok(program);
        }
        let pulse = Pulse::new(step);
        let entry = pulse
            .during(self.ensure(name, step))
            .await
            .map_err(SupplyError::Shared)?;
        Ok(self.kit.cache.bin(&entry.reference))
    }

    /// The tool `name` on PATH, if it is of exactly the version that the recipe would make. Whether it is, it says itself: the
    /// user chose it, and calls it too.
    async fn on_path(&self, name: &str) -> Result<Option<PathBuf>, SupplyError> {
        let recipe = self.kit.book.recipe(name)?;
        let Ok(program) = which::which(name) else {
            return Ok(None);
        };
        let asked = process::Command::new(&program)
            .args(version_args(name))
            .deadline(TELLS_VERSION)
            .output()
            .await;
        // One that does not even tell its version is not used, and vadev's own is made.
        Ok(asked
            .is_ok_and(|output| tells(&output.text(), &recipe.version))
            .then_some(program))
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

#[cfg(test)]
mod tests {
    use super::tells;

    #[test]
    fn only_the_very_version_will_do() {
        assert!(tells("kind v0.33.0 go1.26.8 linux/amd64", "v0.33.0"));
        assert!(tells("client version: 1.31.0", "1.31.0"));
        for other in [
            "client version: 1.31.0-rc.1",
            "kind v0.33.0-alpha+1a2b go1.26.8",
            "1.31.01",
            "",
        ] {
            assert!(!tells(other, "1.31.0") && !tells(other, "v0.33.0"), "{other}");
        }
    }
}
