//! Which components a profile and a selection mean, before sizes.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::profile::{Profile, ServiceChoice};
use super::selection::{ResolveError, Selection};
use super::stack::LeftOut;
use crate::catalog::{Catalog, Group, Infrastructure, Service};

/// The chosen components.
pub struct Choice<'a> {
    /// By name, sorted.
    pub services: IndexMap<String, Service>,
    /// In the order of their groups.
    pub systems: Vec<&'a Infrastructure>,
    /// The rest of the catalog, with reasons.
    pub left_out: Vec<LeftOut>,
}

impl Choice<'_> {
    /// What a service calls or stores in that is not there.
    pub fn absent(&self, service: &Service) -> Vec<String> {
        let calls = service
            .calls
            .iter()
            .filter(|name| !self.services.contains_key(*name));
        let stores = service
            .stores
            .iter()
            .filter(|name| !self.systems.iter().any(|system| system.is_called(name)));
        calls.chain(stores).cloned().collect()
    }
}

/// Chooses. `up SERVICE…` takes those services and whatever of the profile they need, directly or not.
pub fn choose<'a>(
    catalog: &'a Catalog,
    profile: &Profile,
    selection: &Selection,
) -> Result<Choice<'a>, ResolveError> {
    let services = profile_services(catalog, profile)?;
    let mut systems: Vec<&Infrastructure> = catalog
        .infrastructure
        .values()
        .filter(|system| profile.groups.contains(&system.group) || needed_objects(system, &services))
        .collect();
    systems.sort_by_key(|system| system.group);
    let mut choice = Choice {
        services,
        systems,
        left_out: Vec::new(),
    };
    note_rest(&mut choice, catalog, |name, group| match group {
        Some(group) => format!(
            "the profile `{}` leaves out the group {}",
            profile.name,
            group.name()
        ),
        None => format!("the profile `{}` leaves out {name}", profile.name),
    });
    if !selection.services.is_empty() {
        narrow(&mut choice, catalog, profile, &selection.services)?;
    }
    Ok(choice)
}

fn profile_services(catalog: &Catalog, profile: &Profile) -> Result<IndexMap<String, Service>, ResolveError> {
    let names = match &profile.services {
        ServiceChoice::All(_) => return Ok(catalog.services.clone()),
        ServiceChoice::Named(names) => names,
    };
    let mut services = IndexMap::new();
    for name in names {
        let Some(service) = catalog.services.get(name) else {
            return Err(ResolveError::unknown(
                "service",
                name,
                catalog.services.keys().map(String::as_str),
            ));
        };
        services.insert(name.clone(), service.clone());
    }
    services.sort_keys();
    Ok(services)
}

/// Object storage comes with the first service that needs it (platform.md).
fn needed_objects(system: &Infrastructure, services: &IndexMap<String, Service>) -> bool {
    let stores = || services.values().flat_map(|service| &service.stores);
    system.group == Group::ObjectStorage && stores().any(|store| system.is_called(store))
}

fn narrow(
    choice: &mut Choice,
    catalog: &Catalog,
    profile: &Profile,
    asked: &[String],
) -> Result<(), ResolveError> {
    let mut services = BTreeSet::new();
    let mut systems = BTreeSet::new();
    for name in asked {
        if choice.services.contains_key(name) {
            services.insert(name.clone());
        } else if let Some(system) = choice.systems.iter().find(|system| system.is_called(name)) {
            systems.insert(system.name.clone());
        } else if catalog.services.contains_key(name) || catalog.system(name).is_some() {
            return Err(ResolveError::NotInProfile {
                profile: profile.name.clone(),
                name: name.clone(),
            });
        } else {
            let known = catalog
                .services
                .keys()
                .map(String::as_str)
                .chain(catalog.store_names());
            return Err(ResolveError::unknown("service", name, known));
        }
    }
    let mut open: Vec<String> = services.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let Some(service) = choice.services.get(&name) else {
            continue;
        };
        for callee in service
            .calls
            .iter()
            .filter(|callee| choice.services.contains_key(*callee))
        {
            if services.insert(callee.clone()) {
                open.push(callee.clone());
            }
        }
        let stores = choice
            .systems
            .iter()
            .filter(|system| service.stores.iter().any(|store| system.is_called(store)));
        systems.extend(stores.map(|system| system.name.clone()));
    }
    choice.services.retain(|name, _| services.contains(name));
    choice.systems.retain(|system| systems.contains(&system.name));
    note_rest(choice, catalog, |_, _| {
        format!("not needed by {}", asked.join(", "))
    });
    Ok(())
}

/// Notes what is neither chosen nor noted yet.
fn note_rest(choice: &mut Choice, catalog: &Catalog, reason: impl Fn(&str, Option<Group>) -> String) {
    let systems = catalog
        .infrastructure
        .values()
        .map(|system| (&system.name, Some(system.group)));
    let services = catalog.services.keys().map(|name| (name, None));
    for (name, group) in systems.chain(services) {
        let chosen =
            choice.services.contains_key(name) || choice.systems.iter().any(|system| &system.name == name);
        let noted = choice.left_out.iter().any(|left| &left.name == name);
        if !chosen && !noted {
            choice.left_out.push(LeftOut {
                name: name.clone(),
                reason: reason(name, group),
            });
        }
    }
}
