//! Images as their registries name them.

use indexmap::IndexMap;

use super::{DeployedImage, Origin};
use crate::profile::Stack;

/// Every image as its registry names it: what a rendering can say without looking at a machine.
pub fn official(stack: &Stack) -> IndexMap<String, DeployedImage> {
    let mut images = IndexMap::new();
    let mut add = |name: &str, reference: String| {
        images.insert(
            name.to_owned(),
            DeployedImage {
                reference,
                origin: Origin::Registry,
            },
        );
    };
    for system in &stack.infrastructure {
        for workload in &system.infrastructure.workloads {
            let chosen = system
                .images
                .get(&workload.name)
                .unwrap_or(&workload.image.official);
            add(&workload.name, chosen.clone());
        }
    }
    for sized in &stack.services {
        let image = &sized.service.image;
        let catalog = || format!("{}:{}", image.repository, image.version);
        add(&sized.service.name, sized.image.clone().unwrap_or_else(catalog));
    }
    images
}
