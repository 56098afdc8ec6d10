//! What a workload was before, and back to it. Deployments keep it in `ReplicaSet`s, `StatefulSet`s in `ControllerRevision`s.

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::OperateError;
use super::rollout::{RESTARTED, change, refuse_paused};
use super::site::{Site, Workload};
use crate::failure::Failure;
use crate::k8s::{adopt, own_container, own_container_at};

/// What a change of configuration is called. A template has only a digest of it: the values are beside the workload.
pub const CONFIGURATION: &str = "configuration";

/// One revision.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Its number; the highest is the newest.
    pub revision: i64,
    /// Whether it is what the workload wants now.
    pub current: bool,
    /// The component's image.
    pub image: String,
    /// Pods of it that run.
    pub pods: i32,
    /// When it was made first.
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// What distinguishes it from the one before.
    pub change: String,
    #[serde(skip)]
    template: Value,
}

/// The revisions that the cluster keeps, oldest first.
pub async fn history(site: &Site, workload: &Workload) -> Result<Vec<Revision>, Failure> {
    let mut found = if workload.id.kind == "StatefulSet" {
        controller_revisions(site, workload).await?
    } else {
        replica_sets(site, workload).await?
    };
    found.sort_by_key(|revision| revision.revision);
    for at in 1..found.len() {
        found[at].change = difference(workload.name(), &found[at - 1].template, &found[at].template);
    }
    Ok(found)
}

/// Goes back to a revision, by default the one before. Returns the workload as it is then and the revision that was taken, whose
/// change is what distinguishes it from what it replaced. Does not wait.
pub async fn undo(
    site: &Site,
    workload: &Workload,
    to: Option<i64>,
) -> Result<(Workload, Revision), Failure> {
    refuse_paused(workload)?;
    let name = workload.name();
    let history = history(site, workload).await?;
    let wanted = match to {
        Some(number) => history.iter().find(|revision| revision.revision == number),
        None => history.iter().rev().find(|revision| !revision.current),
    };
    let Some(wanted) = wanted else {
        let kept: Vec<String> = history.iter().map(|one| one.revision.to_string()).collect();
        let problem = match to {
            Some(number) => format!("there is no revision {number}; kept are {}", kept.join(", ")),
            None => "there is no revision before this one".to_owned(),
        };
        return Err(OperateError::unfit(name, problem, format!("vadev rollout history {name}")).into());
    };
    if wanted.current {
        let problem = format!("revision {} is what it is at", wanted.revision);
        return Err(OperateError::unfit(name, problem, format!("vadev rollout history {name}")).into());
    }
    site.cluster.recheck().await?;
    // The whole template, so that what came in later goes as well; `test` would refuse a concurrent change.
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": wanted.template}]);
    let patch =
        serde_json::from_value(patch).map_err(|error| OperateError::unreadable("the patch", error))?;
    let changed = change(site, workload, Patch::Json::<Value>(patch)).await?;
    // What came back with the old template has to go again when another one is applied.
    adopt(&site.cluster, &workload.id, &["spec", "template"], &[RESTARTED]).await?;
    let mut taken = wanted.clone();
    taken.change = difference(name, &workload.value["spec"]["template"], &wanted.template);
    Ok((changed, taken))
}

fn owned(meta: &ObjectMeta, workload: &Workload) -> bool {
    let uid = workload.text("/metadata/uid");
    meta.owner_references
        .iter()
        .flatten()
        .any(|owner| Some(owner.uid.as_str()) == uid)
}

async fn replica_sets(site: &Site, workload: &Workload) -> Result<Vec<Revision>, Failure> {
    let params = ListParams::default().labels(&workload.selector());
    let listed = site.api::<ReplicaSet>(workload.namespace()).list(&params).await;
    let sets =
        listed.map_err(|error| OperateError::request("list the revisions of", workload.name(), error))?;
    let number = |meta: &ObjectMeta| -> Option<i64> {
        let annotations = meta.annotations.as_ref()?;
        annotations.get("deployment.kubernetes.io/revision")?.parse().ok()
    };
    let ours = sets.items.iter().filter(|set| owned(&set.metadata, workload));
    let newest = ours.clone().filter_map(|set| number(&set.metadata)).max();
    Ok(ours
        .filter_map(|set| {
            let revision = number(&set.metadata)?;
            let mut template = serde_json::to_value(&set.spec.as_ref()?.template).ok()?;
            if let Some(labels) = template
                .pointer_mut("/metadata/labels")
                .and_then(Value::as_object_mut)
            {
                labels.remove("pod-template-hash");
            }
            Some(Revision {
                revision,
                current: Some(revision) == newest,
                image: image(workload.name(), &template),
                pods: set.status.as_ref().map_or(0, |status| status.replicas),
                since: set.metadata.creation_timestamp.as_ref().map(|time| time.0),
                change: String::new(),
                template,
            })
        })
        .collect())
}

async fn controller_revisions(site: &Site, workload: &Workload) -> Result<Vec<Revision>, Failure> {
    let params = ListParams::default().labels(&workload.selector());
    let listed = site
        .api::<ControllerRevision>(workload.namespace())
        .list(&params)
        .await;
    let kept =
        listed.map_err(|error| OperateError::request("list the revisions of", workload.name(), error))?;
    let current = workload.text("/status/updateRevision").unwrap_or_default();
    let updated = i32::try_from(workload.number("/status/updatedReplicas")).unwrap_or(i32::MAX);
    Ok(kept
        .items
        .iter()
        .filter(|one| owned(&one.metadata, workload))
        .filter_map(|one| {
            let mut template = one.data.as_ref()?.0.pointer("/spec/template")?.clone();
            if let Some(fields) = template.as_object_mut() {
                fields.remove("$patch");
            }
            let is_current = one.metadata.name.as_deref() == Some(current);
            Some(Revision {
                revision: one.revision,
                current: is_current,
                image: image(workload.name(), &template),
                pods: if is_current { updated } else { 0 },
                since: one.metadata.creation_timestamp.as_ref().map(|time| time.0),
                change: String::new(),
                template,
            })
        })
        .collect())
}

fn image(name: &str, template: &Value) -> String {
    own_container(template, name)["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// What changed from one template of a workload to the next, in a few words.
fn difference(name: &str, before: &Value, after: &Value) -> String {
    let mut words = Vec::new();
    let (old, new) = (image(name, before), image(name, after));
    if old != new {
        words.push(format!("image {old} → {new}"));
    }
    let annotation = |template: &Value, name: &str| template["metadata"]["annotations"][name].clone();
    if annotation(before, "vadev.dev/config-digest") != annotation(after, "vadev.dev/config-digest") {
        words.push(CONFIGURATION.to_owned());
    }
    let restarted = "kubectl.kubernetes.io/restartedAt";
    if annotation(before, restarted) != annotation(after, restarted) {
        words.push("restart".to_owned());
    }
    let rest = |template: &Value| {
        let mut spec = template["spec"].clone();
        spec["containers"][own_container_at(template, name)]["image"] = Value::Null;
        spec
    };
    if rest(before) != rest(after) {
        words.push("pod template".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_says_what_changed() {
        let template = |image: &str, digest: &str, port: u16| {
            json!({
                "metadata": {"annotations": {"vadev.dev/config-digest": digest}},
                "spec": {"containers": [{"name": "a", "image": image, "port": port}]},
            })
        };
        let first = template("x:1", "d", 80);
        assert_eq!(
            difference("a", &first, &template("x:2", "d", 80)),
            "image x:1 → x:2"
        );
        assert_eq!(
            difference("a", &first, &template("x:1", "e", 81)),
            "configuration, pod template"
        );
        assert_eq!(difference("a", &first, &first), "");
    }
}
