//! Port-forwards that do not die: one websocket per accepted connection, to whichever pod is ready at that moment, so
//! that a restarted pod or API server costs the connections in flight and no more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::report::Reporter;

use super::client::Cluster;
use super::error::{K8sError, not_forwarded};
use super::ready::readiness;

/// Where a forward leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardTarget {
    /// Namespace of the pods.
    pub namespace: String,
    /// Label selector of the pods, for instance `app=postgres`.
    pub selector: String,
    /// The container's port.
    pub port: u16,
}

impl std::fmt::Display for ForwardTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} port {}", self.namespace, self.selector, self.port)
    }
}

/// A forward under way; it ends when this is dropped.
#[derive(Debug)]
pub struct Forward {
    local: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Listens on `listen` (port 0 takes any free one) and forwards every connection. Connections that fail are told
    /// as warnings on `reporter`; listening goes on.
    pub async fn open(
        cluster: &Cluster,
        target: ForwardTarget,
        listen: SocketAddr,
        reporter: Reporter,
    ) -> Result<Self, K8sError> {
        let refused = |e: std::io::Error| K8sError::Forward {
            target: target.to_string(),
            problem: format!("{listen} can't be listened on: {e}"),
        };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let local = listener.local_addr().map_err(refused)?;
        let task = tokio::spawn(accept(listener, cluster.clone(), Arc::new(target), reporter));
        Ok(Self { local, task })
    }

    /// The address that is listened on.
    pub fn local(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connections live in a set of this task, so that aborting it ends them too.
async fn accept(listener: TcpListener, cluster: Cluster, target: Arc<ForwardTarget>, reporter: Reporter) {
    let mut connections = JoinSet::new();
    // The same trouble is told once: who polls would read it many times a second.
    let told = Arc::new(Mutex::new(None));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (cluster, target, reporter) = (cluster.clone(), Arc::clone(&target), reporter.clone());
                    let told = Arc::clone(&told);
                    connections.spawn(async move {
                        let trouble = carry(stream, &cluster, &target).await.err();
                        let text = trouble.as_ref().map(ToString::to_string);
                        let before = std::mem::replace(
                            &mut *told.lock().unwrap_or_else(PoisonError::into_inner),
                            text.clone(),
                        );
                        if let Some((error, text)) = trouble.zip(text)
                            && before.as_ref() != Some(&text)
                        {
                            reporter.warn(text, crate::failure::Diagnose::hint(&error));
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, mostly: connections that end make room.
                    reporter.warn(format!("can't accept connections for {target}: {error}"), None);
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut stream: TcpStream, cluster: &Cluster, target: &ForwardTarget) -> Result<(), K8sError> {
    let problem = |problem: String| K8sError::Forward {
        target: target.to_string(),
        problem,
    };
    let pods: Api<Pod> = Api::namespaced(cluster.client(), &target.namespace);
    let listed = pods.list(&ListParams::default().labels(&target.selector)).await;
    let listed = listed.map_err(|error| not_forwarded(target, &error))?;
    let running = listed.items.iter().filter(|pod| {
        pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
            && pod.metadata.deletion_timestamp.is_none()
    });
    // A pod that is not ready is better than none: one may want to look at exactly that one.
    let chosen = running.min_by_key(|pod| !readiness(*pod).is_ready());
    let name = chosen
        .and_then(|pod| pod.metadata.name.clone())
        .ok_or_else(|| problem("no pod of it runs".to_owned()))?;
    let mut forwarder = pods
        .portforward(&name, &[target.port])
        .await
        .map_err(|error| not_forwarded(target, &error))?;
    let error = forwarder.take_error(target.port);
    let Some(mut upstream) = forwarder.take_stream(target.port) else {
        return Err(problem(format!("{name} gave no stream")));
    };
    // Either side hanging up ends the connection, which is not worth a word; what the kubelet says is.
    let _moved = copy_bidirectional(&mut stream, &mut upstream).await;
    drop(upstream);
    forwarder.abort();
    let said = match error {
        Some(error) => futures::FutureExt::now_or_never(error).flatten(),
        None => None,
    };
    said.map_or(Ok(()), |text| Err(problem(format!("{name}: {}", text.trim()))))
}
