//! What a production environment is, beside the platform itself: `--env prod.yaml`.

mod wrong;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::load::read_document;
use crate::catalog::tree::Step::Key;
use crate::catalog::{Catalog, NamedText, Problems};
use crate::profile::profile::Override;
use crate::profile::{apart, component_names, contradictions, unknown_keys, wrong_settings};

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
    /// Version of the External Secrets operator's kinds: `v1` from 0.16 on; `v1beta1` up to 0.16.
    pub api_version: StoreApi,
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
            api_version: StoreApi::V1,
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

/// Version of the External Secrets operator's kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreApi {
    /// Served from 0.16 on, and alone from 0.17 on.
    #[default]
    V1,
    /// Served up to 0.16.
    V1Beta1,
}

impl StoreApi {
    /// As objects state it.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "external-secrets.io/v1",
            Self::V1Beta1 => "external-secrets.io/v1beta1",
        }
    }
}

/// The Istio that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Its proxies have Istio's own filters, as those of every Istio release do. An Envoy of another build refuses all of its
    /// configuration over one that it lacks, and is asked for no request metrics then.
    pub istio_filters: bool,
}

impl Default for MeshFacts {
    fn default() -> Self {
        Self {
            cni: false,
            revision: None,
            ingress_service_account: None,
            istio_filters: true,
        }
    }
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

    /// Reads a file; every problem with line and column. `catalog` has the components that it may name.
    pub fn read(file: &NamedText, catalog: &Catalog) -> Result<Self, Problems> {
        let known = &component_names(catalog);
        let document = read_document::<Self>(&file.0, &file.1).map_err(Problems::some)?;
        // Images and replacements of what is not there would change nothing.
        let mut problems = unknown_keys(&document, "images", document.entry.images.keys(), known);
        problems.extend(wrong::images(&document, catalog));
        let replaced = document.entry.overrides.keys();
        problems.extend(unknown_keys(&document, "overrides", replaced, known));
        let replicas = document.entry.overrides.iter();
        let replicas = replicas.map(|(name, change)| (name, change.replicas));
        problems.extend(apart(&document, "overrides", replicas, catalog));
        let settings = document.entry.overrides.iter();
        let settings = settings.map(|(name, change)| (name, &change.config));
        problems.extend(wrong_settings(&document, "overrides", settings, catalog));
        problems.extend(wrong::hosts(&document));
        problems.extend(wrong::texts(&document));
        problems.extend(wrong::names(&document));
        for (name, change) in &document.entry.overrides {
            problems.extend(contradictions(
                &document,
                &[Key("overrides"), Key(name)],
                &change.resources,
            ));
        }
        match Problems::of(problems) {
            Some(problems) => Err(problems),
            None => Ok(document.entry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::wrong::{is_address, is_duration};
    use super::*;
    use crate::failure::Diagnose;

    fn catalog() -> Catalog {
        let loaded = crate::profile::load_all(&crate::profile::Sources::default(), "x");
        loaded.expect("what is built in").catalog
    }

    #[test]
    fn a_system_that_runs_once_has_one_replica_in_production_too() {
        let text =
            format!("{START}overrides: {{ postgres: {{ replicas: 3 }}, agent-engine: {{ replicas: 3 }} }}\n");
        let problems = Environment::read(&("prod.yaml".to_owned(), text), &catalog()).expect_err("wrong");
        let told = problems.details().join("\n");
        assert!(
            problems.all().len() == 1 && told.contains("prod.yaml:4:36"),
            "{told}"
        );
    }

    const START: &str = "apiVersion: vadev.dev/v1\nkind: Environment\nname: production\n";

    #[test]
    fn a_name_is_enough_and_an_unknown_field_is_told_with_its_place() {
        let read =
            |more: &str| Environment::read(&("prod.yaml".to_owned(), format!("{START}{more}")), &catalog());
        assert_eq!(read("").expect("reads"), Environment::unnamed());
        let wrong = read("hots: [a]\n").expect_err("unknown").details().join("\n");
        assert!(
            wrong.contains("prod.yaml:4:1") && wrong.contains("hosts"),
            "{wrong}"
        );
        assert!(read("secrets: { mode: external }\n").is_err());
    }
    #[test]
    fn what_only_a_cluster_would_refuse_is_told_with_its_place() {
        let text = "hosts: ['https://api.example.com/', 'A b', '*', x.example.com, x.example.com]\n\
                    tokens: { issuer: '', jwksUri: keys }\n\
                    secrets: { mode: external, storeKind: Vault, refresh: 1 hour }\n\
                    images: { redsi: 'redis:7', redis: 'Not an image' }\n\
                    imagePullSecrets: [ok.name, 'Not ok']\nstorageClass: ''\noverrides: { reids: {} }\n\
                    mesh: { revision: 'not ok!', ingressServiceAccount: A B }\naccess: { operators: [''] }\n";
        let file = ("prod.yaml".to_owned(), format!("{START}{text}"));
        let problems = Environment::read(&file, &catalog()).expect_err("wrong");
        let told = problems.details().join("\n");
        for expected in [
            "prod.yaml:4:9",
            "write api.example.com",
            "`A b` is no host name",
            "`x.example.com` is named twice",
            "the issuer is empty",
            "`keys` is no address of keys",
            "needs the name of a store",
            "`storeKind` must be one of",
            "`1 hour` is no duration",
            "did you mean `redis`?",
            "`Not an image` is no image",
            "`Not ok` is no name of a Secret",
            "`` is no name of a storage class",
            "`not ok!` is no name",
            "`A B` is no name",
            "a group's name is empty",
        ] {
            assert!(told.contains(expected), "{expected}\n{told}");
        }
        assert_eq!(problems.all().len(), 16, "{told}");
        for good in ["1h", "1h30m", "0", "1.5h"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "1", "h", "1d", "1h30", ".h", "1.2.3h", "1h.m"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }

    #[test]
    fn what_contradicts_itself_or_another_place_is_told() {
        for (text, told) in [
            (
                "secrets: { mode: external, store: v, refresh: .h }",
                "`.h` is no duration",
            ),
            (
                "secrets: { store: vault, prefix: x }",
                "without `mode: external` none is asked",
            ),
            (
                "secrets: { mode: external, store: v, apiVersion: v2 }",
                "must be one of v1, v1beta1",
            ),
            (
                "tokens: { issuer: x, jwksUri: 'https://a:99999/k' }",
                "is no address of keys",
            ),
            (
                "tokens: { issuer: x, jwksUri: 'https://a/k', audience: '' }",
                "the audience is empty",
            ),
            (
                "images: { minio-standalone: 'a/b:1' }\noverrides: { minio: { image: 'a/b:2' } }",
                "under `overrides` too",
            ),
            (
                "images: { prometheus-grafana: 'a/b:1' }",
                "name them: prometheus, ",
            ),
            (
                "overrides: { agent-engine: { replicas: 0 } }",
                "in production a service has at least one",
            ),
            (
                "overrides: { redis: { config: { REDISCLI_AUTH: x } } }",
                "a credential of `redis`",
            ),
        ] {
            let file = ("prod.yaml".to_owned(), format!("{START}{text}\n"));
            let found = Environment::read(&file, &catalog())
                .expect_err(text)
                .details()
                .join("\n");
            assert!(
                found.contains(told) && found.contains("prod.yaml:"),
                "{text}: {found}"
            );
        }
        let long = format!(
            "{START}mesh: {{ revision: {} }}\n",
            ["a".repeat(40), "b".repeat(40)].join(".")
        );
        assert!(Environment::read(&("prod.yaml".to_owned(), long), &catalog()).is_err());
        for good in [
            "https://a",
            "http://a:8080/k?x=y",
            "https://[::1]/k",
            "https://[::1]:8443/k",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "https://",
            "https:///k",
            "https://a:/k",
            "https://a:0/k",
            "https://u@a/k",
            "a",
            "https://a b",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
