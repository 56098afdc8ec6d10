//! The Docker network that kind puts its nodes on. kind makes it with the first cluster, and leaves it behind with the last
//! one. Whoever had it before vadev, keeps it.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::{InspectNetworkOptions, ListContainersOptionsBuilder};

/// kind's name for it.
const NETWORK: &str = "kind";

/// Whether it is there. An engine that can't tell counts as having it: then nobody removes it.
pub(super) async fn is_there(docker: &Docker) -> bool {
    use bollard::errors::Error::DockerResponseServerError;
    let found = docker
        .inspect_network(NETWORK, None::<InspectNetworkOptions>)
        .await;
    !matches!(found, Err(DockerResponseServerError { status_code: 404, .. }))
}

/// Removes it where no container is on it any more, be it a stopped one, which could not be started again without it.
/// That it can't be removed is no failure: kind takes it as it is next time.
pub(super) async fn remove_unused(docker: &Docker) {
    let filters = HashMap::from([("network".to_owned(), vec![NETWORK.to_owned()])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    if docker
        .list_containers(Some(options))
        .await
        .is_ok_and(|on_it| on_it.is_empty())
    {
        let _stays = docker.remove_network(NETWORK).await;
    }
}
