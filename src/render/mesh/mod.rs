//! The mesh's own objects for the platform: the gateway and its routes, timeouts, retries and circuit breaking, mutual TLS,
//! who may call whom, telemetry and rate limits. Everything comes from the catalog: a service's `calls`, `prefixes`,
//! `access` and `traffic`, and the mesh's `policy`.

mod destinations;
mod limits;
mod routes;
mod security;
mod telemetry;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Object, Setting};
use crate::catalog::mesh::MeshPolicy;
use crate::profile::Stack;
use crate::profile::stack::SizedService;

pub use crate::catalog::prefixes::own_health;
pub use routes::entry;

/// Name of the Gateway and of the `VirtualService` of all prefixes.
pub const GATEWAY: &str = "voiceassistant-gateway";

/// Name of the TLS Secret that the gateway serves.
pub const TLS_SECRET: &str = "voiceassistant-tls-cert";

/// The TLS Secret of a platform: one of its own where it shares the gateway with others, each under a host of its own.
pub fn tls_secret(stack: &Stack) -> String {
    match &stack.host {
        None => TLS_SECRET.to_owned(),
        Some(_) => format!("{}-tls-cert", stack.namespaces.apps),
    }
}

/// Name of the extension provider that takes traces: Istio's installation file defines it, see [`super::operator`].
pub const TRACES: &str = "jaeger";

/// The provider of a platform's traces. One that shares the mesh must not send its traces to another's Jaeger, so its
/// provider has a name of its own; where the installation does not define that, Istio sends no traces.
pub fn traces(stack: &Stack) -> String {
    match &stack.host {
        None => TRACES.to_owned(),
        Some(_) => format!("{TRACES}-{}", stack.namespaces.apps),
    }
}

/// The system and the Service that take traces.
pub const TRACE_SYSTEM: &str = "jaeger";

/// What the mesh's objects depend on beside the stack.
#[derive(Debug, Clone, Default)]
pub struct MeshSetting {
    /// Whose tokens are believed. Without it only public paths are served: no key set is better than an empty one, which
    /// makes Envoy refuse its whole configuration.
    pub tokens: Option<TokenTrust>,
    /// Whether the proxies are Istio's own build. The one made from packages lacks the filter that counts requests.
    pub istio_filters: bool,
    /// Host names that the gateway serves, beside the stack's own; without any it serves every name.
    pub hosts: Vec<String>,
    /// API versions of the Istio that is to understand the objects.
    pub api: IstioApi,
    /// Share of requests that are traced, per cent.
    pub traces_percent: u32,
    /// Services that are built from the workspace's source, whatever part of the platform is rendered: they start anew
    /// with every save, and no instance of theirs is left out for its errors.
    pub built: BTreeSet<String>,
}

/// Whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenTrust {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// Where the public keys are.
    pub keys: TokenKeys,
}

/// Where the public keys of tokens are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKeys {
    /// In the object itself: a JSON Web Key Set.
    Inline(String),
    /// Fetched by the mesh.
    Uri(String),
}

/// API versions of Istio's kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IstioApi {
    /// From 1.19 on; still understood by every later one.
    V1Beta1,
    /// From 1.22 on, and what these store: what is observed comes back under it.
    #[default]
    V1,
}

impl IstioApi {
    /// Of gateways, routes and destinations.
    pub const fn networking(self) -> &'static str {
        match self {
            Self::V1Beta1 => "networking.istio.io/v1beta1",
            Self::V1 => "networking.istio.io/v1",
        }
    }
    /// Of authentication and authorization.
    pub const fn security(self) -> &'static str {
        match self {
            Self::V1Beta1 => "security.istio.io/v1beta1",
            Self::V1 => "security.istio.io/v1",
        }
    }
    /// Of telemetry, which was an alpha for longest.
    pub const fn telemetry(self) -> &'static str {
        match self {
            Self::V1Beta1 => "telemetry.istio.io/v1alpha1",
            Self::V1 => "telemetry.istio.io/v1",
        }
    }
}

/// What every object of the mesh is rendered from.
struct Mesh<'a> {
    stack: &'a Stack,
    policy: &'a MeshPolicy,
    setting: &'a MeshSetting,
}

/// All of the mesh's objects; none where the stack has no mesh.
pub fn render(stack: &Stack, setting: &Setting) -> Vec<Object> {
    let Some(sized) = &stack.mesh else {
        return Vec::new();
    };
    let mesh = Mesh {
        stack,
        policy: &sized.policy,
        setting: &setting.mesh,
    };
    let parts = [
        mesh.gateway_and_routes(),
        mesh.destinations(),
        mesh.security(),
        mesh.telemetry(),
        mesh.limits(),
    ];
    parts
        .into_iter()
        .flatten()
        .map(|value| Object::new("mesh", value))
        .collect()
}

impl Mesh<'_> {
    fn apps(&self) -> &str {
        &self.stack.namespaces.apps
    }

    /// A service's name as every client in the cluster resolves it.
    fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc.cluster.local", self.apps())
    }

    /// The hosts under which the gateway knows the platform, as its Gateway and routes say them.
    fn hosts(&self) -> Vec<&str> {
        let named = self.stack.host.iter().chain(&self.setting.hosts);
        let named: Vec<&str> = named.map(String::as_str).collect();
        if named.is_empty() { vec!["*"] } else { named }
    }

    /// The principal of a service account in the mesh. Istio reads `cluster.local` as its own trust domain, whatever that is.
    fn principal(namespace: &str, account: &str) -> String {
        format!("cluster.local/ns/{namespace}/sa/{account}")
    }

    /// `apiVersion`, `kind` and `metadata` of an object of Istio's.
    fn object(api_version: &str, kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
        let mut object = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": { "name": name, "namespace": namespace },
        });
        object["spec"] = spec;
        object
    }

    /// A prefix and everything below it, as authorization rules say it.
    fn below(prefix: &str) -> [String; 2] {
        [prefix.to_owned(), format!("{prefix}/*")]
    }

    /// Every prefix with its service, longest first: the first route that matches wins.
    fn prefixes(&self) -> Vec<(&str, &SizedService)> {
        let services = self.stack.services.iter();
        let mut prefixes: Vec<(&str, &SizedService)> = services
            .flat_map(|sized| {
                sized
                    .service
                    .prefixes
                    .iter()
                    .map(move |prefix| (prefix.as_str(), sized))
            })
            .collect();
        prefixes.sort_by_key(|(prefix, _)| (std::cmp::Reverse(prefix.len()), *prefix));
        prefixes
    }
}

#[cfg(test)]
mod tests;
