//! The ways of images, for one service of a session: a layer over the last build, or a build.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::decide::Way;
use super::layering::{Layering, layering};
use super::ledger::{Stages, millis};
use super::origin::Origin;
use super::replicas::Replicas;
use super::same::{Settled, same};
use super::source::Source;
use super::swap::{Attend, Early};
use super::watch;
use crate::engine::builds::{self, FromSource};
use crate::engine::deliver::Delivery;
use crate::engine::develop;
use crate::engine::record::{self, Made, Record, Role};
use crate::failure::{Failure, Family, Plain};
use crate::image::{Base, Context, Listing, Overlay, OverlayKind, Overlays};
use crate::profile::stack::SizedService;
use crate::report::Step;

/// A newer save takes over from a version that has been starting for this long and does not answer.
const TURN: Duration = Duration::from_secs(5);
/// The longest wait for the service's own answer, once the kubelet has had one.
const ANSWER: Duration = Duration::from_secs(10);

/// What came of it.
pub enum Delivered {
    /// The pods run it: so many were changed.
    Served(usize),
    /// It is built, and runs another command than the pods' template says: they have to be planned anew.
    Replan,
    /// This way cannot do it.
    NotThisWay(String),
}

/// An image with a layer of changes, how long it took to ship, and what it is made of.
type Layered = (Made, Duration, Option<Listing>);

/// Images of one service.
pub struct Images<'a> {
    delivery: &'a Delivery<'a>,
    sized: &'a SizedService,
    /// Paths below the source that differ from the last build.
    changed: StdMutex<BTreeSet<String>>,
    /// What layers are put on, read once a build.
    base: Mutex<Option<Arc<Base>>>,
    /// `changed` is all that lies between the last build and what runs: no earlier session has put a layer over it.
    complete: AtomicBool,
    /// Since when all pods run what is remembered of them.
    settled: StdMutex<Settled>,
}

/// A session that attends a swap.
struct Attending<'r> {
    origin: &'r Origin,
    replicas: &'r Replicas,
    newer: &'r AtomicBool,
}

impl Attend for Attending<'_> {
    fn early(&self, pod: &str, since: tokio::time::Instant) -> Option<Early> {
        if let Some(why) = self.replicas.down(pod, since.into_std()) {
            return Some(Early::Down(why));
        }
        (since.elapsed() > TURN && self.newer.load(Ordering::SeqCst)).then_some(Early::Newer)
    }

    fn goes_back(&self) {
        self.origin.hold(true);
    }
}

impl<'a> Images<'a> {
    /// Of a service.
    pub fn new(delivery: &'a Delivery<'a>, sized: &'a SizedService) -> Self {
        Self {
            delivery,
            sized,
            changed: StdMutex::default(),
            base: Mutex::default(),
            complete: AtomicBool::new(false),
            settled: StdMutex::default(),
        }
    }

    /// Whether what runs was made of another source than what is there now. Not where nothing is known of it.
    ///
    /// # Errors
    /// The source cannot be read, or Docker cannot be asked.
    pub async fn is_behind(&self) -> Result<bool, Failure> {
        let Some(source) = builds::prepare(self.delivery.platform, self.sized).await? else {
            return Ok(false);
        };
        if source.current_serving().is_some() {
            let mut settled = self.settled();
            if *settled == Settled::Unknown {
                *settled = Settled::Since(Instant::now());
            }
            return Ok(false);
        }
        Ok(source.record.serving.is_some())
    }

    /// Those of `paths` that the image which runs has as they are, in a change that began at `begun`.
    pub async fn has(&self, paths: BTreeSet<String>, begun: Instant) -> BTreeSet<String> {
        let (platform, name) = (self.delivery.platform, &self.sized.service.name);
        let state = &platform.options.state;
        let settled = *self.settled();
        let serving = Record::read(state, name)
            .serving
            .filter(|_| settled.before(begun));
        let listing = serving.and_then(|made| record::listing(state, name, &made.inputs));
        let (Some(listing), Some(folder)) = (listing, builds::source(platform, self.sized)) else {
            return BTreeSet::new();
        };
        // Without a Dockerfile there is nothing to compare with, and the build says so.
        let Ok(context) = Context::open(&folder, self.sized.workspace.dockerfile.as_deref()) else {
            return BTreeSet::new();
        };
        let reading = tokio::task::spawn_blocking(move || same(&context, &listing, paths));
        reading.await.unwrap_or_default()
    }

    /// Notes paths that differ from the last build.
    pub fn note(&self, paths: &BTreeSet<String>) {
        self.changed().extend(paths.iter().cloned());
    }

    fn settled(&self) -> std::sync::MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the pods run an image that has everything changed since the last build.
    ///
    /// # Errors
    /// The build fails, or the new image does not run: then the old one is back in its place.
    pub async fn deliver(
        &self,
        way: Way,
        origin: &Arc<Origin>,
        replicas: &Arc<Replicas>,
        newer: &AtomicBool,
        stages: &mut Stages,
        step: &Step,
    ) -> Result<Delivered, Failure> {
        *self.settled() = Settled::Moving;
        let platform = self.delivery.platform;
        let Some(mut source) = builds::prepare(platform, self.sized).await? else {
            let message = format!(
                "{} needs an image, and there is no Dockerfile to build it with",
                self.sized.service.name
            );
            return Err(Plain::new(Family::Build, message)
                .with_hint("add a Dockerfile to its source, or sync rules to vadev.yaml")
                .into());
        };
        let begun = Instant::now();
        let included = self.changed().clone();
        let (made, shipping, listing) = match way {
            Way::Build => {
                let (made, shipping) = self.delivery.build(&mut source, step).await?;
                (made, shipping, None)
            }
            Way::Sync | Way::Swap => match self.append(&source, origin, &included, step).await? {
                Ok(layered) => layered,
                Err(why) => return Ok(Delivered::NotThisWay(why)),
            },
        };
        stages.build += millis(begun.elapsed().saturating_sub(shipping));
        stages.ship += millis(shipping);
        // With the command of their template the pods would not run it: that would only be seen by waiting in vain.
        if way == Way::Build && self.runs_another_command(&made.image.reference, replicas).await? {
            return Ok(Delivered::Replan);
        }
        let begun = Instant::now();
        let before = |pod: String| async move { replicas.forget(&pod).await };
        let attending = Attending {
            origin,
            replicas,
            newer,
        };
        let inputs = made.inputs.clone();
        let serving = self.delivery.serve(&mut source, made, before, &attending, step);
        let done = serving.await?;
        if let Some(listing) = listing {
            source.keep(platform, Role::Layered, &inputs, &listing)?;
        }
        stages.restart += millis(begun.elapsed());
        if way == Way::Build {
            *self.base.lock().await = None;
            self.complete.store(true, Ordering::SeqCst);
            self.changed().retain(|path| !included.contains(path));
            origin.forget()?;
        }
        *self.settled() = Settled::Since(Instant::now());
        stages.serve += millis(replicas.answer(origin.service.patience.min(ANSWER)).await);
        Ok(Delivered::Served(done.len()))
    }

    /// The last build with a layer of all changes over it.
    async fn append(
        &self,
        source: &FromSource,
        origin: &Arc<Origin>,
        paths: &BTreeSet<String>,
        step: &Step,
    ) -> Result<Result<Layered, String>, Failure> {
        let record = &source.record;
        let image = |made: &Option<Made>| made.as_ref().map(|made| made.image.clone());
        if !self.complete.load(Ordering::SeqCst) {
            if record.serving.is_some() && image(&record.serving) != image(&record.built) {
                return Ok(Err("the pods run changes of an earlier session".to_owned()));
            }
            self.complete.store(true, Ordering::SeqCst);
        }
        let mut cached = self.base.lock().await;
        if cached.is_none() {
            *cached = self.delivery.base(source).await?.map(Arc::new);
        }
        let Some(base) = cached.clone() else {
            return Ok(Err("the nodes have no build to put a layer on".to_owned()));
        };
        drop(cached);
        // Listed before a file is read: what is saved in between is in the image, and not in what is said of it.
        let now = source.listing().await?;
        let layering = match self.layering(source, origin, paths, now)? {
            Ok(layering) => layering,
            Err(why) => return Ok(Err(why)),
        };
        let overlays = match overlays(origin, &layering.paths) {
            Ok(overlays) => overlays,
            Err(why) => return Ok(Err(why)),
        };
        let inputs = if layering.whole {
            source.inputs_of(&layering.listing)?
        } else {
            String::new()
        };
        match self
            .delivery
            .append(&source.moving, &base, &overlays, inputs, step)
            .await?
        {
            Ok((made, shipping)) => Ok(Ok((made, shipping, Some(layering.listing)))),
            Err(why) => {
                // Whatever it was that a node did not take: it is looked at anew.
                *self.base.lock().await = None;
                Ok(Err(why))
            }
        }
    }

    /// What the layer has to hold.
    fn layering(
        &self,
        source: &FromSource,
        origin: &Origin,
        changed: &BTreeSet<String>,
        now: Listing,
    ) -> Result<Result<Layering, String>, Failure> {
        let inputs = source.record.built.as_ref().map(|made| made.inputs.as_str());
        let state = &self.delivery.platform.options.state;
        let Some(built) = inputs.and_then(|inputs| record::listing(state, &source.service, inputs)) else {
            return Ok(Err("nobody knows which files the last build was of".to_owned()));
        };
        if Some(source.inputs_of(&built)?.as_str()) != inputs {
            return Ok(Err(
                "a base image or an argument of the build is another one".to_owned()
            ));
        }
        let files = watch::lock(&origin.source);
        let hides = |path: &str| files.is_ignored(&files.root().join(path), false);
        Ok(layering(&origin.service.recipe, changed, &built, now, &hides))
    }

    /// Of pods that run the agent; others run what their image says.
    async fn runs_another_command(&self, image: &str, replicas: &Replicas) -> Result<bool, Failure> {
        let Some(running) = replicas.command().filter(|_| !replicas.all().is_empty()) else {
            return Ok(false);
        };
        let name = &self.sized.service.name;
        let command = develop::command(self.delivery.platform, name, image).await?;
        Ok(behind_the_agent(&running) != command)
    }
}

/// What the agent was told to run.
fn behind_the_agent(command: &[String]) -> &[String] {
    let own = command.iter().position(|word| word == "--");
    own.map_or(command, |at| &command[at + 1..])
}

/// Where each changed file is in the image. An error names the first that has no certain place there.
///
/// Where a build on this machine makes something of the source, that takes the source's place: it has just been built.
fn overlays(origin: &Origin, paths: &BTreeSet<String>) -> Result<Overlays, String> {
    let recipe = &origin.service.recipe;
    let mut paths = paths.clone();
    if recipe.host_build {
        let made = origin.tree().map_err(|error| error.to_string())?.files;
        if made.is_empty() {
            return Err("nothing is there that the build on this machine has made of it".to_owned());
        }
        paths.extend(made.into_values().map(|(path, _)| path));
    }
    let source = watch::lock(&origin.source);
    let mut all = Overlays::default();
    for path in &paths {
        let is_folder =
            |path: &str| path.is_empty() || source.is_folder(path) || source.root().join(path).is_dir();
        let synced = recipe.rules.target(path).map(|(_, target)| target);
        let Some(place) = synced.or_else(|| recipe.image_path(path, &is_folder)) else {
            if recipe.host_build {
                continue;
            }
            return Err(format!("{path} has no place of its own in the image"));
        };
        let Some(attributes) = recipe.attributes(path, &place, &is_folder) else {
            return Err(format!("{path} belongs to somebody whom only a build knows"));
        };
        let what = kind(&source, path, attributes.mode).map_err(|error| format!("{path}: {error}"))?;
        // COPY takes what a link that it names leads to.
        if matches!(what, OverlayKind::Link(_)) && recipe.is_named(path) {
            return Err(format!("{path} is a symbolic link that the Dockerfile follows"));
        }
        all.add([Overlay {
            path: place,
            what,
            owner: attributes.owner,
        }]);
    }
    Ok(all)
}

fn kind(source: &Source, path: &str, mode: Option<u32>) -> std::io::Result<OverlayKind> {
    use std::os::unix::fs::PermissionsExt;
    let full = source.root().join(path);
    let metadata = match std::fs::symlink_metadata(&full) {
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(OverlayKind::Deleted);
        }
        other => other?,
    };
    let mode = mode.unwrap_or(metadata.permissions().mode() & 0o777);
    Ok(if metadata.is_symlink() {
        OverlayKind::Link(std::fs::read_link(&full)?.to_string_lossy().into_owned())
    } else if metadata.is_dir() {
        OverlayKind::Folder(mode)
    } else {
        OverlayKind::File { mode, source: full }
    })
}

#[cfg(test)]
mod tests;
