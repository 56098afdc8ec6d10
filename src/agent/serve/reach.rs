//! Asks many addresses from inside a pod, so that what the mesh lets through can be seen from where the service stands.

use std::time::Duration;

use hyper::header::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::agent::client;

/// Long enough for a sidecar that tries three times to connect.
const PATIENCE: Duration = Duration::from_secs(8);

/// What came of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The address.
    pub url: String,
    /// The status, when there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The beginning of the answer, or what failed.
    pub detail: String,
}

/// Asks all addresses side by side; the result has their order.
pub async fn reach(urls: Vec<String>) -> Vec<Reached> {
    let mut asked = JoinSet::new();
    for (place, url) in urls.into_iter().enumerate() {
        asked.spawn(async move {
            let outcome = tokio::time::timeout(PATIENCE, client::get(&url, HeaderMap::new())).await;
            let (status, detail) = match outcome {
                Ok(Ok((status, body))) => {
                    (Some(status.as_u16()), String::from_utf8_lossy(&body).into_owned())
                }
                Ok(Err(what)) => (None, what),
                Err(_) => (None, format!("no answer within {} s", PATIENCE.as_secs())),
            };
            let detail = detail.trim().chars().take(120).collect();
            (place, Reached { url, status, detail })
        });
    }
    let mut all = asked.join_all().await;
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, reached)| reached).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_line_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let urls = vec!["https://x/".to_owned(), "http://127.0.0.1:1/".to_owned()];
        let reached = runtime.block_on(reach(urls.clone()));
        assert_eq!(
            reached.iter().map(|one| one.url.clone()).collect::<Vec<_>>(),
            urls
        );
        assert!(
            reached
                .iter()
                .all(|one| one.status.is_none() && !one.detail.is_empty()),
            "{reached:?}"
        );
    }
}
