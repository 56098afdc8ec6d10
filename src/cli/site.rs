//! The cluster that verbs operate on: the one place where it is chosen, and where one that is not vadev's own is asked for.

use super::Context;
use crate::engine::Platform;
use crate::failure::Failure;
use crate::operate::{OperateError, Site};
use crate::profile::component_names;
use crate::render::operator::GATEWAY;

/// What runs in the mesh's own namespace, and so is in no file of the catalog.
const MESH_WORKLOADS: [&str; 2] = ["istiod", GATEWAY];

impl Context {
    /// Where the platform runs that the global flags mean: for looking at it.
    pub async fn site(&self) -> Result<Site, Failure> {
        self.site_of(&self.running()?).await
    }

    /// Where a platform runs: for looking at it.
    pub async fn site_of(&self, platform: &Platform) -> Result<Site, Failure> {
        let cluster = platform.reach().await?;
        Ok(Site::new(
            cluster,
            platform.stack().namespaces.clone(),
            self.reporter(),
        ))
    }

    /// A site that was reached for the sake of these services and systems. Where it could not be, a misspelt name is told before
    /// anything else: whoever brings the cluster up would meet it next. What the catalog does not know may well run in the
    /// cluster, so of one that answers only the cluster can tell.
    pub fn about(
        &self,
        names: impl IntoIterator<Item = impl AsRef<str>>,
        reached: Result<Site, Failure>,
    ) -> Result<Site, Failure> {
        // What runs in others' clusters is theirs to name.
        if reached.is_ok() || self.globals().context.is_some() {
            return reached;
        }
        let mut known = component_names(&self.loaded()?.catalog);
        known.extend(MESH_WORKLOADS.map(str::to_owned));
        let is_known = |name: &str| known.iter().any(|one| one == name);
        match names.into_iter().find(|name| !is_known(name.as_ref())) {
            Some(name) => Err(OperateError::unknown(name.as_ref(), known).into()),
            None => reached,
        }
    }

    /// Where the platform runs, to do `what` to it (`restart agent-engine`).
    pub async fn site_to(&self, what: &str) -> Result<Site, Failure> {
        self.site_of_to(&self.running()?, what).await
    }

    /// Where a platform runs, to do `what` to it. A cluster that vadev did not make is written to only with a yes.
    pub async fn site_of_to(&self, platform: &Platform, what: &str) -> Result<Site, Failure> {
        if platform.options.place.existing().is_some() {
            let context = platform.cluster_name();
            self.insist(&format!("{what} in {context}, which is not vadev's own cluster?"))?;
        }
        self.site_of(platform).await
    }
}
