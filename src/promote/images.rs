//! Which image production runs: pinned by digest, or left as it is for the check to refuse.

use indexmap::IndexMap;

use crate::catalog::text::is_digest_digit;
use crate::profile::Stack;
use crate::render::{DeployedImage, Origin};

/// The image of every service and workload. `pushed` are references of images that this run pushed to a registry, and
/// digests that a registry told, by name: stronger than what the stack names, which is stronger than the catalog.
pub fn images(stack: &Stack, pushed: &IndexMap<String, String>) -> IndexMap<String, DeployedImage> {
    let mut all = IndexMap::new();
    let mut add = |name: &str, stated: Option<&String>, catalog: String| {
        let chosen = pushed.get(name).or(stated);
        let image = DeployedImage {
            reference: chosen.cloned().unwrap_or(catalog),
            origin: Origin::Registry,
        };
        all.insert(name.to_owned(), image);
    };
    for system in &stack.infrastructure {
        for workload in &system.infrastructure.workloads {
            let image = &workload.image;
            let pinned = match &image.digest {
                Some(digest) => format!("{}@{digest}", image.official),
                None => image.official.clone(),
            };
            add(&workload.name, system.images.get(&workload.name), pinned);
        }
    }
    for sized in &stack.services {
        let image = &sized.service.image;
        let catalog = format!("{}:{}", image.repository, image.version);
        add(&sized.service.name, sized.image.as_ref(), catalog);
    }
    all
}

/// Whether every image has a digest without a registry's word.
pub fn all_pinned(stack: &Stack) -> bool {
    let all = images(stack, &IndexMap::new());
    all.values().all(|image| is_pinned(&image.reference))
}

/// The reference of an image in another registry: `registry/path` and the last part of its own name.
pub fn retagged(reference: &str, registry: &str) -> String {
    let bare = reference.split('@').next().unwrap_or(reference);
    let last = bare.rsplit('/').next().unwrap_or(bare);
    format!("{}/{last}", registry.trim_end_matches('/'))
}

/// Whether a reference has a digest.
pub fn is_pinned(reference: &str) -> bool {
    let hex = reference.rsplit_once("@sha256:").map(|(_, hex)| hex);
    hex.is_some_and(|hex| hex.len() == 64 && hex.chars().all(is_digest_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stays_with_the_name_in_another_registry() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let reference = format!("ghcr.io/voiceassistant/agent-engine:1.1.0@{digest}");
        assert_eq!(
            retagged(&reference, "registry.example:5000/team/"),
            "registry.example:5000/team/agent-engine:1.1.0"
        );
        assert!(is_pinned(&reference));
        assert!(!is_pinned("ghcr.io/x:1@sha256:abc"));
        assert!(!is_pinned(&format!("ghcr.io/x:1@sha256:{}", "A".repeat(64))));
    }
}
