//! A component's configuration and Secret as the cluster has them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::OperateError;
use super::site::{Site, Workload};
use crate::agent::base64;
use crate::failure::Failure;
use crate::k8s::MANAGER;

/// The entries of the config map `<name>-config`.
pub async fn config(site: &Site, workload: &Workload) -> Result<BTreeMap<String, String>, Failure> {
    let name = format!("{}-config", workload.name());
    let found = site
        .api::<ConfigMap>(workload.namespace())
        .get_opt(&name)
        .await
        .map_err(|error| OperateError::request("read", &name, error))?;
    let none = || {
        OperateError::unfit(
            workload.name(),
            format!("there is no config map {name}"),
            "vadev up makes it",
        )
    };
    Ok(found.ok_or_else(none)?.data.unwrap_or_default())
}

/// Puts values into the config map, or takes them away. Rolls nothing out.
pub async fn put_config(
    site: &Site,
    workload: &Workload,
    values: &BTreeMap<String, Option<String>>,
) -> Result<(), Failure> {
    let name = format!("{}-config", workload.name());
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    site.cluster.recheck().await?;
    site.api::<ConfigMap>(workload.namespace())
        .patch(&name, &params, &Patch::Merge(json!({"data": values})))
        .await
        .map_err(|error| OperateError::request("change", &name, error))?;
    Ok(())
}

/// The keys of one Secret.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeys {
    /// The component.
    pub service: String,
    /// Namespace.
    pub namespace: String,
    /// Keys with the length of their values in bytes; the values themselves are never shown.
    pub keys: BTreeMap<String, usize>,
}

/// The keys of every Secret `<name>-secret` of the platform, or of one component's.
pub async fn secrets(site: &Site, of: Option<&Workload>) -> Result<Vec<SecretKeys>, Failure> {
    let mut found = Vec::new();
    for namespace in [&site.namespaces.apps, &site.namespaces.infra] {
        let listed = site.api::<Secret>(namespace).list(&ListParams::default()).await;
        let listed =
            listed.map_err(|error| OperateError::request("list the Secrets of", namespace, error))?;
        for secret in listed.items {
            let name = secret.metadata.name.unwrap_or_default();
            let Some(service) = name.strip_suffix("-secret") else {
                continue;
            };
            if of.is_some_and(|one| one.name() != service || one.namespace() != namespace.as_str()) {
                continue;
            }
            let keys = secret.data.unwrap_or_default();
            found.push(SecretKeys {
                service: service.to_owned(),
                namespace: namespace.clone(),
                keys: keys
                    .into_iter()
                    .map(|(key, value)| (key, value.0.len()))
                    .collect(),
            });
        }
    }
    Ok(found)
}

/// One value of a component's Secret. Not to be printed.
pub async fn secret_value(site: &Site, workload: &Workload, key: &str) -> Result<Option<String>, Failure> {
    let name = format!("{}-secret", workload.name());
    let found = site
        .api::<Secret>(workload.namespace())
        .get_opt(&name)
        .await
        .map_err(|error| OperateError::request("read", &name, error))?;
    let data = found.and_then(|secret| secret.data).unwrap_or_default();
    let value = data.get(key).map(|bytes| String::from_utf8(bytes.0.clone()));
    let value = value.transpose();
    Ok(value.map_err(|_| {
        OperateError::unfit(
            workload.name(),
            format!("{key} is no text"),
            format!(
                "what is no text could not be given back; use another key: vadev secret set {} KEY",
                workload.name()
            ),
        )
    })?)
}

/// Makes the Secret of a service that had none. It must refer to one, or the value would never reach a container.
async fn make_secret(site: &Site, workload: &Workload, name: &str, data: &Value) -> Result<(), Failure> {
    let refers = workload
        .value
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .flat_map(|container| container["envFrom"].as_array().into_iter().flatten())
        .any(|source| source["secretRef"]["name"] == name);
    if !refers {
        let hint = format!("vadev.yaml and the catalog give {} no secrets", workload.name());
        let problem = format!("there is no Secret {name}, and nothing of it refers to one");
        return Err(OperateError::unfit(workload.name(), problem, hint).into());
    }
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "labels": { "app": workload.name() } },
        "data": data,
    });
    let secret: Secret =
        serde_json::from_value(secret).map_err(|error| OperateError::unreadable(name, error))?;
    let params = PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    };
    site.api::<Secret>(workload.namespace())
        .create(&params, &secret)
        .await
        .map_err(|error| OperateError::request("make", name, error))?;
    Ok(())
}

/// Puts one value into a component's Secret, or takes it away. Rolls nothing out.
pub async fn put_secret(
    site: &Site,
    workload: &Workload,
    key: &str,
    value: Option<&str>,
) -> Result<(), Failure> {
    let name = format!("{}-secret", workload.name());
    let encoded = value.map(|value| base64::encode(value.as_bytes()));
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"data": {key: encoded}}));
    let patched = site
        .api::<Secret>(workload.namespace())
        .patch(&name, &params, &patch)
        .await;
    match patched {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => match encoded {
            Some(encoded) => make_secret(site, workload, &name, &json!({ key: encoded })).await,
            None => Ok(()),
        },
        Err(error) => Err(OperateError::request("change", &name, error).into()),
    }
}
