//! What a schema cannot say: names that must exist, be unique and fit together, and figures that must agree.

use std::collections::BTreeMap;

use super::infrastructure::Infrastructure;
use super::load::{Document, Documents};
use super::problem::{Problem, nearest};
use super::service::{Amount, Resources, Service};
use super::tree::Step::{Item, Key};
use super::tree::{Source, Step};
use super::{Catalog, MeshEntry, prefixes, settings};

/// All checks over a catalog, beside which `elsewhere` names more services. `complete` says whether every file could be read; only then can a name be unknown.
pub fn check_catalog(documents: &Documents<'_>, elsewhere: &[&str], complete: bool) -> Vec<Problem> {
    let mut names = Names::of(documents);
    names
        .services
        .extend(elsewhere.iter().map(|name| (*name).to_owned()));
    let mut problems = Vec::new();
    for document in &documents.services {
        let names = complete.then_some(&names);
        problems.extend(check_service(document, &document.entry, &[], names));
    }
    problems.extend(documents.infrastructure.iter().flat_map(check_system));
    problems.extend(unique(documents));
    problems.extend(prefixes::shadowed(documents));
    problems
}

/// The names that entries may refer to.
#[derive(Debug, Default)]
pub struct Names {
    /// Services.
    pub services: Vec<String>,
    /// Systems and their aliases.
    pub stores: Vec<String>,
    /// Those of them that ask nobody for a password.
    pub without_password: Vec<String>,
    /// The paths that the platform itself answers.
    pub public_paths: Vec<String>,
}

impl Names {
    fn of(documents: &Documents<'_>) -> Self {
        let services = documents.services.iter().map(|document| &document.entry.name);
        let systems = documents.infrastructure.iter().map(|document| &document.entry);
        let mesh = documents.mesh.first().map(|document| &document.entry);
        Self::new(services.cloned().collect(), systems, mesh)
    }

    /// The names of a catalog.
    pub fn of_catalog(catalog: &Catalog) -> Self {
        let services = catalog.services.keys().cloned().collect();
        Self::new(services, catalog.infrastructure.values(), Some(&catalog.mesh))
    }

    fn new<'a>(
        services: Vec<String>,
        systems: impl Iterator<Item = &'a Infrastructure> + Clone,
        mesh: Option<&MeshEntry>,
    ) -> Self {
        let called =
            |system: &'a Infrastructure| std::iter::once(&system.name).chain(&system.aliases).cloned();
        Self {
            services,
            without_password: systems
                .clone()
                .filter(|system| system.secrets.is_empty())
                .flat_map(called)
                .collect(),
            stores: systems.flat_map(called).collect(),
            public_paths: mesh.map_or_else(Vec::new, |mesh| mesh.policy.public_paths.clone()),
        }
    }
}

/// Help for an unknown name.
pub fn help(name: &str, known: &[String]) -> String {
    let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
    known.sort_unstable();
    nearest(name, known.iter().copied()).map_or_else(
        || format!("there are: {}", known.join(", ")),
        |nearest| format!("did you mean `{nearest}`?"),
    )
}

/// What vadev itself calls parts of the platform that are no service: as a service's name, its objects and steps would be
/// taken for theirs.
pub const RESERVED: [&str; 13] = [
    "cluster",
    "mesh",
    "metrics-server",
    "namespaces",
    // Objects in the services' namespace, of kinds that every service has one of its own name of.
    "allow-dns",
    "allow-mesh",
    "allow-scraping",
    "allow-tracing",
    "default",
    "default-deny",
    "voiceassistant-routes",
    // Compose's own services.
    "gateway",
    "prepare",
];

/// The ports that Istio's sidecar keeps for itself.
const SIDECAR: std::ops::RangeInclusive<u16> = 15000..=15090;

/// The checks of one service, wherever in a document it stands.
pub fn check_service<T>(
    document: &Document<'_, T>,
    service: &Service,
    base: &[Step<'_>],
    names: Option<&Names>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let at = |steps: &[Step<'static>]| [base, steps].concat();
    if RESERVED.contains(&service.name.as_str()) {
        let message = format!(
            "`{}` is vadev's own name for a part of the platform",
            service.name
        );
        let help = "give the service another one".to_owned();
        problems.push(document.problem(&at(&[Key("name")]), message, Some(help)));
    }
    for (index, callee) in service.calls.iter().enumerate() {
        let path = at(&[Key("calls"), Item(index)]);
        if *callee == service.name {
            problems.push(document.problem(&path, format!("`{callee}` calls itself"), None));
        } else if service.calls[..index].contains(callee) {
            problems.push(document.problem(&path, format!("`{callee}` is named twice"), None));
        } else if let Some(names) = names.filter(|names| !names.services.contains(callee)) {
            problems.push(document.problem(
                &path,
                format!("no service is called `{callee}`"),
                Some(help(callee, &names.services)),
            ));
        }
    }
    for (index, store) in service.stores.iter().enumerate() {
        let path = at(&[Key("stores"), Item(index)]);
        if service.stores[..index].contains(store) {
            problems.push(document.problem(&path, format!("`{store}` is named twice"), None));
        } else if let Some(names) = names.filter(|names| !names.stores.contains(store)) {
            problems.push(document.problem(
                &path,
                format!("no system is called `{store}`"),
                Some(help(store, &names.stores)),
            ));
        }
    }
    for (key, secret) in &service.secrets {
        let Some(from) = &secret.from else { continue };
        if let Some(names) = names.filter(|names| !names.stores.contains(from)) {
            let path = [base, &[Key("secrets"), Key(key), Key("from")]].concat();
            problems.push(document.problem(
                &path,
                format!("no system is called `{from}`"),
                Some(help(from, &names.stores)),
            ));
        }
        if names.is_some_and(|names| names.without_password.contains(from)) {
            let path = [base, &[Key("secrets"), Key(key), Key("from")]].concat();
            let help = "leave `from` out: the value is then one of the service's own".to_owned();
            problems.push(document.problem(&path, format!("`{from}` has no password"), Some(help)));
        }
    }
    let public = names.map_or(&[][..], |names| &names.public_paths);
    problems.extend(prefixes::check(document, service, base, public));
    problems.extend(settings::check(document, service, base));
    if SIDECAR.contains(&service.port) {
        let message = format!("the port {} is Istio's own in every pod", service.port);
        let help = format!("take one outside of {} to {}", SIDECAR.start(), SIDECAR.end());
        problems.push(document.problem(&at(&[Key("port")]), message, Some(help)));
    }
    let scaling = &service.autoscaling;
    if scaling.min > scaling.max || scaling.min == 0 {
        let path = at(&[Key("autoscaling"), Key("min")]);
        let message = format!(
            "min is {}, and must be from 1 to max, which is {}",
            scaling.min, scaling.max
        );
        problems.push(document.problem(&path, message, None));
    }
    if service.replicas > scaling.max && scaling.min <= scaling.max {
        let message = format!(
            "there are {} replicas, and autoscaling never goes beyond {}",
            service.replicas, scaling.max
        );
        let help = Some(format!(
            "raise `max` to {}, or lower `replicas`",
            service.replicas
        ));
        problems.push(document.problem(&at(&[Key("replicas")]), message, help));
    }
    problems.extend(check_figures(document, base, &service.resources, &service.floor));
    problems
}

/// Floor ≤ request ≤ limit, for CPU and memory.
fn check_figures<T>(
    document: &Document<'_, T>,
    base: &[Step<'_>],
    resources: &Resources,
    floor: &Amount,
) -> Vec<Problem> {
    let Resources { requests, limits } = resources;
    let cases = [
        (
            "cpu",
            limits.cpu < requests.cpu,
            floor.cpu > requests.cpu,
            limits.cpu.to_string(),
            requests.cpu.to_string(),
            floor.cpu.to_string(),
        ),
        (
            "memory",
            limits.memory < requests.memory,
            floor.memory > requests.memory,
            limits.memory.to_string(),
            requests.memory.to_string(),
            floor.memory.to_string(),
        ),
    ];
    let mut problems = Vec::new();
    for (field, limit_low, floor_high, limit, request, floor) in cases {
        if limit_low {
            let path = [base, &[Key("resources"), Key("limits"), Key(field)]].concat();
            problems.push(document.problem(
                &path,
                format!("the {field} limit {limit} is below the request {request}"),
                None,
            ));
        }
        if floor_high {
            let path = [base, &[Key("floor"), Key(field)]].concat();
            let stated = document.root.has(&path);
            let (path, message, help) = if stated {
                let message = format!("the {field} floor {floor} is above the production request {request}");
                (path, message, None)
            } else {
                let path = [base, &[Key("resources"), Key("requests"), Key(field)]].concat();
                let message = format!(
                    "the {field} request {request} is below the least that one replica gets, {floor}"
                );
                let help = format!("raise it, or state a `floor` with less {field}");
                (path, message, Some(help))
            };
            problems.push(document.problem(&path, message, help));
        }
    }
    problems
}

/// Why a system that runs once can't run several times.
pub fn apart(name: &str, replicas: u32) -> String {
    format!("{replicas} replicas of `{name}` would each have data of their own, behind one Service")
}

fn check_system(document: &Document<'_, Infrastructure>) -> Vec<Problem> {
    let system = &document.entry;
    let mut problems = Vec::new();
    for (index, workload) in system.workloads.iter().enumerate() {
        let base = [Key("workloads"), Item(index)];
        problems.extend(check_figures(
            document,
            &base,
            &workload.resources,
            &workload.floor,
        ));
        if workload.replicas > 1 && !workload.replicable {
            let path = [&base[..], &[Key("replicas")]].concat();
            let help = "say `replicable: true` where its replicas are one system together".to_owned();
            problems.push(document.problem(&path, apart(&workload.name, workload.replicas), Some(help)));
        }
        for (variable, key) in &workload.secret_env {
            if workload.env.contains_key(variable) {
                let path = [&base[..], &[Key("env"), Key(variable)]].concat();
                let message = format!("`{variable}` is there already, under `secretEnv`");
                problems.push(document.problem(&path, message, None));
            }
            if !system.secrets.contains_key(key) {
                let path = [&base[..], &[Key("secretEnv"), Key(variable)]].concat();
                let known: Vec<String> = system.secrets.keys().cloned().collect();
                problems.push(document.problem(
                    &path,
                    format!("`secrets` has no key `{key}`"),
                    Some(help(key, &known)),
                ));
            }
        }
        for (number, port) in workload.ports.iter().enumerate() {
            if workload.ports[..number]
                .iter()
                .any(|other| other.port == port.port || other.name == port.name)
            {
                let path = [&base[..], &[Key("ports"), Item(number)]].concat();
                problems.push(document.problem(
                    &path,
                    format!("the port {} or its name is there twice", port.port),
                    None,
                ));
            }
        }
        for (number, volume) in workload.volumes.iter().enumerate() {
            if volume.floor > volume.size {
                let path = [&base[..], &[Key("volumes"), Item(number), Key("floor")]].concat();
                let message = format!("the floor {} is above the size {}", volume.floor, volume.size);
                problems.push(document.problem(&path, message, None));
            }
        }
    }
    let ports = || {
        system
            .workloads
            .iter()
            .flat_map(|workload| &workload.ports)
            .map(|port| port.port)
    };
    if let Some(endpoint) = system
        .endpoint
        .as_ref()
        .filter(|endpoint| !ports().any(|port| port == endpoint.port))
    {
        let message = format!("no workload has the port {}", endpoint.port);
        problems.push(document.problem(&[Key("endpoint"), Key("port")], message, None));
    }
    problems
}

/// Names and prefixes that only one entry may have.
fn unique(documents: &Documents<'_>) -> Vec<Problem> {
    let mut seen = Seen::default();
    for document in &documents.services {
        seen.note("name", &document.entry.name, document, &[Key("name")]);
        for (index, prefix) in document.entry.prefixes.iter().enumerate() {
            seen.note("prefix", prefix, document, &[Key("prefixes"), Item(index)]);
        }
    }
    for document in &documents.infrastructure {
        let system = &document.entry;
        seen.note("name", &system.name, document, &[Key("name")]);
        for (index, alias) in system.aliases.iter().enumerate() {
            seen.note("name", alias, document, &[Key("aliases"), Item(index)]);
        }
        for (index, workload) in system.workloads.iter().enumerate() {
            // A workload may be called as its own system is.
            if !system.is_called(&workload.name) {
                seen.note(
                    "name",
                    &workload.name,
                    document,
                    &[Key("workloads"), Item(index), Key("name")],
                );
            }
        }
    }
    for document in &documents.mesh {
        seen.note("mesh", "mesh", document, &[Key("kind")]);
    }
    seen.problems
}

#[derive(Default)]
struct Seen {
    first: BTreeMap<(&'static str, String), String>,
    problems: Vec<Problem>,
}

impl Seen {
    fn note<T>(&mut self, what: &'static str, value: &str, document: &Document<'_, T>, path: &[Step<'_>]) {
        let key = (what, value.to_owned());
        let place = document.root.place_of(path);
        let Source { file, .. } = &document.source;
        if let Some(first) = self.first.get(&key) {
            let message = format!("the {what} `{value}` is taken already, by {first}");
            self.problems.push(document.source.problem(place, message, None));
        } else {
            self.first.insert(key, format!("{file}:{}", place.line));
        }
    }
}
