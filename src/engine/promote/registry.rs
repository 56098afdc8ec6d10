//! Images of a production tree: pinned by what registries say, and pushed where they were built here. Looking changes nothing,
//! so that everything can be checked before the first push.

use bollard::Docker;
use indexmap::IndexMap;

use crate::engine::builds;
use crate::engine::platform::Platform;
use crate::engine::record::Made;
use crate::failure::{Failure, Family, Plain};
use crate::image;
use crate::promote::images::{images, is_pinned, retagged};
use crate::report::Reporter;
use crate::supply::{self, Supply};

/// What is known of the digests of a tree's images.
#[derive(Debug, Default)]
pub struct Digests {
    /// Component → reference with digest.
    pub pinned: IndexMap<String, String>,
    /// What a registry has to get first. Only where a tree is to be written or applied.
    pub pushes: Vec<Push>,
}

/// An image of the engine on its way to a registry.
#[derive(Debug)]
pub struct Push {
    /// The component.
    pub component: String,
    /// The image in the engine.
    pub local: String,
    /// What it is called in the registry.
    pub remote: String,
}

impl Digests {
    /// The references as they will be, with a digest of zeros for what is not pushed yet: for checking, never for writing.
    pub fn rehearsed(&self) -> IndexMap<String, String> {
        let mut all = self.pinned.clone();
        all.extend(self.pushes.iter().map(|push| {
            let digest = "0".repeat(64);
            (push.component.clone(), format!("{}@sha256:{digest}", push.remote))
        }));
        all
    }
}

/// Looks for a digest for every image that nobody pins. Where the tree is `written` and a registry named,
/// what is in the local engine is to be pushed there: an image built from the workspace's source as it is, or one of the name
/// that production runs. Everything else is looked up where it is; what has no digest is left to the check.
pub async fn digests(workshop: &Platform, registry: Option<&str>, written: bool) -> Result<Digests, Failure> {
    let wanted = images(workshop.stack(), &IndexMap::new());
    let mut digests = Digests::default();
    let unpinned: Vec<(&String, &str)> = wanted
        .iter()
        .map(|(name, image)| (name, image.reference.as_str()))
        .filter(|(_, reference)| !is_pinned(reference))
        .collect();
    let looked_for = unpinned.len();
    let source = &workshop.supply;
    let docker = match source.docker().await {
        Ok(docker) => docker,
        Err(error) if registry.is_some() => return Err(error.into()),
        // The check tells which images lack a digest; a tree of pinned images needs no engine.
        Err(error) => {
            let note = format!("no digest can be looked up without a container engine: {error}");
            workshop.reporter.note(note);
            return Ok(digests);
        }
    };
    let step = workshop
        .reporter
        .step("images", "Look up digests of images", None);
    for (name, reference) in unpinned {
        step.progress(reference.to_owned());
        let found = match registry {
            Some(registry) => in_registry(workshop, docker, name, reference, registry, written).await?,
            None => source.digest(reference).await?.map(Found::Pinned),
        };
        match found {
            Some(Found::Pinned(pinned)) => {
                digests.pinned.insert(name.clone(), pinned);
            }
            Some(Found::Push(push)) => digests.pushes.push(push),
            None => {}
        }
    }
    step.done(format!(
        "{} of {looked_for} found, {} to be pushed",
        digests.pinned.len(),
        digests.pushes.len()
    ));
    Ok(digests)
}

enum Found {
    Pinned(String),
    Push(Push),
}

async fn in_registry(
    workshop: &Platform,
    docker: &Docker,
    name: &str,
    reference: &str,
    registry: &str,
    written: bool,
) -> Result<Option<Found>, Failure> {
    let source = &workshop.supply;
    let remote = retagged(reference, registry);
    let service = workshop
        .stack()
        .services
        .iter()
        .find(|sized| sized.service.name == *name);
    let mut local = None;
    if let Some(sized) = service {
        local = built(workshop, docker, sized, written).await?;
    }
    if local.is_none() {
        local = image::engine_id(docker, reference).await?;
    }
    let Some(local) = local else {
        return Ok(match source.digest(reference).await? {
            Some(pinned) => Some(Found::Pinned(pinned)),
            None => source.digest(&remote).await?.map(Found::Pinned),
        });
    };
    let Some(pinned) = source.digest(&remote).await? else {
        let push = Push {
            component: name.to_owned(),
            local,
            remote,
        };
        return Ok(written.then_some(Found::Push(push)));
    };
    // A mirror of somebody else's image is as good as another; a service's version means one image for ever.
    if !written || service.is_none() || same(docker, &local, &pinned).await? {
        return Ok(Some(Found::Pinned(pinned)));
    }
    let message = format!("{remote} is in the registry already, and is another image than the one here");
    Err(Plain::new(Family::Refused, message)
        .with_hint(format!(
            "name another tag under `images` in the environment file, for instance `{name}: {}-2`, or what is there by its \
             digest: `{name}: {pinned}`",
            reference.split('@').next().unwrap_or(reference)
        ))
        .into())
}

/// Whether the engine knows an image by this digest: it was pushed from here, or pulled.
async fn same(docker: &Docker, local: &str, pinned: &str) -> Result<bool, Failure> {
    let digests = image::repository_digests(docker, local).await?;
    let digest = pinned.rsplit_once('@').map(|(_, digest)| digest);
    Ok(digests
        .iter()
        .any(|one| one.rsplit_once('@').map(|(_, digest)| digest) == digest))
}

/// The image that was built from this workspace's source of a service; `None` where there is no source or no image.
async fn built(
    workshop: &Platform,
    docker: &Docker,
    sized: &crate::profile::stack::SizedService,
    written: bool,
) -> Result<Option<String>, Failure> {
    if builds::source(workshop, sized).is_none() {
        return Ok(None);
    }
    let moving = image::moving(&workshop.stack().workspace, &sized.service.name);
    let Some(id) = image::engine_id(docker, &moving).await? else {
        return Ok(None);
    };
    if !written {
        return Ok(Some(id));
    }
    let Some(source) = builds::prepare(workshop, sized).await? else {
        return Ok(None);
    };
    match stale(source.record.built.as_ref(), &source.inputs, &id) {
        None => Ok(Some(id)),
        Some(why) => Err(Plain::new(
            Family::Refused,
            format!("{moving} is not what would be built now: {why}"),
        )
        .with_hint("build it with vadev up, look at it, and promote again")
        .into()),
    }
}

/// Why an image is not the one of the source as it is.
fn stale(built: Option<&Made>, inputs: &str, id: &str) -> Option<&'static str> {
    match built {
        None => Some("nothing is known of what it was built from"),
        Some(made) if made.image.id != id => Some("another image has taken its name since it was built"),
        Some(made) if made.inputs != inputs => Some("its source has changed since"),
        Some(_) => None,
    }
}

/// Pushes what has to be pushed; every reference with its digest.
pub async fn push(
    source: &Supply,
    digests: &Digests,
    reporter: &Reporter,
) -> Result<IndexMap<String, String>, Failure> {
    let mut pinned = digests.pinned.clone();
    let docker = source.docker().await?;
    let step = reporter.step("push", "Push images", None);
    for push in &digests.pushes {
        step.progress(push.remote.clone());
        let digest = supply::push(docker, &push.local, &push.remote, &step).await?;
        pinned.insert(push.component.clone(), format!("{}@{digest}", push.remote));
    }
    step.done(format!("{} images", digests.pushes.len()));
    Ok(pinned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Built;
    use crate::promote::images::is_pinned;

    #[test]
    fn only_the_last_build_of_the_source_as_it_is_may_leave() {
        let made = Made {
            inputs: "now".into(),
            image: Built {
                reference: "vadev.local/shop/a:dev-1".into(),
                id: "sha256:1".into(),
            },
            config: "sha256:1".into(),
        };
        assert_eq!(stale(Some(&made), "now", "sha256:1"), None);
        assert!(stale(Some(&made), "later", "sha256:1").is_some_and(|why| why.contains("changed")));
        assert!(stale(Some(&made), "now", "sha256:2").is_some_and(|why| why.contains("another")));
        assert!(stale(None, "now", "sha256:1").is_some());
    }

    #[test]
    fn what_is_to_be_pushed_is_checked_as_it_will_be_called() {
        let digests = Digests {
            pinned: IndexMap::new(),
            pushes: vec![Push {
                component: "a".into(),
                local: "sha256:1".into(),
                remote: "registry.example/team/a:1.0.0".into(),
            }],
        };
        let all = digests.rehearsed();
        assert!(all["a"].starts_with("registry.example/team/a:1.0.0@") && is_pinned(&all["a"]));
    }
}
