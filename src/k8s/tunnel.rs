//! One connection to a port in a pod, for who speaks a protocol of his own over it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Portforwarder};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::client::Cluster;
use super::error::{K8sError, not_forwarded};

/// How long the API server and the kubelet may take to connect.
const PATIENCE: Duration = Duration::from_secs(10);

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// A connection to a pod's port. Dropped, it ends.
pub struct Tunnel {
    stream: Box<dyn Both>,
    forwarder: Portforwarder,
}

impl Tunnel {
    /// Connects. That nothing listens there comes out with the first read.
    pub async fn open(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Result<Self, K8sError> {
        let target = format!("{namespace}/{pod} port {port}");
        let problem = |problem: String| K8sError::Forward {
            target: target.clone(),
            problem,
        };
        let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
        let opened = timeout(PATIENCE, pods.portforward(pod, &[port])).await;
        let mut forwarder = opened
            .map_err(|_| problem(format!("no connection within {} s", PATIENCE.as_secs())))?
            .map_err(|error| not_forwarded(&target, &error))?;
        let Some(stream) = forwarder.take_stream(port) else {
            return Err(problem("it gave no stream".to_owned()));
        };
        Ok(Self {
            stream: Box::new(stream),
            forwarder,
        })
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
