//! Reading profiles and the workspace file, checked against the catalog.

use indexmap::IndexMap;

use super::misplaced::{
    apart, check_sync, contradictions, unknown_keys, unknown_services, unknown_systems, wrong_settings,
};
use super::profile::ServiceChoice;
use super::workspace::LONGEST_NAME;
use super::{Profile, Workspace};
use crate::catalog::load::{Document, load_beside, overlay, read_document};
use crate::catalog::prefixes;
use crate::catalog::semantic::{Names, check_service, help};
use crate::catalog::tree::Step::{Item, Key};
use crate::catalog::tree::{Place, Source, Step, parse};
use crate::catalog::{Catalog, NamedText, Problem, Problems, Service, embedded_files, embedded_profiles};

/// The texts that a run is made of, as a room with file access found them. `Default` is what is built into vadev.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `vadev.yaml`, where there is one.
    pub workspace: Option<NamedText>,
    /// Files below the workspace's `catalog` folder: `services/`, `infrastructure/`, `mesh/`.
    pub catalog: Vec<NamedText>,
    /// Files of the workspace's `extraServiceFiles`.
    pub extra_services: Vec<NamedText>,
    /// Files below the `profiles/` of the workspace's `catalog` folder, and one named by `-f`.
    pub profiles: Vec<NamedText>,
}

/// Everything that was read, and found to fit together.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// With the workspace's own services in it.
    pub catalog: Catalog,
    /// By name.
    pub profiles: IndexMap<String, Profile>,
    /// The workspace.
    pub workspace: Workspace,
}

/// Reads `vadev.yaml` alone: enough to know which other files to read.
pub fn read_workspace(file: &NamedText) -> Result<Workspace, Problems> {
    match read_document::<Workspace>(&file.0, &file.1) {
        Ok(document) => Ok(document.entry),
        Err(problems) => Err(Problems::some(problems)),
    }
}

/// A problem of the workspace file at what a path leads to.
pub fn problem_in(file: &NamedText, path: &[Step<'_>], message: String, help: Option<String>) -> Problem {
    let source = Source::new(&file.0, &file.1);
    let start = Place {
        line: 1,
        column: 1,
        width: 1,
    };
    let place = parse(&source, &file.1)
        .0
        .map_or(start, |root| root.place_of(path));
    source.problem(place, message, help)
}

/// Reads everything. `name` is the workspace's where it has no file. All problems of all files come at once, except that
/// names are only looked up once the catalog is without problems.
pub fn load_all(sources: &Sources, name: &str) -> Result<Loaded, Problems> {
    let mut problems = Vec::new();
    let workspace = sources
        .workspace
        .as_ref()
        .map(|(file, text)| read_document::<Workspace>(file, text));
    let workspace = match workspace {
        Some(Ok(document)) => Some(document),
        Some(Err(more)) => {
            problems.extend(more);
            None
        }
        None => None,
    };
    let inline = workspace
        .iter()
        .flat_map(|document| &document.entry.extra_services);
    let inline: Vec<&str> = inline.map(|service| service.name.as_str()).collect();
    let extra = overlay(sources.catalog.clone(), sources.extra_services.clone());
    let catalog = load_beside(&overlay(embedded_files(), extra), &inline);
    problems.extend(
        catalog
            .as_ref()
            .err()
            .into_iter()
            .flat_map(|problems| problems.all().to_vec()),
    );
    let profile_files = overlay(embedded_profiles(), sources.profiles.clone());
    let mut profiles = IndexMap::new();
    let mut documents = Vec::new();
    for (file, text) in &profile_files {
        match read_document::<Profile>(file, text) {
            Ok(document) => documents.push(document),
            Err(more) => problems.extend(more),
        }
    }
    let Ok(mut catalog) = catalog else {
        return Err(Problems::some(problems));
    };
    let extra_services = workspace
        .iter()
        .flat_map(|document| &document.entry.extra_services);
    let taken = catalog.services.clone();
    for service in extra_services {
        catalog.services.insert(service.name.clone(), service.clone());
    }
    catalog.services.sort_keys();
    for document in documents {
        problems.extend(check_profile(&document, &catalog));
        profiles.insert(document.entry.name.clone(), document.entry);
    }
    if let Some(document) = &workspace {
        problems.extend(check_workspace(document, &catalog, &profiles));
        problems.extend(check_taken(document, &taken, &system_names(&catalog)));
    }
    if let Some(problems) = Problems::of(problems) {
        return Err(problems);
    }
    let mut workspace = workspace.map_or_else(|| Workspace::unnamed(name), |document| document.entry);
    // From here on it makes no difference which file a service of the user's own stood in.
    let files = sources.extra_services.iter();
    let in_files = files.filter_map(|(file, text)| read_document::<Service>(file, text).ok());
    workspace
        .extra_services
        .extend(in_files.map(|document| document.entry));
    Ok(Loaded {
        catalog,
        profiles,
        workspace,
    })
}

/// Names of services, systems, their aliases and workloads.
pub fn component_names(catalog: &Catalog) -> Vec<String> {
    [service_names(catalog), system_names(catalog)].concat()
}

fn service_names(catalog: &Catalog) -> Vec<String> {
    catalog.services.keys().cloned().collect()
}

/// Names of systems, their aliases and workloads.
fn system_names(catalog: &Catalog) -> Vec<String> {
    let workloads = catalog
        .infrastructure
        .values()
        .flat_map(|system| &system.workloads);
    let workloads = workloads.map(|workload| workload.name.clone());
    let mut names: Vec<String> = catalog
        .store_names()
        .into_iter()
        .map(str::to_owned)
        .chain(workloads)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn check_profile(document: &Document<'_, Profile>, catalog: &Catalog) -> Vec<Problem> {
    let profile = &document.entry;
    let services = service_names(catalog);
    let mut problems = Vec::new();
    if let ServiceChoice::Named(names) = &profile.services {
        for (index, name) in names
            .iter()
            .enumerate()
            .filter(|(_, name)| !services.contains(name))
        {
            let path = [Key("services"), Item(index)];
            problems.push(document.problem(
                &path,
                format!("no service is called `{name}`"),
                Some(help(name, &services)),
            ));
        }
    }
    let known = component_names(catalog);
    for (name, change) in &profile.overrides {
        problems.extend(contradictions(
            document,
            &[Key("overrides"), Key(name)],
            &change.resources,
        ));
    }
    problems.extend(unknown_keys(
        document,
        "overrides",
        profile.overrides.keys(),
        &known,
    ));
    let replicas = profile.overrides.iter();
    let replicas = replicas.map(|(name, change)| (name, change.replicas));
    problems.extend(apart(document, "overrides", replicas, catalog));
    let settings = profile
        .overrides
        .iter()
        .map(|(name, change)| (name, &change.config));
    problems.extend(wrong_settings(document, "overrides", settings, catalog));
    problems
}

/// Names and prefixes of the workspace's own services that the catalog, or one of them before, has already.
fn check_taken(
    document: &Document<'_, Workspace>,
    taken: &IndexMap<String, Service>,
    systems: &[String],
) -> Vec<Problem> {
    let services = &document.entry.extra_services;
    let mut problems = Vec::new();
    for (index, service) in services.iter().enumerate() {
        let name = &service.name;
        let field = if taken.contains_key(name) {
            Some("services")
        } else if systems.contains(name) {
            Some("infrastructure")
        } else {
            None
        };
        if let Some(field) = field {
            let path = [Key("extraServices"), Item(index), Key("name")];
            let help = Some(format!("state what differs under `{field}`: {name}: …"));
            problems.push(document.problem(&path, format!("the catalog has `{name}` already"), help));
        }
        for (number, prefix) in service.prefixes.iter().enumerate() {
            let others = taken.values().filter(|other| other.name != *name);
            let others = others.chain(&services[..index]);
            let others = others.flat_map(|other| other.prefixes.iter().map(|prefix| (prefix, &other.name)));
            let own = service.prefixes[..number].iter().map(|prefix| (prefix, name));
            let wrong = others
                .chain(own)
                .find_map(|(other, holder)| prefixes::taken(prefix, other, holder));
            if let Some(message) = wrong {
                let path = [Key("extraServices"), Item(index), Key("prefixes"), Item(number)];
                problems.push(document.problem(&path, message, None));
            }
        }
    }
    problems
}

fn check_workspace(
    document: &Document<'_, Workspace>,
    catalog: &Catalog,
    profiles: &IndexMap<String, Profile>,
) -> Vec<Problem> {
    let workspace = &document.entry;
    let services = service_names(catalog);
    let mut problems = Vec::new();
    let length = workspace.name.len();
    if length > LONGEST_NAME {
        let message = format!("`name` has {length} letters, and may have {LONGEST_NAME}");
        let help = "the cluster's nodes are named after it, and host names end at 63 letters".to_owned();
        problems.push(document.problem(&[Key("name")], message, Some(help)));
    }
    if let Some(profile) = workspace
        .profile
        .as_ref()
        .filter(|name| !profiles.contains_key(*name))
    {
        let known: Vec<String> = profiles.keys().cloned().collect();
        let message = format!("no profile is called `{profile}`");
        problems.push(document.problem(&[Key("profile")], message, Some(help(profile, &known))));
    }
    let systems = system_names(catalog);
    problems.extend(unknown_services(document, &services, &systems));
    problems.extend(unknown_systems(document, &services, &systems));
    problems.extend(check_sync(document));
    let replicas = workspace.infrastructure.iter();
    let replicas = replicas.map(|(name, change)| (name, change.replicas));
    problems.extend(apart(document, "infrastructure", replicas, catalog));
    let settings = workspace.services.iter().map(|(name, said)| (name, &said.config));
    problems.extend(wrong_settings(document, "services", settings, catalog));
    let settings = workspace
        .infrastructure
        .iter()
        .map(|(name, said)| (name, &said.config));
    problems.extend(wrong_settings(document, "infrastructure", settings, catalog));
    for (name, service) in &workspace.services {
        problems.extend(contradictions(
            document,
            &[Key("services"), Key(name)],
            &service.resources,
        ));
    }
    for (name, change) in &workspace.infrastructure {
        problems.extend(contradictions(
            document,
            &[Key("infrastructure"), Key(name)],
            &change.resources,
        ));
    }
    let names = Names::of_catalog(catalog);
    for (index, service) in workspace.extra_services.iter().enumerate() {
        let base: [Step<'_>; 2] = [Key("extraServices"), Item(index)];
        problems.extend(check_service(document, service, &base, Some(&names)));
        if workspace.extra_services[..index]
            .iter()
            .any(|other| other.name == service.name)
        {
            let path = [Key("extraServices"), Item(index), Key("name")];
            problems.push(document.problem(
                &path,
                format!("the name `{}` is taken already", service.name),
                None,
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests;
