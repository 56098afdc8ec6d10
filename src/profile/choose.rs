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

/// Chooses. `up SERVICE…` takes those services and whatever of the profile they need, directly or not. `own` are the
/// services that the workspace adds: no profile of vadev's can name them, so they belong to each.
pub fn choose<'a>(
    catalog: &'a Catalog,
    profile: &Profile,
    own: &[Service],
    selection: &Selection,
) -> Result<Choice<'a>, ResolveError> {
    let mut services = profile_services(catalog, profile)?;
    services.extend(own.iter().map(|service| (service.name.clone(), service.clone())));
    services.sort_keys();
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

#[cfg(test)]
pub(crate) mod tests {
    use crate::profile::tests::machine;
    use crate::profile::{Selection, Sources, Stack, load_all, resolve};

    /// A service of the user's own, on a port and with probes unlike the platform's.
    const CART: &str = "apiVersion: vadev.dev/v1\nkind: Service\nname: cart-service\nsummary: Ours\nlanguage: go\n\
        source: cart\nimage: { repository: x/cart, version: 1.0.0 }\nport: 9090\nprefixes: [/api/v1/cart]\n\
        calls: [identity-service]\nprobes: { liveness: /hz, readiness: /rz }\n\
        resources: { requests: { cpu: 50m, memory: 64Mi }, limits: { cpu: 100m, memory: 64Mi } }\n\
        replicas: 1\nautoscaling: { min: 1, max: 1, cpuPercent: 70 }\n";

    const HEAD: &str = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";

    /// A workspace that has it, in its own file or in `vadev.yaml`.
    fn sources(in_file: bool) -> Sources {
        let inline = format!(
            "{HEAD}extraServices:\n  - {}\n",
            CART.trim_end().replace('\n', "\n    ")
        );
        let files = format!("{HEAD}extraServiceFiles: [cart.yaml]\n");
        Sources {
            workspace: Some(("vadev.yaml".into(), if in_file { files } else { inline })),
            extra_services: in_file
                .then(|| ("cart.yaml".into(), CART.into()))
                .into_iter()
                .collect(),
            ..Sources::default()
        }
    }

    /// Some services of a profile, with the workspace's own.
    pub(crate) fn with_cart(profile: &str, services: &[&str], in_file: bool) -> Stack {
        let loaded = load_all(&sources(in_file), "unused").expect("a good workspace");
        let selection = Selection {
            services: services.iter().map(ToString::to_string).collect(),
            ..Selection::default()
        };
        let (profile, host) = (&loaded.profiles[profile], machine(4, 16));
        resolve(
            &loaded.catalog,
            profile,
            &loaded.workspace,
            &selection,
            Some(host),
        )
        .expect("resolves")
    }

    #[test]
    fn the_users_own_services_are_in_every_profile() {
        for in_file in [false, true] {
            let whole = with_cart("minimal", &[], in_file);
            let names: Vec<&str> = whole.component_names().collect();
            assert!(
                names.contains(&"cart-service") && names.contains(&"agent-engine"),
                "{names:?}"
            );
            assert!(
                !names.contains(&"rag-engine"),
                "the rest is as the profile says: {names:?}"
            );
            assert!(whole.left_out.iter().all(|left| left.name != "cart-service"));
            let alone = with_cart("minimal", &["cart-service"], in_file);
            let services = alone.services.iter().map(|sized| sized.service.name.as_str());
            assert_eq!(services.collect::<Vec<_>>(), ["identity-service", "cart-service"]);
        }
    }
}
