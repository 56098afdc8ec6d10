//! Fields that were patched come under the account of what was applied, so that an apply which leaves them out takes them
//! away. Without it they would stay for ever: the API server removes only what the same manager has applied.

use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use super::apply::MANAGER;
use super::client::Cluster;
use super::error::K8sError;
use super::object::ObjectRef;
use super::retry::{pause, retrying, transient};

/// How long the API server may be busy.
const WITHIN: Duration = Duration::from_secs(20);

/// How often somebody else may have changed the object meanwhile.
const TRIES: u32 = 10;

/// Puts the fields below `path` (names of fields) that vadev has patched under the account of what vadev has applied, but
/// for those called one of `except`. Where vadev has applied nothing, nothing is changed.
pub async fn adopt(
    cluster: &Cluster,
    target: &ObjectRef,
    path: &[&str],
    except: &[&str],
) -> Result<(), K8sError> {
    let api: Api<DynamicObject> = cluster.api(target).await?;
    let subject = target.to_string();
    let mut attempt = 0;
    loop {
        let found = retrying("read", &subject, WITHIN, transient, || api.get(&target.name)).await?;
        let fields = serde_json::to_value(&found.metadata.managed_fields).unwrap_or_default();
        let Some(accounts) = accounts(&fields, path, except) else {
            return Ok(());
        };
        let operations = json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": found.metadata.resource_version },
            { "op": "replace", "path": "/metadata/managedFields", "value": accounts },
        ]);
        let operations = serde_json::from_value(operations).map_err(|error| K8sError::Malformed {
            subject: subject.clone(),
            problem: format!("its patch can't be made: {error}"),
        })?;
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match api
            .patch(&target.name, &params, &Patch::Json::<Value>(operations))
            .await
        {
            Ok(_) => return Ok(()),
            // Its status has moved between reading and patching.
            Err(kube::Error::Api(status)) if matches!(status.code, 409 | 422) && attempt < TRIES => {
                tokio::time::sleep(pause(attempt)).await;
                attempt += 1;
            }
            Err(source) => {
                return Err(K8sError::Request {
                    action: "change",
                    subject,
                    source: Box::new(source),
                });
            }
        }
    }
}

/// The accounts as they are to be; `None` where they are so already.
fn accounts(managed: &Value, path: &[&str], except: &[&str]) -> Option<Value> {
    let mut entries = managed.as_array()?.clone();
    let of = |operation: &'static str| {
        move |entry: &Value| {
            entry["manager"] == MANAGER && entry["operation"] == operation && entry["subresource"].is_null()
        }
    };
    let applied = entries.iter().position(of("Apply"))?;
    let version = entries[applied]["apiVersion"].clone();
    let mut moved = Value::Null;
    let patched = of("Update");
    for entry in entries
        .iter_mut()
        .filter(|entry| patched(entry) && entry["apiVersion"] == version)
    {
        let Some((last, above)) = path.split_last() else {
            continue;
        };
        let place = above.iter().try_fold(&mut entry["fieldsV1"], |fields, name| {
            fields.get_mut(format!("f:{name}"))
        });
        let Some(fields) = place.and_then(Value::as_object_mut) else {
            continue;
        };
        let key = format!("f:{last}");
        if let Some(mut taken) = fields.remove(&key) {
            let left = part(&mut taken, except);
            if let Some(left) = left {
                fields.insert(key, left);
            }
            merge(&mut moved, taken);
        }
    }
    if moved.is_null() {
        return None;
    }
    let whole = path
        .iter()
        .rev()
        .fold(moved, |below, name| json!({ format!("f:{name}"): below }));
    merge(&mut entries[applied]["fieldsV1"], whole);
    Some(Value::Array(entries))
}

/// Takes the fields called so out of a tree; they come back with the way to them.
fn part(tree: &mut Value, names: &[&str]) -> Option<Value> {
    let fields = tree.as_object_mut()?;
    let mut out = Map::new();
    let is_named = |key: &str| key.strip_prefix("f:").is_some_and(|name| names.contains(&name));
    for key in fields.keys().cloned().collect::<Vec<_>>() {
        if is_named(&key) {
            out.extend(fields.remove(&key).map(|below| (key, below)));
        } else if let Some(below) = fields.get_mut(&key).and_then(|below| part(below, names)) {
            out.insert(key, below);
        }
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, below) in from {
                merge(into.entry(key).or_insert_with(|| json!({})), below);
            }
        }
        (into, from) if into.is_null() => *into = from,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_patched_is_accounted_as_applied_and_a_restart_is_not() {
        let entry = |operation: &str, fields: Value| json!({ "manager": MANAGER, "operation": operation, "apiVersion": "apps/v1", "fieldsV1": fields });
        let managed = json!([
            entry("Apply", json!({ "f:spec": { "f:template": { "f:spec": { "f:a": {} } } } })),
            entry("Update", json!({ "f:spec": { "f:paused": {}, "f:template": {
                "f:metadata": { "f:annotations": { "f:restartedAt": {}, "f:x": {} } },
                "f:spec": { "f:args": {} },
            } } })),
            { "manager": "other", "operation": "Update", "apiVersion": "apps/v1",
              "fieldsV1": { "f:spec": { "f:template": { "f:z": {} } } } },
        ]);
        let path = ["spec", "template"];
        let after = accounts(&managed, &path, &["restartedAt"]).unwrap();
        assert_eq!(
            after[0]["fieldsV1"],
            json!({ "f:spec": { "f:template": {
                "f:spec": { "f:a": {}, "f:args": {} },
                "f:metadata": { "f:annotations": { "f:x": {} } },
            } } })
        );
        assert_eq!(
            after[1]["fieldsV1"],
            json!({ "f:spec": { "f:paused": {}, "f:template": {
                "f:metadata": { "f:annotations": { "f:restartedAt": {} } },
            } } })
        );
        assert_eq!(after[2], managed[2]);
        let applied_alone = json!([managed[0]]);
        assert!(accounts(&applied_alone, &path, &[]).is_none());
        let patched_alone = json!([managed[1]]);
        assert!(accounts(&patched_alone, &path, &[]).is_none());
    }
}
