//! Whether this machine can hold a cluster at all, before the first minutes are spent on one.

use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};
use crate::supply::doctor;

/// Refuses what the doctor calls an error for a new cluster, and warns of what it warns of. CPU, memory and ports have checks of
/// their own.
pub async fn ready(platform: &Platform) -> Result<(), Failure> {
    let supply = &platform.supply;
    let kubernetes = doctor::kubernetes(supply.book()).ok_or_else(|| {
        Plain::new(
            Family::Internal,
            "the node image's recipe names no Kubernetes release",
        )
    })?;
    let checks = doctor::beforehand(supply.docker().await?, kubernetes, supply.cache().root()).await;
    for (message, hint) in doctor::judged(&checks)? {
        platform.reporter.warn(message, hint);
    }
    Ok(())
}
