//! A plain GET at the API server, for answers that are no objects: metrics, kubelets' summaries.

use serde_json::Value;

use super::client::Cluster;
use super::error::K8sError;

/// The JSON at a path; `None` where there is no such path, or nobody stands behind it.
pub async fn raw(cluster: &Cluster, path: &str) -> Result<Option<Value>, K8sError> {
    let failed = |source: kube::Error| K8sError::Request {
        action: "read",
        subject: path.to_owned(),
        source: Box::new(source),
    };
    let request = hyper::Request::get(path)
        .body(Vec::new())
        .map_err(|error| failed(kube::Error::Service(Box::new(error))))?;
    match cluster.client().request::<Value>(request).await {
        Ok(found) => Ok(Some(found)),
        Err(kube::Error::Api(status)) if [404, 503].contains(&status.code) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The text at a path from a byte on, and where it ends; `None` where there is no such path. A text that has become shorter
/// than `from` is given from its beginning.
pub async fn raw_text(cluster: &Cluster, path: &str, from: u64) -> Result<Option<(String, u64)>, K8sError> {
    let failed = |source: kube::Error| K8sError::Request {
        action: "read",
        subject: path.to_owned(),
        source: Box::new(source),
    };
    let ask = |from: u64| async move {
        let request = hyper::Request::get(path);
        let request = if from > 0 {
            request.header("range", format!("bytes={from}-"))
        } else {
            request
        };
        let request = request
            .body(kube::client::Body::empty())
            .map_err(|error| kube::Error::Service(Box::new(error)))?;
        let response = cluster.client().send(request).await?;
        let status = response.status().as_u16();
        let bytes = http_body_util::BodyExt::collect(response.into_body())
            .await
            .map_err(|error| kube::Error::Service(Box::new(std::io::Error::other(error.to_string()))))?;
        Ok::<_, kube::Error>((status, String::from_utf8_lossy(&bytes.to_bytes()).into_owned()))
    };
    match ask(from).await.map_err(failed)? {
        (404, _) => Ok(None),
        // Nothing new, or rotated: the whole text tells which.
        (416, _) => {
            let (_, text) = ask(0).await.map_err(failed)?;
            let length = text.len() as u64;
            Ok(Some(if length < from {
                (text, length)
            } else {
                (String::new(), from)
            }))
        }
        // A server that does not do ranges gives everything.
        (200, text) if from > 0 => {
            let length = text.len() as u64;
            let start = usize::try_from(from).unwrap_or(usize::MAX);
            let rest = text.get(start..).map_or_else(|| text.clone(), str::to_owned);
            Ok(Some((rest, length)))
        }
        (200 | 206, text) => {
            let end = from + text.len() as u64;
            Ok(Some((text, end)))
        }
        (code, text) => {
            let message = text.lines().next().unwrap_or_default().to_owned();
            let status = kube::core::Status::failure(&message, "Failed").with_code(code);
            Err(failed(kube::Error::Api(status.boxed())))
        }
    }
}
