//! Images of services with source on their way into nodes and pods: shipped under their exact name, run by the live pods,
//! and only then what the moving tag means, so that a pod that is made anew never runs what has just been found broken.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use futures::FutureExt;

use super::builds::FromSource;
use super::platform::Platform;
use super::record::{Made, Record};
use super::tidy::Tidy;
use crate::failure::{Failure, Family, Plain};
use crate::image::{self, Base, ImageError, Overlays, Shipped};
use crate::k8s::{Cluster, View};
use crate::reload::{Attend, PodSwap, Swap};
use crate::report::Step;

/// Old images go when there has been no save for this long.
const QUIET: Duration = Duration::from_secs(6);

/// Ships images; those of services with source under their exact name as well, and what is shipped of them is noted.
pub async fn ship(
    platform: &Platform,
    sources: &BTreeMap<String, FromSource>,
    nodes: &[String],
    references: &[String],
    step: &Step,
) -> Result<Vec<Shipped>, Failure> {
    let docker = platform.supply.docker().await?;
    let state = &platform.options.state;
    let mut all = references.to_vec();
    let mut made: Vec<(&FromSource, Made)> = Vec::new();
    for source in references.iter().filter_map(|reference| sources.get(reference)) {
        if let Some(built) = Record::read(state, &source.service).built {
            all.push(built.image.reference.clone());
            made.push((source, built));
        }
    }
    let shipped = image::ship(docker, nodes, &all, step).await?;
    for (source, mut built) in made {
        if !take_config(&mut built, &source.moving, &shipped) {
            ask_config(docker, nodes, &mut built).await?;
        }
        let mut source = source.clone();
        source.change(platform, |record| {
            record.built(built.clone());
            record.serves(built);
        })?;
        image::prune(docker, nodes, &source.moving, &source.record.kept()).await;
    }
    Ok(shipped)
}

/// Where an image was sent to, its configuration's digest is known, which Docker's containerd store does not tell. Whether
/// it was.
fn take_config(made: &mut Made, name: &str, shipped: &[Shipped]) -> bool {
    let of_it =
        |one: &&Shipped| (one.image == name || one.image == made.image.reference) && !one.config.is_empty();
    let found = shipped.iter().find(of_it);
    if let Some(one) = found {
        made.config.clone_from(&one.config);
    }
    found.is_some()
}

/// Where nothing had to be sent and nothing earlier tells, a node does.
async fn ask_config(docker: &Docker, nodes: &[String], made: &mut Made) -> Result<(), Failure> {
    if let Some(node) = nodes.first()
        && made.config == made.image.id
    {
        Base::read(docker, node, &made.image)
            .await?
            .config_digest()
            .clone_into(&mut made.config);
    }
    Ok(())
}

/// Has the live pods of a service run what the nodes hold for it; for `up`, which has shipped it.
pub async fn swap(
    platform: &Platform,
    cluster: &Cluster,
    view: &View,
    service: &str,
    within: Duration,
    step: &Step,
) -> Result<String, Failure> {
    let record = Record::read(&platform.options.state, service);
    let Some(made) = &record.serving else {
        return Err(Plain::new(Family::Internal, format!("no image of {service} was shipped")).into());
    };
    let back = record
        .recent
        .iter()
        .rev()
        .find(|name| **name != made.image.reference);
    let swap = Swap {
        cluster,
        view,
        namespace: &platform.stack().namespaces.apps,
        service,
        image: &made.image.reference,
        config: &made.config,
        back: back.map(String::as_str),
        within,
        attended: None,
    };
    let done = swap.run(|_| async {}, step).await?;
    Ok(match done.len() {
        0 => "every pod runs it".to_owned(),
        1 => "1 pod started anew".to_owned(),
        count => format!("{count} pods started anew, one after the other"),
    })
}

/// The way of new images into a running service, for one session of `dev`.
#[derive(Debug)]
pub struct Delivery<'a> {
    /// The platform.
    pub platform: &'a Platform,
    /// Its cluster.
    pub cluster: &'a Cluster,
    /// The cluster's live view.
    pub view: &'a View,
    /// The nodes' containers.
    pub nodes: Vec<String>,
    /// Longest wait for one pod.
    pub within: Duration,
    tidy: Tidy,
}

impl<'a> Delivery<'a> {
    /// Finds the nodes.
    pub async fn open(
        platform: &'a Platform,
        cluster: &'a Cluster,
        view: &'a View,
        within: Duration,
    ) -> Result<Self, Failure> {
        let nodes = platform.kind().await?.nodes(&platform.cluster_name()).await?;
        let nodes: Vec<String> = nodes.into_iter().map(|node| node.name).collect();
        let (docker, of) = (platform.supply.docker().await?.clone(), nodes.clone());
        let prune = move |moving: String, kept: Vec<String>| {
            let (docker, nodes) = (docker.clone(), of.clone());
            async move {
                image::prune(&docker, &nodes, &moving, &kept).await;
            }
            .boxed()
        };
        Ok(Self {
            platform,
            cluster,
            view,
            nodes,
            within,
            tidy: Tidy::new(QUIET, prune),
        })
    }

    /// Builds the source as it is now (take [`super::builds::prepare`]'s newest answer) and ships it. Nothing runs it yet:
    /// [`Self::serve`]. Also how long the shipping took.
    pub async fn build(&self, source: &mut FromSource, step: &Step) -> Result<(Made, Duration), Failure> {
        self.tidy.is_busy(&source.moving);
        let mut made = source.build(self.platform, step).await?;
        let begun = Instant::now();
        let docker = self.platform.supply.docker().await?;
        let name = made.image.reference.clone();
        let shipped = image::ship(docker, &self.nodes, std::slice::from_ref(&name), step).await?;
        if !take_config(&mut made, &name, &shipped) {
            ask_config(docker, &self.nodes, &mut made).await?;
        }
        source.change(self.platform, |record| record.built(made.clone()))?;
        Ok((made, begun.elapsed()))
    }

    /// What images can be appended to: the service's last real build, as the nodes hold it. Worth keeping until the next
    /// build. `None` where there is none, or the nodes have lost it: then a build is what helps.
    pub async fn base(&self, source: &FromSource) -> Result<Option<Base>, Failure> {
        let (Some(built), Some(node)) = (&source.record.built, self.nodes.first()) else {
            return Ok(None);
        };
        let docker = self.platform.supply.docker().await?;
        match Base::read(docker, node, &built.image).await {
            Ok(base) => Ok(Some(base)),
            Err(ImageError::NotInNode { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts all changes since the last build over it and ships that: one layer. Nothing runs it yet: [`Self::serve`].
    /// `moving` is the service's tag, `inputs` is [`FromSource::inputs_of`] the listing from before the changed files were read.
    /// Also how long the shipping took; the inner error says why a node does not take it, mostly because it has lost what the layer lies on.
    pub async fn append(
        &self,
        moving: &str,
        base: &Arc<Base>,
        overlays: &Overlays,
        inputs: String,
        step: &Step,
    ) -> Result<Result<(Made, Duration), String>, Failure> {
        self.tidy.is_busy(moving);
        let (base, overlays) = (Arc::clone(base), overlays.clone());
        let appended = tokio::task::spawn_blocking(move || base.append(&overlays)).await;
        let appended = appended
            .map_err(|error| Plain::new(Family::Internal, format!("making a layer stopped: {error}")))??;
        let docker = self.platform.supply.docker().await?;
        let begun = Instant::now();
        match image::ship_appended(docker, &self.nodes, &appended, step).await {
            Err(error @ ImageError::Node { .. }) => return Ok(Err(error.to_string())),
            other => other?,
        };
        let made = Made {
            inputs,
            config: appended.built.id.clone(),
            image: appended.built,
        };
        Ok(Ok((made, begun.elapsed())))
    }

    /// Has every pod run the image, one after the other; then the moving tag means it in every node, and old ones go.
    /// `before` is called with each pod's name ahead of its change, `attended` while it is waited for. Fails with the old image
    /// back in its place.
    pub async fn serve<F, W>(
        &self,
        source: &mut FromSource,
        made: Made,
        before: F,
        attended: &dyn Attend,
        step: &Step,
    ) -> Result<Vec<PodSwap>, Failure>
    where
        F: Fn(String) -> W,
        W: Future<Output = ()>,
    {
        let (service, back) = (source.service.clone(), source.record.serving.clone());
        let swap = Swap {
            cluster: self.cluster,
            view: self.view,
            namespace: &self.platform.stack().namespaces.apps,
            service: &service,
            image: &made.image.reference,
            config: &made.config,
            back: back.as_ref().map(|made| made.image.reference.as_str()),
            within: self.within,
            attended: Some(attended),
        };
        let mut done = swap.run(&before, step).await?;
        self.settle(source, made.clone()).await?;
        // A pod that was born since the last look may have started from what the moving tag meant until now.
        done.extend(swap.run(&before, step).await?);
        Ok(done)
    }

    /// The image has proved good: from now on it is what the moving tag means.
    async fn settle(&self, source: &mut FromSource, made: Made) -> Result<(), Failure> {
        let docker = self.platform.supply.docker().await?;
        image::retag(docker, &self.nodes, &made.image.reference, &source.moving).await?;
        source.change(self.platform, |record| record.serves(made))?;
        self.tidy.is_due(&source.moving, source.record.kept());
        Ok(())
    }
}
