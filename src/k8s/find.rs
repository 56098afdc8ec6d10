//! One object, if it is there.

use std::time::Duration;

use kube::core::DynamicObject;

use super::client::Cluster;
use super::error::K8sError;
use super::object::ObjectRef;
use super::rollout::wait_for;

/// The object as it is now; `None` where it does not exist.
pub async fn find(cluster: &Cluster, object: &ObjectRef) -> Result<Option<DynamicObject>, K8sError> {
    match wait_for(cluster, object, Duration::ZERO, |_| true).await {
        Ok(found) => Ok(Some(found)),
        Err(K8sError::NotReady { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}
