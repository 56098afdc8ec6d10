//! Istio as this platform wants it: the installation file, and how an installed one is recognised.

use super::images::Images;
use super::platform::Platform;
use crate::cluster::{Mesh, mesh_digest};
use crate::plan::MeshState;
use crate::render::operator;

/// The installation file as text; `None` where the stack has no mesh.
pub fn operator(platform: &Platform, images: &Images) -> Option<String> {
    let istio = images.istio.as_ref()?;
    operator::render(platform.stack(), istio).map(|operator| operator.to_string())
}

/// istioctl's version is that of the images it installs.
pub fn version(images: &Images) -> String {
    images
        .istio
        .as_ref()
        .map(|istio| istio.tag.clone())
        .unwrap_or_default()
}

/// The digest by which an installed Istio is known to be the wanted one.
pub fn digest(platform: &Platform, images: &Images) -> Option<String> {
    operator(platform, images).map(|operator| mesh_digest(&operator, &version(images)))
}

/// The planner's word for what was found.
pub fn state(found: Mesh) -> MeshState {
    match found {
        Mesh::Missing => MeshState::Missing,
        Mesh::Installed { digest } => MeshState::Installed(digest),
        Mesh::Damaged { what } => MeshState::Damaged(what),
        Mesh::Foreign { .. } => MeshState::Foreign,
    }
}
