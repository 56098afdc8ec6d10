//! From catalog, profile, workspace and the command line to the resolved, sized [`Stack`].

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::capacity::{Capacity, available};
use super::choose::{Choice, choose};
use super::order::by_dependency;
use super::profile::{Override, Profile};
use super::scale::Scale;
use super::selection::{ResolveError, Selection, check_replicas, parse_set};
use super::stack::{LeftOut, Namespaces, SizedInfrastructure, SizedService, Stack};
use super::workspace::Workspace;
use crate::catalog::service::Amount;
use crate::catalog::{Catalog, Infrastructure, Service};

/// Resolves and sizes. `host` is what the machine (kind) or the cluster has in all; without it the profile's own bounds
/// alone decide. Whether the result fits, [`super::capacity::Capacity`] says.
///
/// Some services with what they need, and everything beside a mesh that is skipped, are as large as in the whole profile, where
/// that fits: they may join what runs already, and asking for the whole again must not resize it. Where the whole does not fit,
/// they get what there is.
pub fn resolve(
    catalog: &Catalog,
    profile: &Profile,
    workspace: &Workspace,
    selection: &Selection,
    host: Option<Amount>,
) -> Result<Stack, ResolveError> {
    let mut stack = resolve_alone(catalog, profile, workspace, selection, host)?;
    if !selection.services.is_empty() || selection.skip_istio {
        let all = Selection {
            services: Vec::new(),
            skip_istio: false,
            ..selection.clone()
        };
        let whole = resolve_alone(catalog, profile, workspace, &all, host)?;
        if available(selection, host).is_none_or(|most| Capacity::of(&whole, most, false).fits()) {
            stack.take_sizes(&whole);
        }
    }
    Ok(stack)
}

fn resolve_alone(
    catalog: &Catalog,
    profile: &Profile,
    workspace: &Workspace,
    selection: &Selection,
    host: Option<Amount>,
) -> Result<Stack, ResolveError> {
    let catalog = with_extra_services(catalog, workspace);
    let choice = choose(&catalog, profile, &workspace.extra_services, selection)?;
    let overrides = overrides(&catalog, profile, workspace, selection)?;
    let services = by_dependency(&choice.services).into_iter().filter_map(|name| {
        let service = choice.services.get(&name)?;
        Some(prepared(service, &choice, workspace, overrides.get(&name)))
    });
    let mut stack = Stack {
        profile: profile.name.clone(),
        workspace: workspace.name.clone(),
        namespaces: Namespaces::default(),
        host: None,
        mesh: None,
        infrastructure: choice
            .systems
            .iter()
            .map(|system| unsized_system(system, &overrides))
            .collect(),
        services: services.collect(),
        seed: profile.seed,
        metrics: profile.metrics && !selection.is_partial(),
        left_out: choice.left_out.clone(),
        figures: Vec::new(),
        rolling: crate::catalog::service::Amount::default(),
        partial: selection.is_partial(),
    };
    let with_mesh = profile.mesh && !selection.skip_istio;
    Scale::new(profile, selection, host, &overrides).apply(&mut stack, with_mesh.then_some(&catalog.mesh));
    if !with_mesh {
        let reason = if selection.skip_istio {
            "--skip-istio"
        } else {
            "the profile has no mesh"
        };
        leave_out(&mut stack, &catalog.mesh.name, reason);
    }
    keep_only(&mut stack, &catalog, selection)?;
    Ok(stack)
}

/// The catalog with the services that only the workspace has.
fn with_extra_services(catalog: &Catalog, workspace: &Workspace) -> Catalog {
    let mut catalog = catalog.clone();
    for service in &workspace.extra_services {
        catalog.services.insert(service.name.clone(), service.clone());
    }
    catalog.services.sort_keys();
    catalog
}

/// All replacements by component, the command line's last.
fn overrides(
    catalog: &Catalog,
    profile: &Profile,
    workspace: &Workspace,
    selection: &Selection,
) -> Result<BTreeMap<String, Override>, ResolveError> {
    let mut merged: BTreeMap<String, Override> = BTreeMap::new();
    let mut add = |name: &str, change: &Override| -> Result<(), ResolveError> {
        for target in targets(catalog, name)? {
            merged.entry(target).or_default().merge(change);
        }
        Ok(())
    };
    for (name, change) in &profile.overrides {
        add(name, change)?;
    }
    for (name, service) in &workspace.services {
        add(name, &service.as_override())?;
    }
    for (name, change) in &workspace.infrastructure {
        add(name, change)?;
    }
    for text in &selection.set {
        let (name, change) = parse_set(text)?;
        check_replicas(catalog, &name, change.replicas)?;
        for (key, value) in &change.config {
            if let Some((message, help)) = catalog.wrong_setting(&name, key, value) {
                let (text, why) = (text.clone(), format!("{message}; {help}"));
                return Err(ResolveError::Set { text, why });
            }
        }
        add(&name, &change)?;
    }
    Ok(merged)
}

/// The services or workloads that a name means: a system's name means each of its workloads.
pub fn targets(catalog: &Catalog, name: &str) -> Result<Vec<String>, ResolveError> {
    if catalog.services.contains_key(name) {
        return Ok(vec![name.to_owned()]);
    }
    let workloads = catalog
        .infrastructure
        .values()
        .flat_map(|system| &system.workloads);
    if workloads.clone().any(|workload| workload.name == name) {
        return Ok(vec![name.to_owned()]);
    }
    if let Some(system) = catalog.system(name) {
        return Ok(system
            .workloads
            .iter()
            .map(|workload| workload.name.clone())
            .collect());
    }
    let known = catalog.services.keys().map(String::as_str);
    let known = known
        .chain(catalog.store_names())
        .chain(workloads.map(|workload| workload.name.as_str()));
    Err(ResolveError::unknown("service, system or workload", name, known))
}

fn prepared(
    service: &Service,
    choice: &Choice,
    workspace: &Workspace,
    change: Option<&Override>,
) -> SizedService {
    let mut service = service.clone();
    let said = workspace.services.get(&service.name).cloned().unwrap_or_default();
    for (key, value) in change.iter().flat_map(|change| &change.config) {
        service.config.insert(key.clone(), value.clone());
    }
    SizedService {
        absent: choice.absent(&service),
        source: said.source.clone().unwrap_or_else(|| service.source.clone()),
        image: change.and_then(|change| change.image.clone()),
        replicas: service.replicas,
        resources: service.resources,
        workspace: said,
        service,
    }
}

fn unsized_system(system: &Infrastructure, overrides: &BTreeMap<String, Override>) -> SizedInfrastructure {
    let mut infrastructure = system.clone();
    let mut images = IndexMap::new();
    for workload in &mut infrastructure.workloads {
        let Some(change) = overrides.get(&workload.name) else {
            continue;
        };
        for (key, value) in &change.config {
            workload.env.insert(key.clone(), value.clone());
        }
        if let Some(image) = &change.image {
            images.insert(workload.name.clone(), image.clone());
        }
    }
    SizedInfrastructure {
        infrastructure,
        images,
        sizes: IndexMap::new(),
    }
}

/// Why systems are left out that are there already.
const SKIP_INFRA: &str = "--skip-infra";

/// Takes out what `--only` and `--skip-infra` leave alone, after sizing: what stays is as in the whole profile.
fn keep_only(stack: &mut Stack, catalog: &Catalog, selection: &Selection) -> Result<(), ResolveError> {
    let mut wanted = BTreeSet::new();
    for token in &selection.only {
        wanted.extend(only_names(token, catalog)?);
    }
    let keeps = |name: &str| selection.only.is_empty() || wanted.contains(name);
    let mut gone: Vec<(String, &str)> = Vec::new();
    stack.infrastructure.retain(|system| {
        let name = &system.infrastructure.name;
        let reason = if selection.skip_infra {
            SKIP_INFRA
        } else {
            "not named by --only"
        };
        let keep = !selection.skip_infra && keeps(name);
        gone.extend((!keep).then(|| (name.clone(), reason)));
        keep
    });
    stack.services.retain(|service| {
        let keep = keeps(&service.service.name);
        gone.extend((!keep).then(|| (service.service.name.clone(), "not named by --only")));
        keep
    });
    let there: BTreeSet<&str> = stack.component_names().collect();
    if let Some(name) = wanted
        .iter()
        .find(|name| selection.only.contains(name) && !there.contains(name.as_str()))
    {
        let skipped = gone.iter().any(|gone| *gone == (name.clone(), SKIP_INFRA));
        let by = if skipped {
            SKIP_INFRA.to_owned()
        } else if selection.services.is_empty() {
            return Err(ResolveError::NotInProfile {
                profile: stack.profile.clone(),
                name: name.clone(),
            });
        } else {
            format!("asking for {} alone", selection.services.join(", "))
        };
        return Err(ResolveError::Contradicted {
            name: name.clone(),
            by,
        });
    }
    for (name, reason) in gone {
        leave_out(stack, &name, reason);
    }
    Ok(())
}

/// What one word of `--only` means.
fn only_names(token: &str, catalog: &Catalog) -> Result<Vec<String>, ResolveError> {
    let systems = || catalog.infrastructure.values();
    if token == "services" {
        return Ok(catalog.services.keys().cloned().collect());
    }
    if token == "infrastructure" {
        return Ok(catalog.infrastructure.keys().cloned().collect());
    }
    if systems().any(|system| system.group.name() == token) {
        let members = systems().filter(|system| system.group.name() == token);
        return Ok(members.map(|system| system.name.clone()).collect());
    }
    if catalog.mesh.name == token {
        return Ok(vec![token.to_owned()]);
    }
    if let Some(system) = catalog.system(token) {
        return Ok(vec![system.name.clone()]);
    }
    if catalog.services.contains_key(token) {
        return Ok(vec![token.to_owned()]);
    }
    let groups = systems().map(|system| system.group.name());
    let known = catalog
        .services
        .keys()
        .map(String::as_str)
        .chain(catalog.store_names())
        .chain(groups);
    let known = known.chain(["services", "infrastructure", catalog.mesh.name.as_str()]);
    Err(ResolveError::unknown("group, system or service", token, known))
}

fn leave_out(stack: &mut Stack, name: &str, reason: &str) {
    stack.left_out.push(LeftOut {
        name: name.to_owned(),
        reason: reason.to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::{machine, stack};

    #[test]
    fn without_the_mesh_everything_is_as_large_as_beside_it() {
        let whole = stack("dev", &Selection::default(), machine(2, 8));
        let wish = Selection {
            skip_istio: true,
            ..Selection::default()
        };
        let part = stack("dev", &wish, machine(2, 8));
        assert!(part.mesh.is_none() && whole.mesh.is_some());
        assert_eq!(part.infrastructure, whole.infrastructure);
        assert_eq!(part.services, whole.services);
    }
}
