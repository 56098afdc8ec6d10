//! One Kubernetes object as vadev handles it: the JSON that is applied, and what it is called.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::profile::Stack;

/// Label by which vadev knows its own objects.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label with the profile's name.
pub const PROFILE: &str = "vadev.dev/profile";
/// Label with the workspace's name.
pub const WORKSPACE: &str = "vadev.dev/workspace";
/// Label with the component (system or service) an object belongs to.
pub const COMPONENT: &str = "vadev.dev/component";
/// Label with the component in a promoted tree, where vadev's own labels are not.
pub const PROMOTED_COMPONENT: &str = "app.kubernetes.io/component";
/// Label of what a verb made beside the platform's own objects; its value is the verb.
pub const SET_BY: &str = "vadev.dev/set-by";
/// Annotation with the image's origin.
pub const ORIGIN: &str = "vadev.dev/image-source";

/// The field by which the entries of two lists of objects are told apart: `mountPath` for what is mounted, because several
/// files of one volume have one name, else `name`. `None` where an entry lacks it or two entries of one list share it.
fn list_key(one: &[Value], other: &[Value]) -> Option<&'static str> {
    if one.is_empty() && other.is_empty() {
        return None;
    }
    let tells_apart = |key: &str, list: &[Value]| {
        let mut seen = HashSet::new();
        let mut values = list.iter().map(|item| item.get(key).and_then(Value::as_str));
        values.all(|value| value.is_some_and(|value| seen.insert(value)))
    };
    ["mountPath", "name"]
        .into_iter()
        .find(|key| tells_apart(key, one) && tells_apart(key, other))
}

/// An entry's name, and what it is in each of two lists; at least one has it.
pub type Pair<'a> = (&'a str, Option<&'a Value>, Option<&'a Value>);

/// The entries of two lists side by side by [`list_key`]: in the order of the second, then those that only the first has.
/// `None` where they are not told apart by a name.
pub fn paired<'a>(before: &'a [Value], after: &'a [Value]) -> Option<Vec<Pair<'a>>> {
    let key = list_key(before, after)?;
    let name = |item: &'a Value| item[key].as_str().unwrap_or_default();
    let of = |list: &'a [Value], item: &Value| list.iter().find(|other| other[key] == item[key]);
    let both = after
        .iter()
        .map(|item| (name(item), of(before, item), Some(item)));
    let gone = before.iter().filter(|item| of(after, item).is_none());
    Some(
        both.chain(gone.map(|item| (name(item), Some(item), None)))
            .collect(),
    )
}

/// What identifies an object in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ObjectId {
    /// For instance `apps/v1`.
    pub api_version: String,
    /// For instance `Deployment`.
    pub kind: String,
    /// Absent for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}/{} in {namespace}", self.kind, self.name),
            None => write!(f, "{}/{}", self.kind, self.name),
        }
    }
}

/// A rendered object. Built only by the rendering functions, so `apiVersion`, `kind` and `metadata.name` are there.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Object(Value);

impl Object {
    /// Wraps what a rendering function built. `component` is the system or service it belongs to.
    pub fn new(component: &str, mut value: Value) -> Self {
        value["metadata"]["labels"][COMPONENT] = json!(component);
        Self(value)
    }
    /// The JSON that is applied.
    pub fn value(&self) -> &Value {
        &self.0
    }
    /// For the few places that add to an object after it was rendered.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }
    /// Its identity.
    pub fn id(&self) -> ObjectId {
        ObjectId {
            api_version: self.text("/apiVersion"),
            kind: self.text("/kind"),
            namespace: self
                .0
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .map(str::to_owned),
            name: self.text("/metadata/name"),
        }
    }
    /// The component it belongs to.
    pub fn component(&self) -> &str {
        self.0["metadata"]["labels"][COMPONENT]
            .as_str()
            .unwrap_or_default()
    }
    /// Adds the labels that say whose object this is.
    pub(super) fn mark(&mut self, stack: &Stack) {
        let labels = &mut self.0["metadata"]["labels"];
        labels[MANAGED_BY] = json!("vadev");
        labels[PROFILE] = json!(stack.profile);
        labels[WORKSPACE] = json!(stack.workspace);
    }
    fn text(&self, pointer: &str) -> String {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
}

/// Nothing, however it is spelt: the server drops or fills in such fields.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}
