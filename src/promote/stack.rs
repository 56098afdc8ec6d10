//! The production stack of a profile: the same components, configuration and versions, and none of a laptop's sizes.

use super::Environment;
use crate::catalog::Catalog;
use crate::profile::profile::{Budget, Override, Profile, ResourceOverride, Sizing};
use crate::profile::{ResolveError, Selection, Stack, Workspace, resolve};

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
    // Resolving takes the workspace's replacements of any component after the profile's and its own services'.
    for (name, change) in &environment.overrides {
        workspace
            .infrastructure
            .entry(name.clone())
            .or_default()
            .merge(change);
    }
    let selection = Selection {
        set: set.to_vec(),
        ..Selection::default()
    };
    let mut stack = resolve(catalog, &profile, &workspace, &selection, None)?;
    if let (Some(mesh), Some(account)) = (&mut stack.mesh, &environment.mesh.ingress_service_account) {
        mesh.policy.ingress.service_account.clone_from(account);
    }
    for sized in &mut stack.services {
        // `--set x.replicas=1` is the least that runs; more than the most raises the most.
        let scaling = &mut sized.service.autoscaling;
        if sized.replicas != sized.service.replicas {
            scaling.min = sized.replicas.max(1);
            scaling.max = scaling.max.max(scaling.min);
        }
    }
    Ok(stack)
}

fn unsized_override(change: &mut Override) {
    change.replicas = None;
    change.resources = ResourceOverride::default();
}
