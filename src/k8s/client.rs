//! The one client of a cluster, and the certainty that it is still the same cluster.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject};

use super::error::K8sError;
use super::kinds::{Kinds, is_unknown_kind, unknown_kind};
use super::object::ObjectRef;
use super::retry::{Verdict, retrying, transient};

/// Which cluster is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The kubeconfig file.
    pub kubeconfig: PathBuf,
    /// A context in it.
    pub context: String,
    /// The namespace whose identity stands for the cluster's where the context's user may read no other.
    pub namespace: Option<String>,
}

impl Target {
    /// The context of a kubeconfig.
    pub fn new(kubeconfig: impl AsRef<Path>, context: impl Into<String>) -> Self {
        Self {
            kubeconfig: kubeconfig.as_ref().to_owned(),
            context: context.into(),
            namespace: None,
        }
    }

    /// The same for a user who may have rights in this namespace alone.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// What is read to know the cluster by.
    fn identified_by(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("the namespace kube-system, or {namespace}"),
            None => "the namespace kube-system".to_owned(),
        }
    }
}

/// What makes a cluster this one and no other.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClusterId {
    /// The context through which it is reached.
    pub context: String,
    /// UID of its kube-system namespace, which lives exactly as long as the cluster. Where that may not be read, of the
    /// platform's own namespace.
    pub uid: String,
}

#[derive(Debug)]
struct Inner {
    id: ClusterId,
    server: String,
    target: Target,
    kinds: Kinds,
}

/// A connected cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

impl Cluster {
    /// Connects and reads the cluster's identity, trying until `within` has passed. A cluster that is still starting
    /// counts as not answering; a refusal (401, 403) ends at once.
    pub async fn connect(target: &Target, within: Duration) -> Result<Self, K8sError> {
        let (client, server) = client_for(target).await?;
        let read = retrying("read", &target.identified_by(), within, starting, || {
            identity(&client, target.namespace.as_deref())
        })
        .await;
        let uid = read.map_err(|error| match error {
            K8sError::Deadline { seconds, source, .. } => K8sError::Unreachable {
                context: target.context.clone(),
                server: server.clone(),
                seconds,
                source,
            },
            other => other,
        })?;
        let id = ClusterId {
            context: target.context.clone(),
            uid,
        };
        Ok(Self {
            client,
            inner: Arc::new(Inner {
                id,
                server,
                target: target.clone(),
                kinds: Kinds::default(),
            }),
        })
    }

    /// Context and UID.
    pub fn id(&self) -> &ClusterId {
        &self.inner.id
    }

    /// The API server's address.
    pub fn server(&self) -> &str {
        &self.inner.server
    }

    /// The kubeconfig and context.
    pub fn target(&self) -> &Target {
        &self.inner.target
    }

    /// kube's client, for typed APIs.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Reads the kubeconfig and the cluster's UID again, and fails if the context now leads elsewhere. To be called
    /// before each phase that writes.
    pub async fn recheck(&self) -> Result<(), K8sError> {
        let (client, _) = client_for(&self.inner.target).await?;
        let within = Duration::from_secs(20);
        let found = retrying(
            "read",
            &self.inner.target.identified_by(),
            within,
            transient,
            || identity(&client, self.inner.target.namespace.as_deref()),
        )
        .await?;
        if found == self.inner.id.uid {
            return Ok(());
        }
        let context = self.inner.id.context.clone();
        Err(K8sError::DifferentCluster {
            context,
            expected: self.inner.id.uid.clone(),
            found,
        })
    }

    /// Git version of the API server, for instance `v1.34.4`.
    pub async fn version(&self) -> Result<String, K8sError> {
        let within = Duration::from_secs(10);
        let info = retrying("read", "the API server's version", within, transient, || {
            self.client.apiserver_version()
        });
        Ok(info.await?.git_version)
    }

    /// The versions of an API group that the server serves; none where it does not know the group.
    pub async fn versions_of(&self, group: &str) -> Result<Vec<String>, K8sError> {
        let within = Duration::from_secs(10);
        let groups = retrying("read", "the API server's groups", within, transient, || {
            self.client.list_api_groups()
        });
        let found = groups.await?.groups.into_iter().find(|one| one.name == group);
        let versions = found.map(|one| one.versions).unwrap_or_default();
        Ok(versions.into_iter().map(|one| one.version).collect())
    }

    /// The API of the kind of `reference`, in its namespace.
    pub(super) async fn api(&self, reference: &ObjectRef) -> Result<Api<DynamicObject>, K8sError> {
        let (api_version, kind) = (&reference.api_version, &reference.kind);
        let resolved = self.inner.kinds.resolve(&self.client, api_version, kind).await;
        let (resource, namespaced) = resolved.map_err(|error| {
            if is_unknown_kind(&error) {
                return unknown_kind(api_version, kind);
            }
            K8sError::Request {
                action: "look up the kind of",
                subject: reference.to_string(),
                source: Box::new(error),
            }
        })?;
        self.scoped(reference, &resource, namespaced)
    }

    fn scoped(
        &self,
        reference: &ObjectRef,
        resource: &ApiResource,
        namespaced: bool,
    ) -> Result<Api<DynamicObject>, K8sError> {
        match (&reference.namespace, namespaced) {
            (Some(namespace), true) => Ok(Api::namespaced_with(self.client.clone(), namespace, resource)),
            (None, false) => Ok(Api::all_with(self.client.clone(), resource)),
            (None, true) => Err(K8sError::Malformed {
                subject: reference.to_string(),
                problem: "has no namespace, and its kind needs one".to_owned(),
            }),
            (Some(_), false) => Err(K8sError::Malformed {
                subject: reference.to_string(),
                problem: "has a namespace, and its kind is cluster-wide".to_owned(),
            }),
        }
    }
}

/// The name that kubeadm gives to the administrator whose rights it grants only a moment after the API server answers.
const KUBEADM_ADMIN: &str = "\"kubernetes-admin\"";

/// While a cluster starts its port answers nothing, then 5xx, then 403 or 404 until RBAC and kube-system are there.
fn starting(error: &kube::Error) -> Verdict {
    match error {
        kube::Error::Api(status) if status.code == 404 => Verdict::Again,
        kube::Error::Api(status) if status.code == 403 && status.message.contains(KUBEADM_ADMIN) => {
            Verdict::Again
        }
        other => transient(other),
    }
}

async fn client_for(target: &Target) -> Result<(kube::Client, String), K8sError> {
    let refused = |source| K8sError::Kubeconfig {
        path: target.kubeconfig.clone(),
        context: target.context.clone(),
        source: Box::new(source),
    };
    let file = Kubeconfig::read_from(&target.kubeconfig).map_err(refused)?;
    let options = KubeConfigOptions {
        context: Some(target.context.clone()),
        ..KubeConfigOptions::default()
    };
    let mut config = kube::Config::from_custom_kubeconfig(file, &options)
        .await
        .map_err(refused)?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let server = config.cluster_url.to_string();
    let client = kube::Client::try_from(config).map_err(|source| K8sError::Client {
        context: target.context.clone(),
        source: Box::new(source),
    })?;
    Ok((client, server))
}

/// What tells this cluster from every other. Rights in the platform's namespaces alone are enough to operate it, so one of these
/// stands in where kube-system may not be read.
async fn identity(client: &kube::Client, namespace: Option<&str>) -> Result<String, kube::Error> {
    let refused = match (uid_of(client, "kube-system").await, namespace) {
        (Err(kube::Error::Api(status)), Some(namespace)) if status.code == 403 => (status, namespace),
        (found, _) => return found,
    };
    match uid_of(client, refused.1).await {
        // Nothing is deployed: what is missing is the right to see that.
        Err(kube::Error::Api(status)) if status.code == 404 => Err(kube::Error::Api(refused.0)),
        found => found,
    }
}

async fn uid_of(client: &kube::Client, namespace: &str) -> Result<String, kube::Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let read = namespaces.get_metadata(namespace);
    // A silent peer (a paused node) would otherwise hold the request for ever.
    let answer = tokio::time::timeout(Duration::from_secs(5), read).await;
    let found = answer.map_err(|_| kube::Error::Service("no answer within 5 s".into()))??;
    Ok(found.metadata.uid.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// An API server that knows two namespaces and lets one of them be read.
    fn server(readable: &'static str) -> kube::Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let asked = lines.next().unwrap().unwrap();
                let _headers = lines.map_while(Result::ok).find(String::is_empty);
                let name = asked
                    .split(' ')
                    .nth(1)
                    .unwrap()
                    .rsplit('/')
                    .next()
                    .unwrap()
                    .to_owned();
                let code = if name == "gone" { 404 } else { 403 };
                let (code, body) = if name == readable {
                    (
                        200,
                        serde_json::json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": name, "uid": format!("uid-{name}")}}),
                    )
                } else {
                    (
                        code,
                        serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": format!("no {name}"), "reason": "", "code": code}),
                    )
                };
                let body = body.to_string();
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut config = kube::Config::new(url.parse().unwrap());
        config.default_retry = false;
        kube::Client::try_from(config).unwrap()
    }

    #[tokio::test]
    async fn who_may_read_the_platforms_namespace_alone_knows_the_cluster_by_it() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let uid = async |readable, namespace| identity(&server(readable), namespace).await;
        assert_eq!(uid("kube-system", Some("apps")).await.unwrap(), "uid-kube-system");
        assert_eq!(uid("apps", Some("apps")).await.unwrap(), "uid-apps");
        let refused = |found: Result<String, kube::Error>| match found {
            Err(kube::Error::Api(status)) => (status.code, status.message),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused(uid("apps", None).await),
            (403, "no kube-system".to_owned())
        );
        assert_eq!(
            refused(uid("apps", Some("gone")).await),
            (403, "no kube-system".to_owned())
        );
    }
}
