//! Server-side apply of many objects, side by side.

use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::Value;

use super::client::Cluster;
use super::delete::{DeleteOptions, Propagation, delete_one, wait_gone};
use super::diff::{FieldChange, differences};
use super::error::K8sError;
use super::kinds::KindInfo;
use super::object::ObjectRef;
use super::observe::Snapshot;
use super::retry::{retrying, transient, transient_or_early};

/// The field manager's name.
pub const MANAGER: &str = "vadev";

/// How many requests are under way at once.
const SIDE_BY_SIDE: usize = 16;

/// What an apply did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there and is different now.
    Changed,
    /// It was there and is as it was: same resourceVersion, or only others' status moved.
    Unchanged,
    /// A field that can't be changed had to: deleted and made again.
    Recreated,
}

/// One applied object.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Which.
    pub object: ObjectRef,
    /// What happened.
    pub change: Change,
    /// The fields that moved; empty for created and unchanged.
    pub fields: Vec<FieldChange>,
    /// The object as the server holds it now; after a dry run, as it would be (null if it is not there yet).
    pub now: Value,
}

/// How to apply.
#[derive(Debug, Clone, Copy)]
pub struct ApplyOptions<'a> {
    /// What is known to be there; saves one read per object.
    pub known: Option<&'a Snapshot>,
    /// Ask the server what would happen, and change nothing.
    pub dry_run: bool,
    /// Whether an object whose change the server does not allow in place may be deleted and made again.
    pub recreate: bool,
    /// How long one object may be tried: for busy servers, and for namespaces, definitions and webhooks on their way.
    pub within: Duration,
}

impl Default for ApplyOptions<'_> {
    fn default() -> Self {
        Self {
            known: None,
            dry_run: false,
            recreate: true,
            within: Duration::from_mins(1),
        }
    }
}

/// Applies all objects: namespaces and definitions first, the rest side by side. Every object is tried even if another
/// fails, and all failures are told together. The result has the order of `objects`.
pub async fn apply_all<'a>(
    cluster: &Cluster,
    objects: impl IntoIterator<Item = &'a Value>,
    options: ApplyOptions<'_>,
) -> Result<Vec<Applied>, K8sError> {
    apply_each(cluster, objects, options, |_| {}).await
}

/// As [`apply_all`], telling of each object as soon as it is done.
pub async fn apply_each<'a>(
    cluster: &Cluster,
    objects: impl IntoIterator<Item = &'a Value>,
    options: ApplyOptions<'_>,
    mut done: impl FnMut(&Applied),
) -> Result<Vec<Applied>, K8sError> {
    let (first, rest): (Vec<_>, Vec<_>) = objects
        .into_iter()
        .enumerate()
        .partition(|(_, object)| foundation(object));
    let total = first.len() + rest.len();
    let mut results = Vec::with_capacity(total);
    for wave in [first, rest] {
        let mut running = stream::iter(wave)
            .map(|(index, object)| async move { (index, apply_one(cluster, object, options).await) })
            .buffer_unordered(SIDE_BY_SIDE);
        while let Some((index, result)) = running.next().await {
            if let Ok(applied) = &result {
                done(applied);
            }
            results.push((index, result));
        }
    }
    results.sort_by_key(|(index, _)| *index);
    let (mut applied, mut failures) = (Vec::new(), Vec::new());
    for (_, result) in results {
        match result {
            Ok(one) => applied.push(one),
            Err(error) => failures.push(error),
        }
    }
    match failures.len() {
        0 => Ok(applied),
        1 => Err(failures.remove(0)),
        _ => Err(K8sError::Several {
            done: "applied",
            total,
            failures,
        }),
    }
}

/// Whether other objects can't exist without this one.
fn foundation(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    KindInfo::rank(api_version, kind) <= KindInfo::rank("apiextensions.k8s.io/v1", "CustomResourceDefinition")
}

/// Applies one object.
pub async fn apply_one(
    cluster: &Cluster,
    object: &Value,
    options: ApplyOptions<'_>,
) -> Result<Applied, K8sError> {
    let reference = ObjectRef::of(object)?;
    let missing = |object: ObjectRef| Applied {
        object,
        change: Change::Created,
        fields: Vec::new(),
        now: Value::Null,
    };
    // What a dry run asks about may lack its kind or its namespace too: then it is simply not there.
    let api = match cluster.api(&reference).await {
        Err(K8sError::UnknownKind { .. }) if options.dry_run => return Ok(missing(reference)),
        Err(K8sError::UnknownKind { .. }) => known_api(cluster, &reference, options.within).await?,
        other => other?,
    };
    let before = match options.known.and_then(|known| known.get(&reference)) {
        Some(found) => Some(found.clone()),
        None => read(&api, &reference).await?,
    };
    let before = match before {
        Some(found) if found.pointer("/metadata/deletionTimestamp").is_some() && !options.dry_run => {
            // An apply to an object on its way out succeeds and is then lost.
            wait_gone(&api, &reference, options.within).await?;
            None
        }
        other => other,
    };
    if options.dry_run && before.is_none() {
        return Ok(missing(reference));
    }
    let subject = reference.to_string();
    let send = || {
        retrying("apply", &subject, options.within, transient_or_early, || {
            patch(&api, &reference, object, options.dry_run)
        })
    };
    let (now, recreated) = match send().await {
        Err(error)
            if before.is_some()
                && !options.dry_run
                && options.recreate
                && may_recreate(&reference, &error) =>
        {
            let delete = DeleteOptions {
                propagation: heirs(&reference),
                ..DeleteOptions::default()
            };
            delete_one(cluster, &reference, delete).await?;
            (send().await?, true)
        }
        other => (other?, false),
    };
    let (change, fields) = match &before {
        None => (Change::Created, Vec::new()),
        Some(before)
            if before["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]
                && !options.dry_run =>
        {
            (Change::Unchanged, Vec::new())
        }
        Some(before) => match differences(before, &now) {
            fields if recreated => (Change::Recreated, fields),
            fields if fields.is_empty() => (Change::Unchanged, fields),
            fields => (Change::Changed, fields),
        },
    };
    Ok(Applied {
        object: reference,
        change,
        fields,
        now,
    })
}

/// Resolves the kind, waiting for a definition that another apply has only just created.
async fn known_api(
    cluster: &Cluster,
    reference: &ObjectRef,
    within: Duration,
) -> Result<Api<DynamicObject>, K8sError> {
    let end = tokio::time::Instant::now() + within;
    let mut attempt = 0;
    loop {
        let result = cluster.api(reference).await;
        let pause = super::retry::pause(attempt);
        if !matches!(result, Err(K8sError::UnknownKind { .. })) || tokio::time::Instant::now() + pause > end {
            return result;
        }
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

async fn read(api: &Api<DynamicObject>, reference: &ObjectRef) -> Result<Option<Value>, K8sError> {
    let subject = reference.to_string();
    let found = retrying("read", &subject, Duration::from_secs(20), transient, || {
        api.get_opt(&reference.name)
    });
    found.await?.map(|object| value(reference, &object)).transpose()
}

async fn patch(
    api: &Api<DynamicObject>,
    reference: &ObjectRef,
    object: &Value,
    dry_run: bool,
) -> Result<Value, kube::Error> {
    let mut params = PatchParams::apply(MANAGER).force().validation_strict();
    params.dry_run = dry_run;
    let applied = api.patch(&reference.name, &params, &Patch::Apply(object)).await?;
    serde_json::to_value(applied).map_err(kube::Error::SerdeError)
}

fn value(reference: &ObjectRef, object: &DynamicObject) -> Result<Value, K8sError> {
    serde_json::to_value(object).map_err(|error| K8sError::Malformed {
        subject: reference.to_string(),
        problem: format!("that the server sent can't be read: {error}"),
    })
}

/// Whether the refusal is about a field that can't be changed in place, and the object holds nothing that deleting it
/// would lose.
fn may_recreate(reference: &ObjectRef, error: &K8sError) -> bool {
    let K8sError::Request { source, .. } = error else {
        return false;
    };
    let kube::Error::Api(status) = source.as_ref() else {
        return false;
    };
    let immutable = status.message.contains("immutable")
        || status
            .message
            .contains("updates to statefulset spec for fields other than")
        || status.message.contains("cannot change roleRef");
    let replaceable = matches!(
        reference.kind.as_str(),
        "Job"
            | "Deployment"
            | "DaemonSet"
            | "StatefulSet"
            | "Service"
            | "RoleBinding"
            | "ClusterRoleBinding"
            | "StorageClass"
            | "ConfigMap"
            | "Secret"
    );
    status.code == 422 && immutable && replaceable
}

/// A `StatefulSet`'s pods and claims stay and are adopted by its successor; everything else takes its pods along.
fn heirs(reference: &ObjectRef) -> Propagation {
    if reference.kind == "StatefulSet" {
        Propagation::Orphan
    } else {
        Propagation::Foreground
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use serde_json::json;

    fn refusal(message: &str) -> K8sError {
        let source = Box::new(kube::Error::Api(
            Status::failure(message, "Invalid").with_code(422).boxed(),
        ));
        K8sError::Request {
            action: "apply",
            subject: "x".to_owned(),
            source,
        }
    }

    #[test]
    fn namespaces_and_definitions_are_the_foundation() {
        assert!(foundation(&json!({"apiVersion": "v1", "kind": "Namespace"})));
        assert!(!foundation(&json!({"apiVersion": "v1", "kind": "Secret"})));
    }

    #[test]
    fn data_is_never_recreated() {
        let claim = ObjectRef::new("v1", "PersistentVolumeClaim", "n", "data");
        let job = ObjectRef::new("batch/v1", "Job", "n", "init");
        assert!(may_recreate(&job, &refusal("spec.template: field is immutable")));
        assert!(!may_recreate(
            &job,
            &refusal("spec.template.image: Required value")
        ));
        assert!(!may_recreate(&claim, &refusal("spec: field is immutable")));
    }

    #[test]
    fn a_stateful_sets_pods_stay() {
        assert_eq!(
            heirs(&ObjectRef::new("apps/v1", "StatefulSet", "n", "pg")),
            Propagation::Orphan
        );
        assert_eq!(
            heirs(&ObjectRef::new("batch/v1", "Job", "n", "i")),
            Propagation::Foreground
        );
    }
}
