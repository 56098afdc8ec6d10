//! Which image each component runs here, and what has to be had for that.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::plan::steps::{CLUSTER, MESH};
use crate::profile::stack::LeftOut;
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
    Ok(images)
}

impl Images {
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
