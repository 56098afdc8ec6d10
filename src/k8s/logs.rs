//! Container logs: the last lines, and following.

use futures::{AsyncBufReadExt, Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, LogParams};

use super::client::Cluster;
use super::error::K8sError;

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// The container; `None` takes the pod's first (or `kubectl.kubernetes.io/default-container`).
    pub container: Option<String>,
    /// Only so many of the last lines.
    pub tail: Option<i64>,
    /// Only lines of the last so many seconds.
    pub since_seconds: Option<i64>,
    /// Only lines from this moment on, to the second; counts instead of `since_seconds`.
    pub since: Option<Timestamp>,
    /// The container's life before its last restart.
    pub previous: bool,
    /// Put the time (RFC 3339) before each line.
    pub timestamps: bool,
}

impl LogOptions {
    fn params(&self, follow: bool) -> LogParams {
        LogParams {
            container: self.container.clone(),
            follow,
            previous: self.previous,
            since_seconds: self.since_seconds.filter(|_| self.since.is_none()),
            since_time: self.since,
            tail_lines: self.tail,
            timestamps: self.timestamps,
            ..LogParams::default()
        }
    }
}

fn refused(namespace: &str, pod: &str, error: kube::Error) -> K8sError {
    K8sError::Request {
        action: "read the log of",
        subject: format!("pod {namespace}/{pod}"),
        source: Box::new(error),
    }
}

/// The lines that are there now.
pub async fn tail(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    options: &LogOptions,
) -> Result<Vec<String>, K8sError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let text = pods
        .logs(pod, &options.params(false))
        .await
        .map_err(|e| refused(namespace, pod, e))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Lines as they are written, until the container ends or the stream is dropped. Bytes that are not UTF-8 are
/// replaced.
pub async fn follow(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    options: &LogOptions,
) -> Result<impl Stream<Item = Result<String, K8sError>> + Send + use<>, K8sError> {
    lines(cluster, namespace, pod, options, true).await
}

/// The lines that are there now, one after the other: for logs too long to hold.
pub async fn read(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    options: &LogOptions,
) -> Result<impl Stream<Item = Result<String, K8sError>> + Send + use<>, K8sError> {
    lines(cluster, namespace, pod, options, false).await
}

async fn lines(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    options: &LogOptions,
    follow: bool,
) -> Result<impl Stream<Item = Result<String, K8sError>> + Send + use<>, K8sError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let reader = pods
        .log_stream(pod, &options.params(follow))
        .await
        .map_err(|e| refused(namespace, pod, e))?;
    let (namespace, pod) = (namespace.to_owned(), pod.to_owned());
    let lines = futures::stream::unfold(Box::pin(reader), |mut reader| async move {
        let mut line = Vec::new();
        match reader.read_until(b'\n', &mut line).await {
            Ok(0) => None,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                Some((Ok(text.trim_end_matches(['\n', '\r']).to_owned()), reader))
            }
            Err(error) => Some((Err(error), reader)),
        }
    });
    Ok(lines
        .map(move |line| line.map_err(|error| refused(&namespace, &pod, kube::Error::ReadEvents(error))))
        // After a read error the stream would give the same error for ever.
        .scan(false, |ended, line| {
            let goes_on = !*ended;
            *ended = line.is_err();
            futures::future::ready(goes_on.then_some(line))
        }))
}
