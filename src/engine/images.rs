//! Which image each component runs here, and what has to be had for that.

use std::collections::BTreeMap;

use futures::future::{try_join, try_join_all};
use indexmap::IndexMap;

use super::builds::{self, FromSource};
use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::plan::steps::{CLUSTER, MESH};
use crate::profile::stack::{LeftOut, SizedService};
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
    /// The node image; empty where the cluster is not vadev's own.
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

/// The recipe of the kind node.
const NODE: &str = "node";

/// Asks the supply for every image of the stack, all at once: each may wait for a registry. Nothing is pulled or built.
pub async fn resolve(platform: &Platform) -> Result<Images, Failure> {
    let mut images = Images::default();
    let (base, components) = try_join(base(platform), components(platform)).await?;
    images.take_in(base);
    images.take_in(components);
    Ok(images)
}

/// The images below the components: nodes, Istio, metrics.
async fn base(platform: &Platform) -> Result<Images, Failure> {
    let mut images = Images::default();
    let stack = platform.stack();
    let own = platform.options.place.existing().is_none();
    if own {
        // kind releases no list of digests that vadev could pin; the one that was pulled is kept in the cache's index.
        let version = &platform.supply.book().recipe(NODE)?.version;
        let node = request(
            "kind-node",
            Some(format!("docker.io/kindest/node:{version}")),
            Some(NODE),
        );
        let resolved = must_have(platform, &node).await?;
        images.node.clone_from(&resolved.reference);
        images.note(CLUSTER, node, resolved);
    }
    if stack.mesh.is_some() {
        for image in ["pilot", "proxyv2"] {
            let wanted = istio(image);
            if platform.options.place.may_install_mesh() {
                let resolved = must_have(platform, &wanted).await?;
                images.istio = split_hub(&resolved);
                images.note(MESH, wanted, resolved);
            } else if let Some(resolved) = platform.supply.resolve(&wanted).await? {
                // Another's Istio brings its own images; what is here only tells which build its proxies are likely to be.
                images.istio = split_hub(&resolved);
            }
        }
    }
    if stack.metrics && own {
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
    images.take_in(components(platform).await?);
    Ok((images, helpers))
}

/// The images of systems and services.
async fn components(platform: &Platform) -> Result<Images, Failure> {
    let mut images = Images::default();
    let stack = platform.stack();
    let workloads = stack.infrastructure.iter().flat_map(|system| {
        let workloads = system.infrastructure.workloads.iter();
        workloads.map(move |workload| async move {
            let name = &workload.name;
            let official = system
                .images
                .get(name)
                .unwrap_or(&workload.image.official)
                .clone();
            let wanted = request(name, Some(official), workload.image.recipe.as_deref());
            let resolved = platform.supply.resolve(&wanted).await?;
            Ok::<_, Failure>((&system.infrastructure.name, name, wanted, resolved))
        })
    });
    let services = stack.services.iter().map(|sized| service(platform, sized));
    let (workloads, services) = try_join(try_join_all(workloads), try_join_all(services)).await?;
    for (system, name, wanted, resolved) in workloads {
        let Some(resolved) = resolved else {
            let reason = "its image comes from a container registry only, and none can be reached".to_owned();
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
        images.note(system, wanted, resolved);
    }
    let (mut there, mut lacking) = (Vec::new(), Vec::new());
    for (sized, found) in stack.services.iter().zip(services) {
        match found {
            Ok(found) => there.push((sized, found)),
            Err(Lacking(image)) => lacking.push((sized.service.name.as_str(), image)),
        }
    }
    none_lacks(&lacking)?;
    for (sized, found) in there {
        let name = &sized.service.name;
        let (reference, origin) = match &found {
            OfService::Built(source, _) => (source.moving.clone(), Origin::Built),
            OfService::Had(_, resolved, origin) => (resolved.reference.clone(), *origin),
        };
        let deployed = DeployedImage { reference, origin };
        match found {
            OfService::Built(source, cause) => {
                if let Some(cause) = cause {
                    images.to_supply.insert(source.moving.clone(), cause);
                }
                images
                    .by_component
                    .insert(name.clone(), vec![source.moving.clone()]);
                images.sources.insert(source.moving.clone(), *source);
            }
            OfService::Had(wanted, resolved, _) => images.note(name, wanted, resolved),
        }
        images.deployed.insert(name.clone(), deployed);
    }
    Ok(images)
}

/// What a service runs.
enum OfService {
    /// What is built from the workspace's source, and why it has to be built before anything else.
    Built(Box<FromSource>, Option<String>),
    /// An image of its own, or the stand-in's.
    Had(ImageRequest, Resolved, Origin),
}

/// The image that the workspace names for a service, and that cannot be had: a stand-in is not what was asked for.
struct Lacking(String);

/// Refuses all images at once that are named and cannot be had.
fn none_lacks(lacking: &[(&str, String)]) -> Result<(), Failure> {
    let Some((_, first)) = lacking.first() else {
        return Ok(());
    };
    let line = |(service, image): &(&str, String)| {
        format!("the image {image} of {service} is neither in Docker nor in a registry that answers")
    };
    let message = lacking.iter().map(line).collect::<Vec<_>>().join("\n");
    Err(Plain::new(Family::Supply, message)
        .with_hint(format!(
            "build or pull it first: docker pull {first}; without `image:` in vadev.yaml a service is built from its source, or \
             has a stand-in"
        ))
        .into())
}

async fn service(platform: &Platform, sized: &SizedService) -> Result<Result<OfService, Lacking>, Failure> {
    let service = &sized.service;
    if let Some(source) = builds::prepare(platform, sized).await? {
        // Another's cluster pulls from a registry, under a name that ends in the image's ID: it is built before that.
        let cause = match platform.options.place.existing() {
            Some(_) => builds::to_build(platform, &source).await?,
            None => None,
        };
        return Ok(Ok(OfService::Built(Box::new(source), cause)));
    }
    let catalog = || format!("{}:{}", service.image.repository, service.image.version);
    let real = request(
        &service.name,
        Some(sized.image.clone().unwrap_or_else(catalog)),
        None,
    );
    if let Some(resolved) = platform.supply.resolve(&real).await? {
        let origin = origin(resolved.source);
        return Ok(Ok(OfService::Had(real, resolved, origin)));
    }
    if let Some(named) = &sized.image {
        return Ok(Err(Lacking(named.clone())));
    }
    let agent = request(AGENT, None, Some(AGENT));
    let resolved = must_have(platform, &agent).await?;
    Ok(Ok(OfService::Had(agent, resolved, Origin::StandIn)))
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

/// The agent's image.
pub async fn agent(platform: &Platform) -> Result<(ImageRequest, Resolved), Failure> {
    let wanted = request(AGENT, None, Some(AGENT));
    let resolved = must_have(platform, &wanted).await?;
    Ok((wanted, resolved))
}

/// Adds the agent's image to what these services need; its reference.
pub async fn add_agent<'s>(
    platform: &Platform,
    images: &mut Images,
    services: impl Iterator<Item = &'s String>,
) -> Result<String, Failure> {
    let (wanted, resolved) = agent(platform).await?;
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

    /// Adds what another look found; the two have no component in common.
    fn take_in(&mut self, other: Self) {
        self.deployed.extend(other.deployed);
        self.by_component.extend(other.by_component);
        self.to_supply.extend(other.to_supply);
        self.requests.extend(other.requests);
        self.push.extend(other.push);
        self.sources.extend(other.sources);
        self.left_out.extend(other.left_out);
        self.istio = self.istio.take().or(other.istio);
        if self.node.is_empty() {
            self.node = other.node;
        }
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
        Source::Registry | Source::Release => Origin::Registry,
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
