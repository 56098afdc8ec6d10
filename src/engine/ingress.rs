//! Requests through the ingress gateway, the way a user makes them.

use std::time::{Duration, Instant};

use reqwest::header::{HOST, HeaderMap, HeaderValue, InvalidHeaderValue};
use tokio::time::sleep;

use crate::failure::{Failure, Family, Plain};

/// What a request came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status; `None` where no answer came.
    pub status: Option<u16>,
    /// The body, or why no answer came. Cut to 300 characters.
    pub body: String,
}

/// A client whose requests name `host`, by which a gateway that several platforms share tells them apart.
pub fn client(timeout: Duration, host: Option<&str>) -> Result<reqwest::Client, Failure> {
    let builder = builder(timeout, host).map_err(|error| no_client(&error))?;
    Ok(builder.build().map_err(|error| no_client(&error))?)
}

/// What such a client begins as.
///
/// # Errors
/// The host is none.
pub fn builder(timeout: Duration, host: Option<&str>) -> Result<reqwest::ClientBuilder, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    if let Some(host) = host {
        headers.insert(HOST, HeaderValue::from_str(host)?);
    }
    // Each request on a connection of its own: one that was accepted before the gateway was there, by whoever had the port
    // then, would give its answers for as long as it is asked.
    let builder = reqwest::Client::builder()
        .timeout(timeout)
        .no_proxy()
        .pool_max_idle_per_host(0);
    Ok(builder.default_headers(headers))
}

/// A client that could not be made.
pub fn no_client(error: &dyn std::fmt::Display) -> Plain {
    Plain::new(Family::Internal, format!("can't make an HTTP client: {error}"))
}

/// Asks until the answer is 200 or the deadline has passed, and returns the last answer. The gateway answers 503 for a
/// second after a rollout, and 404 until it has its routes.
pub async fn poll(client: &reqwest::Client, url: &str, within: Duration) -> Answer {
    let end = Instant::now() + within;
    loop {
        let answer = ask(client, url).await;
        if answer.status == Some(200) || Instant::now() >= end {
            return answer;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// Asks once.
pub async fn ask(client: &reqwest::Client, url: &str) -> Answer {
    ask_with(client, url, None).await
}

/// Asks once, with a token.
pub async fn ask_with(client: &reqwest::Client, url: &str, token: Option<&str>) -> Answer {
    let mut request = client.get(url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    match request.send().await {
        Ok(response) => {
            let status = Some(response.status().as_u16());
            let body = response
                .text()
                .await
                .unwrap_or_else(|error| format!("the body could not be read: {error}"));
            Answer {
                status,
                body: body.chars().take(300).collect(),
            }
        }
        Err(error) => Answer {
            status: None,
            body: error.to_string(),
        },
    }
}
