//! The cluster that verbs operate on: the one place where it is chosen, and where one that is not vadev's own is asked for.

use std::time::Duration;

use super::Context;
use crate::engine::Platform;
use crate::failure::Failure;
use crate::operate::Site;

/// How long a cluster that runs may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

impl Context {
    /// Where the platform runs that the global flags mean: for looking at it.
    pub async fn site(&self) -> Result<Site, Failure> {
        self.site_of(&self.running()?).await
    }

    /// Where a platform runs: for looking at it.
    pub async fn site_of(&self, platform: &Platform) -> Result<Site, Failure> {
        let cluster = platform.reach(ANSWER).await?;
        Ok(Site::new(
            cluster,
            platform.stack().namespaces.clone(),
            self.reporter(),
        ))
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
