//! What differs between two sets of objects, by meaning: not by order, spelling of quantities, API version of the same kind,
//! or what an API server adds by itself.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::equal::same;

use super::reasons::{Reasons, explain, of_image};
use super::tree::id;
use crate::render::object::{is_empty, paired};

/// An object that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// For instance `Deployment/agent-engine in voiceassistant-prod`.
    pub object: String,
    /// What happened to it on the way from the first set to the second.
    pub change: Change,
    /// Why: the strongest of its fields' reasons. Absent where nothing was asked for but whether it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
    /// Its fields; empty for a whole object.
    pub fields: Vec<Field>,
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only the second set has it.
    Added,
    /// Only the first set has it.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// Why something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Explanation {
    /// Production is larger: replicas, requests, limits, heaps, volumes.
    Sizing,
    /// Production is elsewhere: images by digest, its own secrets, token issuer, hosts, rights, networks.
    Environment,
    /// Neither explains it: somebody changed one and not the other.
    Drift,
}

impl Explanation {
    /// The word in tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sizing => "sizing",
            Self::Environment => "environment",
            Self::Drift => "drift",
        }
    }
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// For instance `spec.template.spec.containers[agent-engine].image`.
    pub path: String,
    /// Before; absent where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// After; absent where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Why; absent as the object's is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// How much of the first set counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Everything: both sets were written by hand or by vadev.
    Both,
    /// The first set was read from a cluster, which fills in fields of its own: only what the second set states counts. But
    /// for configuration, into which no server puts anything: what only the cluster has there, somebody added.
    Live,
}

/// The differences on the way from `before` to `after`, by object.
pub fn differences<'a>(
    before: impl IntoIterator<Item = &'a Value>,
    after: impl IntoIterator<Item = &'a Value>,
    sides: Sides,
    reasons: &Reasons<'_>,
) -> Vec<Difference> {
    let (before, after) = (keyed(before), keyed(after));
    let mut found = Vec::new();
    for (key, object) in &before {
        if !after.contains_key(key) {
            found.push(whole(object, Change::Removed));
        }
    }
    for (key, object) in &after {
        match before.get(key) {
            None => {
                let mut added = whole(object, Change::Added);
                if reasons.leaves_out(object) {
                    added.explanation = Some(Explanation::Environment);
                }
                found.push(added);
            }
            Some(old) => found.extend(changed(old, object, sides, reasons)),
        }
    }
    found.sort_by(|a, b| a.object.cmp(&b.object));
    found
}

/// Takes the reasons away: why a laptop differs from production says nothing about two productions, where what would be place
/// or size may as well be somebody's hand.
pub fn unexplained(mut found: Vec<Difference>) -> Vec<Difference> {
    for difference in &mut found {
        difference.explanation = None;
        difference
            .fields
            .iter_mut()
            .for_each(|field| field.explanation = None);
    }
    found
}

type Key = (String, String, Option<String>, String);

fn keyed<'a>(objects: impl IntoIterator<Item = &'a Value>) -> BTreeMap<Key, &'a Value> {
    let key = |object: &Value| {
        let id = id(object);
        let group = id
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned();
        (group, id.kind, id.namespace, id.name)
    };
    objects.into_iter().map(|object| (key(object), object)).collect()
}

fn whole(object: &Value, change: Change) -> Difference {
    let kind = object["kind"].as_str().unwrap_or_default();
    let explanation = match kind {
        "HorizontalPodAutoscaler" | "ResourceQuota" | "LimitRange" | "PodDisruptionBudget" => {
            Explanation::Sizing
        }
        "NetworkPolicy"
        | "PriorityClass"
        | "Role"
        | "RoleBinding"
        | "Namespace"
        | "ExternalSecret"
        | "Secret"
        | "RequestAuthentication" => Explanation::Environment,
        _ => Explanation::Drift,
    };
    Difference {
        object: id(object).to_string(),
        change,
        explanation: Some(explanation),
        fields: Vec::new(),
    }
}

fn changed(before: &Value, after: &Value, sides: Sides, reasons: &Reasons<'_>) -> Option<Difference> {
    let mut fields = Vec::new();
    let kind = after["kind"].as_str().unwrap_or_default();
    let mut walk = Walk {
        kind,
        sides,
        fields: &mut fields,
    };
    for part in [
        "metadata",
        "spec",
        "data",
        "rules",
        "roleRef",
        "subjects",
        "value",
        "type",
        "imagePullSecrets",
        "automountServiceAccountToken",
    ] {
        walk.pair(part, before.get(part), after.get(part));
    }
    let other_image = fields
        .iter()
        .any(|field| field.path.ends_with("].image") && !same_repository(field));
    for field in &mut fields {
        let explained = (other_image && of_image(&field.path)) || reasons.explain(after, &field.path);
        if explained && field.explanation == Some(Explanation::Drift) {
            field.explanation = Some(Explanation::Environment);
        }
    }
    let explanation = Some(fields.iter().filter_map(|field| field.explanation).max()?);
    Some(Difference {
        object: id(after).to_string(),
        change: Change::Changed,
        explanation,
        fields,
    })
}

fn same_repository(field: &Field) -> bool {
    let repository = |image: &Option<String>| {
        let image = image.as_deref().unwrap_or_default();
        let bare = image.split('@').next().unwrap_or_default().to_owned();
        bare.rsplit_once(':')
            .map_or(bare.clone(), |(name, _)| name.to_owned())
    };
    repository(&field.from) == repository(&field.to)
}

struct Walk<'a> {
    kind: &'a str,
    sides: Sides,
    fields: &'a mut Vec<Field>,
}

impl Walk<'_> {
    fn pair(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        if BOOKKEEPING.contains(&path) {
            return;
        }
        match (before, after) {
            (Some(before), Some(after)) => self.values(path, before, after),
            (None, Some(value)) if !is_empty(value) => self.note(path, None, Some(value)),
            (Some(value), None) if self.sides == Sides::Both && !is_empty(value) => {
                self.note(path, Some(value), None);
            }
            (Some(value), None) => self.only_live(path, value),
            _ => {}
        }
    }

    /// What a cluster has and the tree does not state. Whole variables only: within one, servers fill in fields.
    fn only_live(&mut self, path: &str, value: &Value) {
        let config = self.kind == "ConfigMap";
        match value {
            Value::Object(data) if config && path == "data" => {
                for (key, value) in data {
                    self.only_live(&format!("data.{key}"), value);
                }
            }
            Value::Array(variables)
                if path.ends_with("].env") && variables.iter().all(|one| one["name"].is_string()) =>
            {
                for variable in variables {
                    let name = variable["name"].as_str().unwrap_or_default();
                    self.only_live(&format!("{path}[{name}]"), variable);
                }
            }
            _ => {
                let configuration = path.ends_with("].envFrom") || (config && path.starts_with("data."));
                if (configuration || by_hand(path)) && !is_empty(value) {
                    self.note(path, Some(value), None);
                }
            }
        }
    }

    fn values(&mut self, path: &str, before: &Value, after: &Value) {
        match (before, after) {
            (Value::Object(old), Value::Object(new)) => {
                for (key, value) in new {
                    self.pair(&format!("{path}.{key}"), old.get(key), Some(value));
                }
                for (key, value) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
                    self.pair(&format!("{path}.{key}"), Some(value), None);
                }
            }
            (Value::Array(old), Value::Array(new)) if !old.is_empty() && !new.is_empty() => {
                self.lists(path, old, new);
            }
            (old, new) if same(old, new) => {}
            (old, new) => self.note(path, Some(old), Some(new)),
        }
    }

    fn lists(&mut self, path: &str, old: &[Value], new: &[Value]) {
        if let Some(pairs) = paired(old, new) {
            for (name, before, after) in pairs {
                self.pair(&format!("{path}[{name}]"), before, after);
            }
        } else if old.len() == new.len() {
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                self.values(&format!("{path}[{index}]"), old, new);
            }
        } else {
            self.note(path, Some(&old.into()), Some(&new.into()));
        }
    }

    fn note(&mut self, path: &str, from: Option<&Value>, to: Option<&Value>) {
        let text = |value: &Value| match value {
            _ if self.kind == "Secret" => "(hidden)".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        self.fields.push(Field {
            path: path.to_owned(),
            from: from.map(text),
            to: to.map(text),
            explanation: Some(explain(self.kind, path)),
        });
    }
}

/// Whether a part of an object is one that no server fills in: a whole variable, container or volume, and what a pod may do
/// on its node.
fn by_hand(path: &str) -> bool {
    let lists = ["env", "containers", "initContainers", "volumes", "volumeMounts"];
    let rights = [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "privileged",
        "capabilities",
        "hostPort",
    ];
    lists.iter().any(|list| {
        let entry = path.rsplit_once(&format!(".{list}["));
        path.ends_with(&format!(".{list}"))
            || entry.is_some_and(|(_, name)| name.find(']') == Some(name.len() - 1))
    }) || rights.iter().any(|right| path.ends_with(&format!(".{right}")))
}

/// What servers and controllers write by themselves.
const BOOKKEEPING: [&str; 9] = [
    "metadata.resourceVersion",
    "metadata.uid",
    "metadata.generation",
    "metadata.creationTimestamp",
    "metadata.managedFields",
    "metadata.selfLink",
    "metadata.ownerReferences",
    "metadata.finalizers",
    "metadata.annotations.deployment.kubernetes.io/revision",
];

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
