//! Istio's own check of its configuration.

use super::platform::Platform;
use crate::cluster::{Finding, findings};
use crate::failure::Failure;

/// What istioctl finds in the platform's namespaces. Brings istioctl where it is missing.
pub async fn analyze(platform: &Platform) -> Result<Vec<Finding>, Failure> {
    // Before istioctl is brought, which takes long where it has to be built.
    drop(platform.reach().await?);
    let target = platform.target().await?;
    let step = platform.reporter.step("analyze", "Analyze the mesh", None);
    let program = platform.supply.tool("istioctl", &step).await?;
    step.progress("istioctl analyze");
    let namespaces = &platform.stack().namespaces;
    let found = findings(
        &program,
        &target,
        &[&namespaces.apps, &namespaces.infra, &namespaces.mesh],
    )
    .await?;
    step.done(format!("{} findings", found.len()));
    Ok(found)
}
