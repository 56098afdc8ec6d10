//! What a production environment is, beside the platform itself: `--env prod.yaml`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::load::read_document;
use crate::catalog::{NamedText, Problems};
use crate::profile::profile::Override;

/// A production environment. Everything has a default but where tokens come from, which nobody can guess.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Environment {
    /// Always `vadev.dev/v1`.
    #[schemars(extend("const" = "vadev.dev/v1"))]
    pub api_version: String,
    /// Always `Environment`.
    #[schemars(extend("const" = "Environment"))]
    pub kind: String,
    /// For instance `production`.
    #[schemars(extend("format" = "dns-label"))]
    pub name: String,
    /// Host names that the gateway serves; without any it serves every name.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Whose tokens are believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenIssuer>,
    /// Where passwords come from.
    #[serde(default)]
    pub secrets: Secrets,
    /// Image of a service or workload, by name, with its digest: `registry/name:version@sha256:…`.
    #[serde(default)]
    pub images: IndexMap<String, String>,
    /// Secrets that the kubelet pulls images with.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
    /// Storage class of volumes; absent: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// The Istio that is there.
    #[serde(default)]
    pub mesh: MeshFacts,
    /// Who may look at and work on the platform with kubectl.
    #[serde(default)]
    pub access: ClusterAccess,
    /// Replacements by service, system or workload. What the workspace and a laptop's profile say about sizes does not
    /// count here; this does.
    #[serde(default)]
    pub overrides: IndexMap<String, Override>,
}

/// Whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenIssuer {
    /// `iss` of its tokens.
    pub issuer: String,
    /// Address of its public keys, as the mesh reaches it.
    pub jwks_uri: String,
    /// `aud`; absent: the catalog's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// Where passwords come from. Never from vadev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Secrets {
    /// How the Secrets come into being.
    pub mode: SecretMode,
    /// Name of the External Secrets store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// `ClusterSecretStore` or `SecretStore`.
    pub store_kind: String,
    /// Put before `<component>/<key>` in the store.
    pub prefix: String,
    /// How often the store is asked again.
    pub refresh: String,
}

impl Default for Secrets {
    fn default() -> Self {
        Self {
            mode: SecretMode::Reference,
            store: None,
            store_kind: "ClusterSecretStore".to_owned(),
            prefix: "voiceassistant/".to_owned(),
            refresh: "1h".to_owned(),
        }
    }
}

/// How the Secrets come into being.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretMode {
    /// Somebody makes them before the platform is applied; the generated README lists names and keys.
    #[default]
    Reference,
    /// The External Secrets operator makes them from a store.
    External,
}

/// The Istio that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshFacts {
    /// Its CNI plugin prepares the pods' network. Only then can pods be held to the strictest security standard: without it
    /// each has an init container with network rights.
    pub cni: bool,
    /// Revision label for injection, where several are installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Service account of the ingress gateway; absent: the catalog's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_service_account: Option<String>,
}

/// Groups of the cluster's users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClusterAccess {
    /// May restart, scale and edit configuration, and read logs; may not read Secrets.
    pub operators: Vec<String>,
    /// May look at everything but Secrets.
    pub viewers: Vec<String>,
}

impl Environment {
    /// What is taken without `--env`.
    pub fn unnamed() -> Self {
        Self {
            api_version: crate::catalog::API_VERSION.to_owned(),
            kind: "Environment".to_owned(),
            name: "production".to_owned(),
            ..Self::default()
        }
    }

    /// Reads a file; every problem with line and column.
    pub fn read(file: &NamedText) -> Result<Self, Problems> {
        let document = read_document::<Self>(&file.0, &file.1).map_err(Problems::some)?;
        let secrets = &document.entry.secrets;
        if secrets.mode == SecretMode::External && secrets.store.is_none() {
            use crate::catalog::tree::Step::Key;
            let message = "`mode: external` needs the name of a store";
            let help = "add `store: NAME`, as `kubectl get clustersecretstores` lists it".to_owned();
            return Err(Problems::some(vec![document.problem(
                &[Key("secrets")],
                message,
                Some(help),
            )]));
        }
        Ok(document.entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Diagnose;

    const START: &str = "apiVersion: vadev.dev/v1\nkind: Environment\nname: production\n";

    #[test]
    fn a_name_is_enough_and_an_unknown_field_is_told_with_its_place() {
        let read = |more: &str| Environment::read(&("prod.yaml".to_owned(), format!("{START}{more}")));
        assert_eq!(read("").expect("reads"), Environment::unnamed());
        let wrong = read("hots: [a]\n").expect_err("unknown").details().join("\n");
        assert!(
            wrong.contains("prod.yaml:4:1") && wrong.contains("hosts"),
            "{wrong}"
        );
        assert!(read("secrets: { mode: external }\n").is_err());
    }
}
