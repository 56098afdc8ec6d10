//! Passwords: what production needs, by name and key, and never a value.

use serde::Serialize;
use serde_json::{Value, json};

use super::Environment;
use super::environment::SecretMode;
use crate::catalog::service::SecretSource;
use crate::profile::Stack;
use crate::render::service::secret_keys;

/// One key of one Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NeededKey {
    /// Namespace of the Secret.
    pub namespace: String,
    /// Its name.
    pub secret: String,
    /// The component it belongs to.
    pub component: String,
    /// The key.
    pub key: String,
    /// The component and key whose value it must have; itself where it stands for itself.
    pub value_of: (String, String),
}

/// Every key that the platform's pods refer to, systems before services.
pub fn needed(stack: &Stack) -> Vec<NeededKey> {
    let mut keys = Vec::new();
    for system in &stack.infrastructure {
        let entry = &system.infrastructure;
        for (key, source) in secret_keys(stack, &entry.secrets) {
            keys.push(one(stack, &stack.namespaces.infra, &entry.name, key, source));
        }
    }
    for sized in &stack.services {
        let service = &sized.service;
        for (key, source) in secret_keys(stack, &service.secrets) {
            keys.push(one(stack, &stack.namespaces.apps, &service.name, key, source));
        }
    }
    keys.extend(stack.mesh.as_ref().map(|_| NeededKey {
        namespace: stack.namespaces.mesh.clone(),
        secret: crate::render::mesh::TLS_SECRET.to_owned(),
        component: "istio".to_owned(),
        key: "tls.crt, tls.key".to_owned(),
        value_of: ("istio".to_owned(), "tls".to_owned()),
    }));
    keys
}

fn one(stack: &Stack, namespace: &str, component: &str, key: &str, source: &SecretSource) -> NeededKey {
    // As development has it: the system's key of the same name, else its first.
    let theirs = source.from.as_ref().and_then(|from| {
        let system = stack
            .infrastructure
            .iter()
            .find(|system| system.infrastructure.is_called(from))?;
        let keys = &system.infrastructure.secrets;
        let found = keys.get_key_value(key).or_else(|| keys.first())?;
        Some((system.infrastructure.name.clone(), found.0.clone()))
    });
    NeededKey {
        namespace: namespace.to_owned(),
        secret: format!("{component}-secret"),
        component: component.to_owned(),
        key: key.to_owned(),
        value_of: theirs.unwrap_or_else(|| (component.to_owned(), key.to_owned())),
    }
}

/// The `ExternalSecret` of a component; `None` where Secrets are made otherwise, or it needs none.
pub fn external(stack: &Stack, environment: &Environment, component: &str) -> Option<Value> {
    let choice = &environment.secrets;
    let store = choice
        .store
        .as_ref()
        .filter(|_| choice.mode == SecretMode::External)?;
    let keys: Vec<NeededKey> = needed(stack)
        .into_iter()
        .filter(|key| key.component == component && key.secret != crate::render::mesh::TLS_SECRET)
        .collect();
    let first = keys.first()?;
    let data: Vec<Value> = keys
        .iter()
        .map(|key| {
            let (owner, property) = &key.value_of;
            json!({ "secretKey": key.key, "remoteRef": { "key": format!("{}{owner}", choice.prefix), "property": property } })
        })
        .collect();
    Some(json!({
        "apiVersion": choice.api_version.api_version(),
        "kind": "ExternalSecret",
        "metadata": { "name": first.secret, "namespace": first.namespace, "labels": { "app": component } },
        "spec": {
            "refreshInterval": choice.refresh,
            "secretStoreRef": { "name": store, "kind": choice.store_kind },
            "target": { "name": first.secret, "creationPolicy": "Owner" },
            "data": data,
        },
    }))
}
