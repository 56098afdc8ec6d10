//! The k8s/ tree: which object is in which file, and the files' texts.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::{Environment, Target, base, harden, images, readme, secrets};
use crate::profile::Stack;
use crate::render::mesh::{MeshSetting, TokenKeys, TokenTrust};
use crate::render::{Object, ObjectId, Setting, mesh, network, scaling, service, system, yaml};

/// How the first line of every manifest begins.
const BEGINNING: &str = "# VoiceAssistant, profile ";
/// What follows there on the names of profile and environment.
const END: &str = ": written by `vadev promote`.";
/// The manifests below `istio/`.
const ISTIO: [&str; 7] = [
    "namespace",
    "gateway",
    "virtual-service",
    "destination-rule",
    "security",
    "telemetry",
    "traffic-management",
];

/// Whether a promotion could have written a file: its path below `k8s/` is one of the contract's, and its first line is that
/// of a generated manifest. The README is in every tree, and so never left over.
pub fn is_generated(path: &str, text: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let in_contract = match parts.as_slice() {
        ["deploy-all.yaml"] => true,
        ["istio", file] => file
            .strip_suffix(".yaml")
            .is_some_and(|name| ISTIO.contains(&name)),
        ["infrastructure", file] | ["services", _, file] => {
            file.strip_suffix(".yaml").is_some_and(|name| !name.is_empty())
        }
        _ => false,
    };
    let first = text.lines().next().unwrap_or_default();
    in_contract && first.starts_with(BEGINNING) && first.contains(END)
}

/// A production tree.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    /// Path below `k8s/` → objects, in the order in which they are applied.
    pub files: IndexMap<String, Vec<Value>>,
    /// The comment at the head of each manifest.
    pub header: String,
    /// `infrastructure/README.md`.
    pub readme: String,
}

/// Renders the tree. `pushed` are images in a registry, by component name: see [`images::images`].
pub fn tree(
    stack: &Stack,
    environment: &Environment,
    target: Target,
    pushed: &IndexMap<String, String>,
) -> Tree {
    let setting = Setting {
        images: images::images(stack, pushed),
        secret_references: true,
        mesh: mesh_setting(stack, environment, target),
        ..Setting::default()
    };
    let mut files: IndexMap<String, Vec<Value>> = IndexMap::new();
    let mut put = |file: String, object: Value, component: &str| {
        let mut object = object;
        harden::labels(&mut object, component);
        files.entry(file).or_default().push(object);
    };
    let production = |object: &Object| harden::hardened(stack, environment, target, object);
    for object in base::objects(stack, environment, target) {
        put("deploy-all.yaml".to_owned(), object, "");
    }
    for sized in &stack.infrastructure {
        let name = &sized.infrastructure.name;
        let file = || format!("infrastructure/{name}.yaml");
        let external = secrets::external(stack, environment, name);
        if let Some(object) = external {
            put(file(), object, name);
        }
        for object in system::render(stack, sized, &setting) {
            put(file(), production(&object), name);
        }
        for policy in network::system(stack, sized) {
            put(file(), policy, name);
        }
    }
    if stack.mesh.is_some() {
        put("istio/namespace.yaml".to_owned(), base::mesh_namespace(stack), "");
        for object in mesh::render(stack, &setting) {
            put(istio_file(&object), production(&object), "mesh");
        }
    }
    for sized in &stack.services {
        let name = &sized.service.name;
        let file = || format!("services/{}/{name}.yaml", sized.service.language.name());
        let external = secrets::external(stack, environment, name);
        if let Some(object) = external {
            put(file(), object, name);
        }
        for object in service::render(stack, sized, &setting) {
            put(file(), production(&object), name);
        }
        put(
            file(),
            scaling::autoscaler(stack, sized, target.scales_by_container()),
            name,
        );
        put(
            file(),
            scaling::disruption_budget(stack, sized, target.evicts_unhealthy()),
            name,
        );
        put(file(), network::service(stack, sized), name);
    }
    let readme = readme::readme(stack, environment, target, &setting);
    let header = format!(
        "{BEGINNING}{}, for {}{END} Changes belong in the catalog, the workspace or\n\
         # the environment file.\n",
        stack.profile, environment.name
    );
    Tree {
        files,
        header,
        readme,
    }
}

fn mesh_setting(stack: &Stack, environment: &Environment, target: Target) -> MeshSetting {
    let policy = stack.mesh.as_ref().map(|mesh| &mesh.policy);
    let trust = environment
        .tokens
        .as_ref()
        .zip(policy)
        .map(|(tokens, policy)| TokenTrust {
            issuer: tokens.issuer.clone(),
            audience: tokens
                .audience
                .clone()
                .unwrap_or_else(|| policy.tokens.audience.clone()),
            keys: TokenKeys::Uri(tokens.jwks_uri.clone()),
        });
    MeshSetting {
        tokens: trust,
        istio_filters: environment.mesh.istio_filters,
        hosts: environment.hosts.clone(),
        api: target.istio_api(),
        traces_percent: policy.map_or(0, |policy| policy.traces_percent),
        ..MeshSetting::default()
    }
}

/// The file of one of the mesh's objects. Timeouts and retries inside the mesh and rate limits are traffic management;
/// circuit breaking is too, but a host can have one `DestinationRule` only, and that is in the file of its name.
fn istio_file(object: &Object) -> String {
    let id = object.id();
    let file = match id.kind.as_str() {
        "Gateway" => "gateway",
        "VirtualService" if object.value()["spec"]["gateways"] != serde_json::json!(["mesh"]) => {
            "virtual-service"
        }
        "DestinationRule" => "destination-rule",
        "PeerAuthentication" | "RequestAuthentication" | "AuthorizationPolicy" => "security",
        "Telemetry" => "telemetry",
        _ => "traffic-management",
    };
    format!("istio/{file}.yaml")
}

/// The order in which files are applied: the seven steps without checks and verification.
pub const WAVES: [(&str, &str); 4] = [
    ("base", "deploy-all.yaml"),
    ("infrastructure", "infrastructure/"),
    ("routing and security", "istio/"),
    ("services", "services/"),
];

impl Tree {
    /// Path below `k8s/` → text. The same for the same tree, to the byte.
    ///
    /// # Errors
    /// Only if a value cannot be written as YAML, which no rendered object is.
    pub fn texts(&self) -> Result<BTreeMap<String, String>, serde_saphyr::ser::Error> {
        let mut texts = BTreeMap::new();
        for (path, objects) in &self.files {
            texts.insert(path.clone(), format!("{}{}", self.header, yaml::values(objects)?));
        }
        texts.insert("infrastructure/README.md".to_owned(), self.readme.clone());
        Ok(texts)
    }

    /// Every object with its file.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.files
            .iter()
            .flat_map(|(file, objects)| objects.iter().map(move |object| (file.as_str(), object)))
    }

    /// The objects of one wave.
    pub fn wave<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects()
            .filter(move |(file, _)| file.starts_with(prefix))
            .map(|(_, object)| object)
    }
}

/// What identifies an object, read off its JSON.
pub fn id(object: &Value) -> ObjectId {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    ObjectId {
        api_version: text("/apiVersion").unwrap_or_default(),
        kind: text("/kind").unwrap_or_default(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap_or_default(),
    }
}
