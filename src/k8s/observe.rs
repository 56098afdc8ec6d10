//! One snapshot of what is there, for the planner and for recognising what an apply changed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use serde_json::Value;

use super::client::Cluster;
use super::error::K8sError;
use super::kinds::{BUILT_IN, KindInfo};
use super::object::ObjectRef;
use super::retry::{retrying, transient};

/// The label that every object of vadev's carries.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by=vadev";

/// Objects as they are in the cluster, by identity.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: BTreeMap<ObjectRef, Value>,
}

impl Snapshot {
    /// A snapshot of given objects, for tests and for planning against nothing.
    pub fn new(objects: impl IntoIterator<Item = Value>) -> Result<Self, K8sError> {
        let named = objects
            .into_iter()
            .map(|object| Ok((ObjectRef::of(&object)?, object)));
        Ok(Self {
            objects: named.collect::<Result<_, K8sError>>()?,
        })
    }
    /// The object as it is, if it is there.
    pub fn get(&self, reference: &ObjectRef) -> Option<&Value> {
        self.objects.get(reference)
    }
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectRef, &Value)> {
        self.objects.iter()
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.objects.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
    /// The `metadata.resourceVersion` of each object.
    pub fn resource_versions(&self) -> BTreeMap<ObjectRef, String> {
        let version = |o: &Value| {
            o["metadata"]["resourceVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        self.objects
            .iter()
            .map(|(reference, object)| (reference.clone(), version(object)))
            .collect()
    }
}

/// Lists every kind of the fixed table side by side. A kind that the server does not know (Istio's before Istio)
/// has no objects. `selector` is a label selector, normally [`MANAGED_BY`].
pub async fn observe(cluster: &Cluster, selector: &str) -> Result<Snapshot, K8sError> {
    observe_kinds(cluster, selector, BUILT_IN).await
}

/// As [`observe`], for some kinds only.
pub async fn observe_kinds(
    cluster: &Cluster,
    selector: &str,
    kinds: &[KindInfo],
) -> Result<Snapshot, K8sError> {
    let lists = kinds.iter().map(|kind| (*kind, None));
    gather(cluster, selector, lists.collect()).await
}

/// As [`observe_kinds`], of kinds that live in namespaces, from these namespaces alone: what a user of a shared cluster may
/// read where lists of the whole cluster are refused.
pub async fn observe_in(
    cluster: &Cluster,
    namespaces: &[&str],
    selector: &str,
    kinds: &[KindInfo],
) -> Result<Snapshot, K8sError> {
    let lists = kinds
        .iter()
        .flat_map(|kind| namespaces.iter().map(|namespace| (*kind, Some(*namespace))));
    gather(cluster, selector, lists.collect()).await
}

async fn gather(
    cluster: &Cluster,
    selector: &str,
    lists: Vec<(KindInfo, Option<&str>)>,
) -> Result<Snapshot, K8sError> {
    let lists = stream::iter(lists)
        .map(|(kind, namespace)| list(cluster, selector, kind, namespace))
        .buffer_unordered(12)
        .try_collect::<Vec<_>>();
    Ok(Snapshot {
        objects: lists.await?.into_iter().flatten().collect(),
    })
}

async fn list(
    cluster: &Cluster,
    selector: &str,
    mut kind: KindInfo,
    namespace: Option<&str>,
) -> Result<Vec<(ObjectRef, Value)>, K8sError> {
    loop {
        match list_served(cluster, selector, kind, namespace).await? {
            Some(objects) => return objects.iter().map(|object| entry(kind, object)).collect(),
            None => match kind.before() {
                Some(older) => kind = older,
                None => return Ok(Vec::new()),
            },
        }
    }
}

/// `None` where the server does not know the kind.
async fn list_served(
    cluster: &Cluster,
    selector: &str,
    kind: KindInfo,
    namespace: Option<&str>,
) -> Result<Option<Vec<DynamicObject>>, K8sError> {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, &kind.resource()),
        None => Api::all_with(cluster.client(), &kind.resource()),
    };
    let params = ListParams::default().labels(selector);
    let listed = retrying(
        "list",
        kind.plural,
        Duration::from_secs(20),
        transient,
        || async {
            match api.list(&params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                other => other.map(|found| Some(found.items)),
            }
        },
    );
    listed.await
}

/// Entries of a list carry neither apiVersion nor kind; they are put back.
fn entry(kind: KindInfo, object: &DynamicObject) -> Result<(ObjectRef, Value), K8sError> {
    let malformed = |error: serde_json::Error| K8sError::Malformed {
        subject: kind.plural.to_owned(),
        problem: format!("that the server sent can't be read: {error}"),
    };
    let mut value = serde_json::to_value(object).map_err(malformed)?;
    value["apiVersion"] = kind.api_version.into();
    value["kind"] = kind.kind.into();
    Ok((ObjectRef::of(&value)?, value))
}
