//! The platform as a Compose file, for those who want no Kubernetes. It is a translation of the objects that a cluster would
//! be told, so that images, configuration, probes, limits and routes are the same; what Compose has no words for is listed at
//! the top of the file.

mod container;
mod gateway;
mod missing;
mod text;
mod variables;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::object::ObjectId;
use super::{DeployedImage, Setting, objects, yaml};
use crate::profile::Stack;
use container::World;

pub use variables::variables;

/// Name of the one-shot service that gives volumes to their users and hands out the program of the health checks.
pub const PREPARE: &str = "prepare";
/// Name of the service that has the platform's only open port.
pub const GATEWAY: &str = "gateway";
/// Network of the applications.
const APPS: &str = "apps";
/// Network of the infrastructure.
const INFRA: &str = "infra";
/// Volume with the program of the health checks.
const TOOLS: &str = "tools";

/// The images that the equivalent needs beside the components' own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helpers {
    /// vadev's agent.
    pub agent: String,
    /// An image with Envoy at `/usr/local/bin/envoy`: Istio's proxy.
    pub envoy: String,
}

impl Helpers {
    /// As their registries name them; the agent, which only vadev makes, as vadev does.
    pub fn official(stack: &Stack) -> Self {
        let version = stack
            .mesh
            .as_ref()
            .map(|mesh| mesh.version.as_str())
            .unwrap_or_default();
        Self {
            agent: format!("vadev.local/vadev-agent:{}", crate::agent::embedded::VERSION),
            envoy: format!("docker.io/istio/proxyv2:{version}"),
        }
    }
}

/// The rendered equivalent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Equivalent {
    /// The Compose file.
    pub file: String,
    /// Configuration files that it mounts, by path relative to it.
    pub files: BTreeMap<String, String>,
    /// What the platform has and this has not: the lines at the top of the file.
    pub missing: Vec<String>,
}

/// Name of a profile's Compose file.
pub fn file_name(profile: &str) -> String {
    format!("{profile}.compose.yaml")
}

/// The equivalent of a stack. Components without an image are left out.
///
/// # Errors
/// Only if a value cannot be written as YAML, which none of these is.
pub fn render(
    stack: &Stack,
    images: &IndexMap<String, DeployedImage>,
    helpers: &Helpers,
) -> Result<Equivalent, serde_saphyr::ser::Error> {
    let stack = adapted(stack, images);
    // The value of each secret is the name of the variable that will hold it.
    let variables = variables(&stack);
    let setting = Setting {
        images: images.clone(),
        secrets: variables.clone(),
        ..Setting::default()
    };
    let objects = objects(&stack, &setting);
    let folder = format!("{}.files", stack.profile);
    let mut world = World::new(&stack, &objects, folder.clone());
    let mut services = Map::new();
    for object in objects.iter().filter(|object| is_workload(&object.id())) {
        let (name, service) = world.service(object.value());
        services.insert(name, service);
    }
    let routes = gateway::Routes::of(&stack, &objects);
    if !routes.is_empty() {
        let path = format!("{folder}/{GATEWAY}/envoy.yaml");
        world.files.insert(path.clone(), yaml::document(&routes.envoy())?);
        services.insert(GATEWAY.to_owned(), gateway::service(&helpers.envoy, &path));
    }
    services.insert(PREPARE.to_owned(), prepare(&helpers.agent, &world.volumes));
    let mut volumes: Map<String, Value> = world
        .volumes
        .keys()
        .map(|name| (name.clone(), json!({})))
        .collect();
    volumes.insert(TOOLS.to_owned(), json!({}));
    let mut missing = missing::kinds(&stack, &objects);
    missing.extend(world.missing);
    missing.extend(routes.missing);
    let document = yaml::document(&json!({
        "services": services,
        "networks": { APPS: {}, INFRA: {} },
        "volumes": volumes,
    }))?;
    let head = missing::header(&stack, &missing, &variables);
    Ok(Equivalent {
        file: head + &document,
        files: world.files,
        missing,
    })
}

fn is_workload(id: &ObjectId) -> bool {
    matches!(id.kind.as_str(), "Deployment" | "StatefulSet")
}

/// The stack with what the catalog says of running without Kubernetes.
fn adapted(stack: &Stack, images: &IndexMap<String, DeployedImage>) -> Stack {
    let (services, systems) = (service_targets(stack, images), system_targets(stack, images));
    let filled = |text: String| {
        text.replace("{{serviceTargets}}", &services)
            .replace("{{infrastructureTargets}}", &systems)
    };
    let mut stack = stack.clone();
    for workload in stack
        .infrastructure
        .iter_mut()
        .flat_map(|system| &mut system.infrastructure.workloads)
    {
        let Some(change) = workload.without_kubernetes.take() else {
            continue;
        };
        if !change.command.is_empty() {
            workload.command = change.command;
        }
        if !change.args.is_empty() {
            workload.args = change.args;
        }
        workload.env.extend(change.env);
        let files = change.files.into_iter();
        workload
            .files
            .extend(files.map(|(path, text)| (path, filled(text))));
    }
    stack
}

/// What Prometheus asks among the services, as its configuration has it.
fn service_targets(stack: &Stack, images: &IndexMap<String, DeployedImage>) -> String {
    let names = stack.services.iter().map(|sized| &sized.service);
    let names = names.filter(|service| images.contains_key(&service.name));
    let targets = names.map(|service| {
        json!({
            "targets": [format!("{}:{}", service.name, service.port)],
            "labels": { "app": service.name, "namespace": stack.namespaces.apps },
        })
    });
    Value::Array(targets.collect()).to_string()
}

/// What Prometheus asks among the systems, each at a path of its own.
fn system_targets(stack: &Stack, images: &IndexMap<String, DeployedImage>) -> String {
    let workloads = stack
        .infrastructure
        .iter()
        .flat_map(|system| &system.infrastructure.workloads);
    let asked = workloads.filter(|workload| images.contains_key(&workload.name));
    let targets = asked.filter_map(|workload| {
        let metrics = workload.metrics.as_ref()?;
        Some(json!({
            "targets": [format!("{}:{}", workload.name, metrics.port)],
            "labels": { "app": workload.name, "namespace": stack.namespaces.infra, "__path": metrics.path },
        }))
    });
    Value::Array(targets.collect()).to_string()
}

/// Runs to its end before anything else begins. `volumes`: the user of each.
fn prepare(agent: &str, volumes: &BTreeMap<String, i64>) -> Value {
    let own = volumes
        .iter()
        .map(|(name, user)| format!("{user}:/volumes/{name}"));
    let command: Vec<String> = ["prepare", "/vadev"]
        .map(str::to_owned)
        .into_iter()
        .chain(own)
        .collect();
    let mounts = volumes.keys().map(|name| format!("{name}:/volumes/{name}"));
    let mounts: Vec<String> = std::iter::once(format!("{TOOLS}:/vadev")).chain(mounts).collect();
    json!({
        "image": agent,
        "command": command,
        "user": "0:0",
        "cap_drop": ["ALL"],
        "cap_add": ["CHOWN"],
        "security_opt": ["no-new-privileges:true"],
        "read_only": true,
        "network_mode": "none",
        "restart": "no",
        "volumes": mounts,
    })
}

/// The health check that asks an address from inside the container.
fn asks(url: &str) -> Value {
    json!(["CMD", "/vadev/vadev-agent", "check", url])
}

/// What every long-running service has in common.
fn common(service: &mut Map<String, Value>) {
    for (key, value) in [
        ("cap_drop", json!(["ALL"])),
        ("security_opt", json!(["no-new-privileges:true"])),
        ("restart", json!("unless-stopped")),
    ] {
        service.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests;
