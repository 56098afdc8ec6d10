//! The look before planning: where images come from, and what is in the cluster.

use std::time::Duration;

use super::develop;
use super::images::{self, Images};
use super::mesh;
use super::observe::observe;
use super::place::Existing;
use super::platform::Platform;
use super::remote;
use super::up::UpOptions;
use crate::failure::Failure;
use crate::k8s::Cluster;
use crate::plan::Observed;
use crate::report::Outcome;
use crate::supply::pulse::Pulse;

/// What was found before planning.
pub struct Look {
    /// Where images come from.
    pub images: Images,
    /// What developed services need.
    pub prepared: develop::AllPrepared,
    /// Whether images have to be had before anything else can be decided.
    pub supplied_first: bool,
    /// Digest of Istio's installation, where it is vadev's to install.
    pub mesh_digest: Option<String>,
    /// What is there.
    pub observed: Observed,
    /// The connection, where there is a cluster.
    pub cluster: Option<Cluster>,
}

/// Looks where images come from, and into the cluster: a step of its own, because registries and a cluster that was just
/// resumed may take seconds to answer. `known` is what an earlier round has found out.
pub async fn look(
    platform: &Platform,
    options: &UpOptions,
    known: Option<(Images, develop::AllPrepared)>,
    round: usize,
) -> Result<Look, Failure> {
    let id = if round == 1 {
        "look".to_owned()
    } else {
        format!("look/{round}")
    };
    let step = platform.reporter.step(id, "Look at what is there", None);
    let work = Box::pin(async {
        let (mut images, prepared) = match known {
            Some(known) => known,
            None => of_images(platform, options).await?,
        };
        let supplied_first = match platform.options.place.existing() {
            Some(existing) => !prepare(platform, existing, &mut images, options.timeout).await?,
            None => false,
        };
        let mesh_digest = if options.skip_istio || !platform.options.place.may_install_mesh() {
            None
        } else {
            mesh::digest(platform, &images)
        };
        let (observed, cluster) = observe(platform, &images).await?;
        Ok(Look {
            images,
            prepared,
            supplied_first,
            mesh_digest,
            observed,
            cluster,
        })
    });
    let pulse = Pulse::new(&step).about("images, tools and the cluster");
    let looked: Result<Look, Failure> = pulse.during(work).await;
    match &looked {
        Ok(_) => step.done(""),
        Err(error) => step.finish(Outcome::Failed, error.to_string()),
    };
    looked
}

async fn of_images(
    platform: &Platform,
    options: &UpOptions,
) -> Result<(Images, develop::AllPrepared), Failure> {
    let mut images = images::resolve(platform).await?;
    let prepared = develop::prepare(platform, &mut images, &options.develop).await?;
    for left in &images.left_out {
        platform
            .reporter
            .note(format!("{} is left out: {}", left.name, left.reason));
    }
    Ok((images, prepared))
}

/// For a cluster that is not vadev's own: gives the images the names they have in the registry. `false` where images have to
/// be had first.
async fn prepare(
    platform: &Platform,
    existing: &Existing,
    images: &mut Images,
    within: Duration,
) -> Result<bool, Failure> {
    let cluster = platform.connect(within).await?;
    let registry = remote::registry(existing, &cluster, images).await?;
    // Only those that this cluster runs: neither node images nor, as a rule, Istio's.
    remote::trim(existing, images);
    if !images.to_supply.is_empty() {
        return Ok(false);
    }
    remote::rename(platform, existing, registry.as_deref(), images).await?;
    Ok(true)
}
