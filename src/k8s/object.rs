//! What an object is called.

use serde_json::Value;

use super::error::K8sError;

/// The identity of one object within a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ObjectRef {
    /// Group and version, for instance `apps/v1`.
    pub api_version: String,
    /// Kind, for instance `Deployment`.
    pub kind: String,
    /// `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl ObjectRef {
    /// A reference from its parts; an empty namespace counts as none.
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    /// The identity that a manifest gives itself.
    pub fn of(object: &Value) -> Result<Self, K8sError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let part = |pointer: &str| {
            text(pointer).ok_or_else(|| K8sError::Malformed {
                subject: text("/metadata/name")
                    .or(text("/kind"))
                    .unwrap_or("an object")
                    .to_owned(),
                problem: format!("has no {}", pointer[1..].replace('/', ".")),
            })
        };
        Ok(Self {
            api_version: part("/apiVersion")?.to_owned(),
            kind: part("/kind")?.to_owned(),
            namespace: text("/metadata/namespace")
                .filter(|n| !n.is_empty())
                .map(str::to_owned),
            name: part("/metadata/name")?.to_owned(),
        })
    }

    /// How kubectl would be told of it: `deployment/agent-engine -n voiceassistant-prod`.
    pub fn kubectl(&self) -> String {
        let what = format!("{}/{}", self.kind.to_lowercase(), self.name);
        self.namespace
            .as_ref()
            .map_or_else(|| what.clone(), |ns| format!("{what} -n {ns}"))
    }

    /// The API group; empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The same object whatever version it is read in: group, kind, namespace, name.
    pub fn same_object(&self, other: &Self) -> bool {
        self.group() == other.group()
            && self.kind == other.kind
            && self.namespace == other.namespace
            && self.name == other.name
    }
}

impl From<&crate::render::ObjectId> for ObjectRef {
    fn from(id: &crate::render::ObjectId) -> Self {
        Self::new(
            &id.api_version,
            &id.kind,
            id.namespace.as_deref().unwrap_or_default(),
            &id.name,
        )
    }
}

impl From<&ObjectRef> for crate::render::ObjectId {
    fn from(reference: &ObjectRef) -> Self {
        Self {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
        }
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manifest_names_itself() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "n"}});
        let reference = ObjectRef::of(&object).unwrap();
        assert_eq!(reference.to_string(), "Deployment n/a");
        assert_eq!(reference.kubectl(), "deployment/a -n n");
        assert_eq!(reference.group(), "apps");
    }

    #[test]
    fn a_missing_part_is_named() {
        let error = ObjectRef::of(&json!({"kind": "Pod", "metadata": {"name": "p"}})).unwrap_err();
        assert_eq!(error.to_string(), "the manifest of p has no apiVersion");
    }
}
