//! Istio as this platform wants it: the installation file, and how an installed one is recognised.

use super::images::Images;
use super::platform::Platform;
use crate::cluster::{Mesh, mesh_digest};
use crate::failure::Failure;
use crate::k8s::Cluster;
use crate::plan::MeshState;
use crate::promote::Target;
use crate::promote::target::{OLDEST_ISTIO, Version};
use crate::render::mesh::IstioApi;
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

/// API versions of the Istio that is there: before 1.22 it has no v1. One that vadev installed, or is yet to, has it.
pub async fn api(platform: &Platform, cluster: Option<&Cluster>) -> Result<IstioApi, Failure> {
    let Some(cluster) = cluster.filter(|_| platform.options.place.existing().is_some()) else {
        return Ok(IstioApi::V1);
    };
    let served = cluster.versions_of("networking.istio.io").await?;
    Ok(newest(&served))
}

fn newest(served: &[String]) -> IstioApi {
    if served.is_empty() || served.iter().any(|version| version == "v1") {
        IstioApi::V1
    } else {
        IstioApi::V1Beta1
    }
}

/// Refuses a Kubernetes or an Istio that lacks what the platform is made of. A version that says nothing is believed.
pub fn refuse_old(kubernetes: &str, found: &Mesh) -> Result<(), Failure> {
    let istio = match found {
        Mesh::Foreign { version } => version.as_deref(),
        Mesh::Missing | Mesh::Installed { .. } | Mesh::Damaged { .. } => None,
    };
    let istio = istio
        .and_then(|text| Version::parse(text).ok())
        .unwrap_or(OLDEST_ISTIO);
    if let Ok(kubernetes) = Version::parse(kubernetes) {
        Target::new(kubernetes, istio)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_is_served_is_used() {
        let served = |versions: &[&str]| {
            let versions: Vec<String> = versions.iter().map(|one| (*one).to_owned()).collect();
            newest(&versions)
        };
        assert_eq!(served(&["v1", "v1beta1", "v1alpha3"]), IstioApi::V1);
        assert_eq!(served(&["v1beta1", "v1alpha3"]), IstioApi::V1Beta1);
        assert_eq!(served(&[]), IstioApi::V1);
    }

    #[test]
    fn what_is_too_old_is_refused_with_a_word() {
        let istio = |version: Option<&str>| Mesh::Foreign {
            version: version.map(str::to_owned),
        };
        assert!(refuse_old("v1.27.3-gke.100", &istio(Some("1.20.3-distroless"))).is_ok());
        assert!(refuse_old("v1.25.0", &istio(None)).is_ok());
        assert!(refuse_old("v1.25.0", &istio(Some("a-build-of-mine"))).is_ok());
        let said = |kubernetes: &str, found: &Mesh| refuse_old(kubernetes, found).unwrap_err().to_string();
        assert!(said("v1.24.17", &Mesh::Missing).contains("Kubernetes 1.24"));
        assert!(said("v1.30.0", &istio(Some("1.18.7"))).contains("Istio 1.18"));
    }
}
