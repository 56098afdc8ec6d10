//! Which image each component runs here, and what has to be had for that.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::builds::{self, FromSource};
use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::plan::steps::{CLUSTER, MESH};
use crate::profile::stack::LeftOut;
use crate::render::compose::{self, Helpers};
use crate::render::metrics;
use crate::render::operator::IstioImages;
use crate::render::{DeployedImage, Origin};
use crate::supply::{ImageRequest, Resolved, Source};

/// The images of a platform, resolved.
#[derive(Debug, Default)]
pub struct Images {
    /// For the renderer: workload or service → image.
    pub deployed: IndexMap<String, DeployedImage>,
    /// For the planner: component → references.
    pub by_component: IndexMap<String, Vec<String>>,
    /// References that are not in the engine yet → cause.
    pub to_supply: BTreeMap<String, String>,
    /// The request behind each reference.
    pub requests: BTreeMap<String, ImageRequest>,
    /// The node image.
    pub node: String,
    /// Istio's images, where there is a mesh.
    pub istio: Option<IstioImages>,
    /// For a cluster that is not vadev's own: the name in the registry → the name in the engine.
    pub push: BTreeMap<String, String>,
    /// Services that are built from the workspace's source, by the moving tag that they run.
    pub sources: BTreeMap<String, FromSource>,
    /// Workloads whose image cannot be had.
    pub left_out: Vec<LeftOut>,
}

/// Istio's version: that of the recipes, whose istioctl installs it.
const ISTIO_VERSION: &str = "1.31.0";

/// The recipe of the stand-in service.
const AGENT: &str = "agent";

/// Asks the supply for every image of the stack. Nothing is pulled or built.
pub async fn resolve(platform: &Platform) -> Result<Images, Failure> {
    let mut images = Images::default();
    let stack = platform.stack();
    let node = request("kind-node", None, Some("node"));
    let resolved = must_have(platform, &node).await?;
    images.node.clone_from(&resolved.reference);
    images.note(CLUSTER, node, resolved);
    if stack.mesh.is_some() {
        for image in ["pilot", "proxyv2"] {
            let wanted = istio(image);
            let resolved = must_have(platform, &wanted).await?;
            images.istio = split_hub(&resolved);
            images.note(MESH, wanted, resolved);
        }
    }
    if stack.metrics && platform.options.place.existing().is_none() {
        let wanted = request(
            metrics::NAME,
            Some(metrics::OFFICIAL.to_owned()),
            Some(metrics::RECIPE),
        );
        let resolved = must_have(platform, &wanted).await?;
        images.deployed.insert(
            metrics::NAME.to_owned(),
            DeployedImage {
                reference: resolved.reference.clone(),
                origin: origin(resolved.source),
            },
        );
        images.note(metrics::NAME, wanted, resolved);
    }
    components(platform, &mut images).await?;
    Ok(images)
}

/// As [`resolve`], for a platform without a cluster: no node and no control plane; vadev's agent and Istio's Envoy whatever
/// the components are.
pub async fn resolve_without_cluster(platform: &Platform) -> Result<(Images, Helpers), Failure> {
    let mut images = Images::default();
    let mut helper = async |name: &str, wanted: ImageRequest| -> Result<String, Failure> {
        let resolved = must_have(platform, &wanted).await?;
        let reference = resolved.reference.clone();
        images.note(name, wanted, resolved);
        Ok(reference)
    };
    let helpers = Helpers {
        agent: helper(compose::PREPARE, request(AGENT, None, Some(AGENT))).await?,
        envoy: helper(compose::GATEWAY, istio("proxyv2")).await?,
    };
    components(platform, &mut images).await?;
    Ok((images, helpers))
}

/// The images of systems and services.
async fn components(platform: &Platform, images: &mut Images) -> Result<(), Failure> {
    let stack = platform.stack();
    for system in &stack.infrastructure {
        for workload in &system.infrastructure.workloads {
            let name = &workload.name;
            let official = system
                .images
                .get(name)
                .unwrap_or(&workload.image.official)
                .clone();
            let wanted = request(name, Some(official), workload.image.recipe.as_deref());
            let Some(resolved) = platform.supply.resolve(&wanted).await? else {
                let reason =
                    "its image comes from a container registry only, and none can be reached".to_owned();
                images.left_out.push(LeftOut {
                    name: name.clone(),
                    reason,
                });
                continue;
            };
            let origin = origin(resolved.source);
            images.deployed.insert(
                name.clone(),
                DeployedImage {
                    reference: resolved.reference.clone(),
                    origin,
                },
            );
            images.note(&system.infrastructure.name, wanted, resolved);
        }
    }
    for sized in &stack.services {
        let service = &sized.service;
        if let Some(source) = builds::prepare(platform, sized).await? {
            // Another's cluster pulls from a registry, under a name that ends in the image's ID: it is built before that.
            if platform.options.place.existing().is_some()
                && let Some(cause) = builds::to_build(platform, &source).await?
            {
                images.to_supply.insert(source.moving.clone(), cause);
            }
            let deployed = DeployedImage {
                reference: source.moving.clone(),
                origin: Origin::Built,
            };
            images.deployed.insert(service.name.clone(), deployed);
            images
                .by_component
                .insert(service.name.clone(), vec![source.moving.clone()]);
            images.sources.insert(source.moving.clone(), source);
            continue;
        }
        let catalog = || format!("{}:{}", service.image.repository, service.image.version);
        let real = request(
            &service.name,
            Some(sized.image.clone().unwrap_or_else(catalog)),
            None,
        );
        let (wanted, resolved, origin) = if let Some(resolved) = platform.supply.resolve(&real).await? {
            let origin = origin(resolved.source);
            (real, resolved, origin)
        } else {
            let agent = request(AGENT, None, Some(AGENT));
            let resolved = must_have(platform, &agent).await?;
            (agent, resolved, Origin::StandIn)
        };
        images.deployed.insert(
            service.name.clone(),
            DeployedImage {
                reference: resolved.reference.clone(),
                origin,
            },
        );
        images.note(&service.name, wanted, resolved);
    }
    Ok(())
}

/// Has the images of these services in the engine that are not there yet; whether there was anything to do.
pub async fn supply_for<'s>(
    platform: &Platform,
    images: &Images,
    services: impl Iterator<Item = &'s String>,
) -> Result<bool, Failure> {
    let mut done = false;
    for service in services {
        let Some(image) = images.deployed.get(service) else {
            continue;
        };
        let reference = &image.reference;
        if let Some(source) = images.sources.get(reference) {
            done |= builds::build_first(platform, source).await?;
            continue;
        }
        let (Some(cause), Some(request)) = (images.to_supply.get(reference), images.requests.get(reference))
        else {
            continue;
        };
        let title = format!("Get image {reference}");
        let step = platform
            .reporter
            .step(format!("image/{reference}"), title, Some(cause.clone()));
        match platform.supply.image(request, &step).await {
            Ok(supplied) => step.done(format!("{} MB", supplied.size / 1_000_000)),
            Err(error) => {
                step.failed(&error);
                return Err(error.into());
            }
        };
        done = true;
    }
    Ok(done)
}

/// Adds the agent's image to what these services need; its reference.
pub async fn add_agent<'s>(
    platform: &Platform,
    images: &mut Images,
    services: impl Iterator<Item = &'s String>,
) -> Result<String, Failure> {
    let wanted = request(AGENT, None, Some(AGENT));
    let resolved = must_have(platform, &wanted).await?;
    let reference = resolved.reference.clone();
    for service in services {
        images.note(service, wanted.clone(), resolved.clone());
    }
    Ok(reference)
}

impl Images {
    /// Where the proxies come from; `None` where there is no mesh.
    pub fn proxies(&self) -> Option<Origin> {
        self.istio.as_ref().map(|istio| istio.origin)
    }

    fn note(&mut self, component: &str, wanted: ImageRequest, resolved: Resolved) {
        let references = self.by_component.entry(component.to_owned()).or_default();
        if !references.contains(&resolved.reference) {
            references.push(resolved.reference.clone());
        }
        if let Some(cause) = resolved.cause {
            self.to_supply.insert(resolved.reference.clone(), cause);
        }
        self.requests.insert(resolved.reference, wanted);
    }
}

/// An image without which there is no platform.
async fn must_have(platform: &Platform, wanted: &ImageRequest) -> Result<Resolved, Failure> {
    let none = || {
        Plain::new(
            Family::Supply,
            format!("the image of {} can be had from no source", wanted.component),
        )
        .with_hint("allow every source: vadev up --image-source auto")
    };
    Ok(platform.supply.resolve(wanted).await?.ok_or_else(none)?)
}

const fn origin(source: Source) -> Origin {
    match source {
        Source::Registry => Origin::Registry,
        Source::Bundle => Origin::Bundle,
        Source::Packages => Origin::Packages,
    }
}

fn request(component: &str, official: Option<String>, recipe: Option<&str>) -> ImageRequest {
    ImageRequest {
        component: component.to_owned(),
        official,
        recipe: recipe.map(str::to_owned),
    }
}

/// Istio's images of the version whose istioctl vadev builds.
fn istio(image: &str) -> ImageRequest {
    let official = format!("docker.io/istio/{image}:{ISTIO_VERSION}");
    request(image, Some(official), Some(&format!("istio-{image}")))
}

/// `vadev.local/istio/pilot:1.31.0` → hub `vadev.local/istio`, tag `1.31.0`.
fn split_hub(image: &Resolved) -> Option<IstioImages> {
    let (path, tag) = image.reference.rsplit_once(':')?;
    let (hub, _) = path.rsplit_once('/')?;
    Some(IstioImages {
        hub: hub.to_owned(),
        tag: tag.to_owned(),
        origin: origin(image.source),
    })
}
