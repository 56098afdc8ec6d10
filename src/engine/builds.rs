//! Services that the workspace has the source of: what has to be built, building it, and who runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::bases;
use super::platform::Platform;
use super::record::{self, Made, Record, Role};
use crate::agent::digest;
use crate::failure::{Failure, Family, Plain};
use crate::image::{self, BuildRequest, Held, ImageError, Listing};
use crate::k8s::{self, Cluster};
use crate::plan::ClusterState;
use crate::profile::Stack;
use crate::profile::stack::SizedService;
use crate::report::Step;
use crate::supply::ImageRequest;

/// A service whose image is built here.
#[derive(Debug, Clone)]
pub struct FromSource {
    /// The service.
    pub service: String,
    /// The moving tag that its Deployment names.
    pub moving: String,
    /// The build, with the arguments that replace its bases.
    pub request: BuildRequest,
    /// Digest of everything that the build is made of, as it is now.
    pub inputs: String,
    /// What is remembered of earlier builds.
    pub record: Record,
    bases: Vec<ImageRequest>,
    identities: Vec<String>,
    notes: Vec<String>,
}

/// Where a service's source is, if the workspace has it and no image is to run instead: the folder of a service of which
/// `vadev.yaml` says where it is or how it is built, which must then be buildable, or the usual folder where it has a Dockerfile.
pub fn source(platform: &Platform, sized: &SizedService) -> Option<PathBuf> {
    if sized.image.is_some() {
        return None;
    }
    let folder = platform.root().join(&sized.source);
    let said = &sized.workspace;
    // Whoever says how it is built wants it built, and no stand-in for a misspelt file.
    let named =
        said.source.is_some() || said.dockerfile.is_some() || said.target.is_some() || !said.args.is_empty();
    let dockerfile = said.dockerfile.as_deref().unwrap_or("Dockerfile");
    (named || folder.join(dockerfile).is_file()).then_some(folder)
}

/// The services of a stack that are built from the workspace's source.
pub fn among(platform: &Platform, stack: &Stack) -> BTreeSet<String> {
    let built = stack
        .services
        .iter()
        .filter(|sized| source(platform, sized).is_some());
    built.map(|sized| sized.service.name.clone()).collect()
}

/// The build of a service as it would be now; `None` where the workspace has no source of it.
pub async fn prepare(platform: &Platform, sized: &SizedService) -> Result<Option<FromSource>, Failure> {
    let Some(context) = source(platform, sized) else {
        return Ok(None);
    };
    let service = sized.service.name.clone();
    let moving = image::moving(&platform.stack().workspace, &service);
    let mut request = BuildRequest {
        service: service.clone(),
        context,
        dockerfile: sized.workspace.dockerfile.clone(),
        target: sized.workspace.target.clone(),
        args: sized.workspace.args.clone().into_iter().collect(),
        tag: moving.clone(),
    };
    let bases = bases::decide(platform, &mut request).await?;
    let inputs = inputs(&request, &bases.identities).await?;
    Ok(Some(FromSource {
        record: Record::read(&platform.options.state, &service),
        service,
        moving,
        request,
        inputs,
        bases: bases.requests,
        identities: bases.identities,
        notes: bases.notes,
    }))
}

async fn inputs(request: &BuildRequest, bases: &[String]) -> Result<String, Failure> {
    let reading = request.clone();
    let tree = blocking(&request.service, move || reading.digest()).await?;
    Ok(with_bases(&tree, bases))
}

fn with_bases(tree: &str, bases: &[String]) -> String {
    digest::hex(serde_json::json!([tree, bases]).to_string().as_bytes())
}

/// Reads a source on a thread of its own.
async fn blocking<T: Send + 'static>(
    service: &str,
    read: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, Failure> {
    let read = tokio::task::spawn_blocking(read).await;
    Ok(read.map_err(|error| {
        Plain::new(
            Family::Internal,
            format!("reading the source of {service} stopped: {error}"),
        )
    })??)
}

impl FromSource {
    /// Builds, and remembers it.
    pub async fn build(&mut self, platform: &Platform, step: &Step) -> Result<Made, Failure> {
        for note in &self.notes {
            platform.reporter.note(note.clone());
        }
        for base in &self.bases {
            platform.supply.image(base, step).await?;
        }
        // A base that has only now come has got an identity of its own.
        self.identities = bases::identities(platform, &self.bases).await?;
        let listing = self.listing().await?;
        self.inputs = self.inputs_of(&listing)?;
        let built = image::build(platform.supply.docker().await?, &self.request, step).await?;
        // With Docker's classic store the ID is the configuration's digest; with the other one shipping tells, or has told.
        let made = Made {
            inputs: self.inputs.clone(),
            config: self
                .record
                .config_of(&built.id)
                .unwrap_or_else(|| built.id.clone()),
            image: built,
        };
        self.keep(platform, Role::Built, &made.inputs, &listing)?;
        self.change(platform, |record| record.built(made.clone()))?;
        Ok(made)
    }

    /// What the build can see at this moment, path by path.
    pub async fn listing(&self) -> Result<Listing, Failure> {
        let reading = self.request.clone();
        blocking(&self.service, move || reading.listing()).await
    }

    /// Paths that the build could see and that are not as in `made`, of those that `counts` takes.
    pub async fn differing(
        &self,
        made: Arc<Listing>,
        counts: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<BTreeSet<String>, Failure> {
        let reading = self.request.clone();
        blocking(&self.service, move || reading.differing(&made, counts)).await
    }

    /// What `inputs` would be of this source, with everything else as it was.
    pub fn inputs_of(&self, listing: &Listing) -> Result<String, Failure> {
        Ok(with_bases(&self.request.digest_of(listing)?, &self.identities))
    }

    /// Remembers what an image was made of, path by path.
    pub fn keep(
        &self,
        platform: &Platform,
        role: Role,
        inputs: &str,
        listing: &Listing,
    ) -> Result<(), Failure> {
        let state = &platform.options.state;
        record::keep(state, &self.service, role, inputs, listing).map_err(|error| unwritten(state, &error))
    }

    /// Changes the record on disk and in memory.
    pub fn change(&mut self, platform: &Platform, change: impl FnOnce(&mut Record)) -> Result<(), Failure> {
        let state = &platform.options.state;
        self.record = Record::read(state, &self.service);
        change(&mut self.record);
        let written = self.record.write(state, &self.service);
        written.map_err(|error| unwritten(state, &error))
    }

    /// The last build, where it is of the source as it is now.
    pub fn current_build(&self) -> Option<&Made> {
        self.record
            .built
            .as_ref()
            .filter(|made| made.inputs == self.inputs)
    }

    /// What the nodes run, where it is of the source as it is now.
    pub fn current_serving(&self) -> Option<&Made> {
        self.record
            .serving
            .as_ref()
            .filter(|made| made.inputs == self.inputs)
    }

    fn cause(&self) -> String {
        match &self.record.built {
            None => "not built yet",
            Some(made) if made.inputs != self.inputs => "source changed",
            Some(_) => "its image is gone from Docker",
        }
        .to_owned()
    }
}

fn unwritten(state: &Path, error: &std::io::Error) -> Failure {
    Plain::new(
        Family::Environment,
        format!("can't write to {}: {error}", state.display()),
    )
    .with_hint("check the permissions of .vadev in the workspace")
    .into()
}

/// Why a service's image has to be built; `None` where Docker has the one of the source as it is.
pub async fn to_build(platform: &Platform, source: &FromSource) -> Result<Option<String>, Failure> {
    let docker = platform.supply.docker().await?;
    let there = match source.current_build() {
        Some(made) => image::engine_id(docker, &source.moving).await?.as_ref() == Some(&made.image.id),
        None => false,
    };
    Ok((!there).then(|| source.cause()))
}

/// Builds a service's image now, where Docker has not got the one of the source as it is; whether it had to.
pub async fn build_first(platform: &Platform, source: &FromSource) -> Result<bool, Failure> {
    let Some(cause) = to_build(platform, source).await? else {
        return Ok(false);
    };
    let title = format!("Get image {}", source.moving);
    let step = platform
        .reporter
        .step(format!("image/{}", source.moving), title, Some(cause));
    match source.clone().build(platform, &step).await {
        Ok(made) => step.done(made.image.reference),
        Err(error) => {
            step.finish(crate::report::Outcome::Failed, error.to_string());
            return Err(error);
        }
    };
    Ok(true)
}

/// What the planner is to know of the services with source.
#[derive(Debug, Default)]
pub struct Seen {
    /// Moving tag → why it has to be built.
    pub to_build: BTreeMap<String, String>,
    /// Moving tags that mean something else, or nothing, in some node.
    pub to_ship: BTreeSet<String>,
    /// Service → why its pods get another image.
    pub stale: BTreeMap<String, String>,
}

/// Looks at Docker, at the nodes and at the pods.
pub async fn observe(
    platform: &Platform,
    sources: &BTreeMap<String, FromSource>,
    state: &ClusterState,
    nodes: &[String],
    cluster: Option<&Cluster>,
) -> Result<Seen, Failure> {
    let mut seen = Seen::default();
    if sources.is_empty() {
        return Ok(seen);
    }
    let docker = platform.supply.docker().await?;
    let serving = sources.values().filter_map(|source| {
        let made = source.current_serving()?;
        Some(Held {
            reference: source.moving.clone(),
            id: made.config.clone(),
        })
    });
    let serving: Vec<Held> = serving.collect();
    let held = if cluster.is_some() {
        image::held(docker, nodes, &serving).await?
    } else {
        Vec::new()
    };
    // A cluster that is stopped comes back with what its nodes hold, and is looked at again then.
    let asleep = matches!(state, ClusterState::Stopped | ClusterState::Paused);
    for source in sources.values() {
        let serves = held.contains(&source.moving) || (asleep && source.current_serving().is_some());
        if serves {
            continue;
        }
        match to_build(platform, source).await? {
            None => {
                seen.to_ship.insert(source.moving.clone());
            }
            Some(cause) => {
                seen.to_build.insert(source.moving.clone(), cause);
            }
        }
    }
    if let Some(cluster) = cluster {
        seen.stale = stale(platform, sources, &seen, cluster).await?;
    }
    Ok(seen)
}

/// Services whose pods run something else than the nodes' newest image.
async fn stale(
    platform: &Platform,
    sources: &BTreeMap<String, FromSource>,
    seen: &Seen,
    cluster: &Cluster,
) -> Result<BTreeMap<String, String>, Failure> {
    let pods = k8s::observe_kinds(cluster, "app", k8s::PODS).await?;
    let namespace = &platform.stack().namespaces.apps;
    let mut stale = BTreeMap::new();
    for source in sources.values() {
        let of_it: Vec<&Value> = pods
            .iter()
            .map(|(_, pod)| pod)
            .filter(|pod| {
                pod["metadata"]["namespace"] == **namespace
                    && pod["metadata"]["labels"]["app"] == *source.service
                    && pod["metadata"]["deletionTimestamp"].is_null()
            })
            .collect();
        if of_it.is_empty() {
            continue;
        }
        let changes = seen.to_build.contains_key(&source.moving) || seen.to_ship.contains(&source.moving);
        let wanted = source.current_serving().map(|made| made.config.as_str());
        let other = |pod: &&&Value| !runs(pod, &source.service, wanted.unwrap_or_default());
        let count = of_it.iter().filter(other).count();
        if changes {
            stale.insert(source.service.clone(), "image changed".to_owned());
        } else if count > 0 {
            stale.insert(
                source.service.clone(),
                format!("{count} of {} pods run an older image", of_it.len()),
            );
        }
    }
    Ok(stale)
}

/// The pods of a service that the cluster has, without those on their way out.
pub async fn pods(platform: &Platform, cluster: &Cluster, service: &str) -> Result<Vec<Value>, Failure> {
    let selector = format!("app={service}");
    let found = k8s::observe_kinds(cluster, &selector, k8s::PODS).await?;
    let namespace = &platform.stack().namespaces.apps;
    let here = |pod: &&Value| {
        pod["metadata"]["namespace"] == **namespace && pod["metadata"]["deletionTimestamp"].is_null()
    };
    Ok(found.iter().map(|(_, pod)| pod).filter(here).cloned().collect())
}

/// Whether a pod's container was started from the image with this configuration; one that was not started yet will be.
pub fn runs(pod: &Value, container: &str, config: &str) -> bool {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let status = statuses
        .into_iter()
        .flatten()
        .find(|status| status["name"] == *container);
    let id = status
        .and_then(|status| status["imageID"].as_str())
        .unwrap_or_default();
    id.is_empty() || (!config.is_empty() && id.ends_with(config.trim_start_matches("sha256:")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_known_by_the_image_it_was_started_from() {
        let pod = |id: &str| json!({ "status": { "containerStatuses": [{ "name": "istio-proxy", "imageID": "x" }, { "name": "a", "imageID": id }] } });
        assert!(runs(&pod("sha256:abc"), "a", "sha256:abc"));
        assert!(!runs(&pod("sha256:abd"), "a", "sha256:abc"));
        assert!(!runs(&pod("sha256:abd"), "a", ""));
        assert!(runs(&pod(""), "a", "sha256:abc"), "not started yet");
    }
}
