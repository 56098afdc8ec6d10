//! The production stack of a profile: the same components, configuration and versions, and none of a laptop's sizes.

use indexmap::IndexMap;

use super::Environment;
use crate::catalog::Catalog;
use crate::profile::profile::{Budget, Override, Profile, ResourceOverride, Sizing};
use crate::profile::{ResolveError, Selection, Stack, Workspace, resolve, targets};

/// Resolves a profile for production. Of the workspace and of a fitted profile, replicas and resources are forgotten; the
/// environment's own replacements come last but for `--set`.
pub fn production_stack(
    catalog: &Catalog,
    profile: &Profile,
    workspace: &Workspace,
    environment: &Environment,
    set: &[String],
) -> Result<Stack, ResolveError> {
    let mut profile = profile.clone();
    if profile.sizing == Sizing::Fitted {
        profile.overrides.values_mut().for_each(unsized_override);
    }
    profile.sizing = Sizing::Production;
    profile.budget = Budget::default();
    let mut workspace = workspace.clone();
    for service in workspace.services.values_mut() {
        service.replicas = None;
        service.resources = ResourceOverride::default();
    }
    workspace.infrastructure.values_mut().for_each(unsized_override);
    workspace.infrastructure = replacements(catalog, &workspace, environment)?;
    let selection = Selection {
        set: set.to_vec(),
        ..Selection::default()
    };
    let mut stack = resolve(catalog, &profile, &workspace, &selection, None)?;
    if let (Some(mesh), Some(account)) = (&mut stack.mesh, &environment.mesh.ingress_service_account) {
        mesh.policy.ingress.service_account.clone_from(account);
    }
    if let Some(none) = stack.services.iter().find(|sized| sized.replicas == 0) {
        return Err(ResolveError::Stopped {
            name: none.service.name.clone(),
        });
    }
    let stated: Vec<String> = stack.stated_replicas().map(str::to_owned).collect();
    for sized in stack
        .services
        .iter_mut()
        .filter(|sized| stated.contains(&sized.service.name))
    {
        sized.service.autoscaling = sized.service.autoscaling.with(sized.replicas);
    }
    Ok(stack)
}

/// Resolving takes the workspace's replacements of any component after the profile's and its own services'. The environment's
/// come after the workspace's, whether one of them names a system and the other its workloads.
fn replacements(
    catalog: &Catalog,
    workspace: &Workspace,
    environment: &Environment,
) -> Result<IndexMap<String, Override>, ResolveError> {
    let images = environment.images.iter().map(|(name, image)| {
        let change = Override {
            image: Some(image.clone()),
            ..Override::default()
        };
        (name, change)
    });
    let stated = workspace.infrastructure.iter().chain(&environment.overrides);
    let stated = stated.map(|(name, change)| (name, change.clone()));
    let mut all: IndexMap<String, Override> = IndexMap::new();
    for (name, change) in stated.chain(images) {
        for target in targets(catalog, name)? {
            all.entry(target).or_default().merge(&change);
        }
    }
    Ok(all)
}

/// What production's stack has that nobody asked for in so many words: how far autoscaling goes beyond the catalog.
pub fn notes(catalog: &Catalog, stack: &Stack) -> Vec<String> {
    let raised = stack.services.iter().filter_map(|sized| {
        let name = &sized.service.name;
        let (before, now) = (
            catalog.services.get(name)?.autoscaling.max,
            sized.service.autoscaling.max,
        );
        let text = || {
            format!("{name}: autoscaling goes up to {now} instead of {before}, for its {now} stated replicas")
        };
        (before < now).then(text)
    });
    raised.collect()
}

fn unsized_override(change: &mut Override) {
    change.replicas = None;
    change.resources = ResourceOverride::default();
}
