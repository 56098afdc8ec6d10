//! Another image for one container of a live pod: the one change that a pod takes in place. The kubelet starts that container
//! anew; sandbox, volumes and the other containers stay.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::client::Cluster;
use super::error::K8sError;
use super::retry::{retrying, transient};

/// How long the API server may be busy.
const WITHIN: Duration = Duration::from_secs(20);

/// Gives a container of a pod another image; `false` where the pod is gone.
pub async fn set_image(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    image: &str,
) -> Result<bool, K8sError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let patch = json!({"spec": {"containers": [{"name": container, "image": image}]}});
    let subject = format!("the image of pod {namespace}/{pod}");
    let params = PatchParams::default();
    retrying("change", &subject, WITHIN, transient, || async {
        match pods.patch(pod, &params, &Patch::Strategic(&patch)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(error),
        }
    })
    .await
}
