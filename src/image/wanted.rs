//! What is to be in the nodes, and which node lacks it.

use bollard::Docker;
use futures::future::try_join_all;

use super::error::ImageError;
use super::inventory::{Names, alias};
use super::reference::full_name;

/// An image that a node lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// As the caller named it.
    pub image: String,
    /// The node's container.
    pub node: String,
}

/// An image as the engine knows it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// As the caller named it.
    pub image: String,
    /// Its names in full.
    pub names: Vec<String>,
    /// The engine's ID of it.
    pub id: String,
    /// Its layers, from the bottom up.
    pub diff_ids: Vec<String>,
}

/// Which of the images which of the nodes lack, or have in another version. One request per image and one command per
/// node, all at once: about a tenth of a second.
pub async fn missing(
    docker: &Docker,
    nodes: &[String],
    images: &[String],
) -> Result<Vec<Missing>, ImageError> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = try_join_all(images.iter().map(|image| inspect(docker, image))).await?;
    let asked = known_as(&wanted);
    let names = try_join_all(nodes.iter().map(|node| Names::among(docker, node, &asked))).await?;
    Ok(lacking(&wanted, nodes, &names.iter().collect::<Vec<_>>()))
}

/// Which of the images which of the nodes lack.
pub(super) fn lacking(wanted: &[Wanted], nodes: &[String], names: &[&Names]) -> Vec<Missing> {
    let pairs = wanted
        .iter()
        .flat_map(|w| nodes.iter().zip(names).map(move |(node, names)| (w, node, names)));
    let lacking = pairs.filter(|(w, _, names)| !w.names.iter().all(|name| names.has(name, &w.id)));
    let lacking = lacking.map(|(w, node, _)| Missing {
        image: w.image.clone(),
        node: node.clone(),
    });
    lacking.collect()
}

/// The names by which a node could know the images.
pub(super) fn known_as(wanted: &[Wanted]) -> Vec<String> {
    let of_one = |w: &Wanted| {
        let mut names = w.names.clone();
        names.extend([w.id.clone(), alias(&w.id)]);
        names
    };
    wanted.iter().flat_map(of_one).collect()
}

pub(super) async fn inspect(docker: &Docker, image: &str) -> Result<Wanted, ImageError> {
    let found = docker.inspect_image(image).await.map_err(|source| match source {
        bollard::errors::Error::DockerResponseServerError { status_code: 404, .. } => ImageError::NoImage {
            image: image.to_owned(),
        },
        source => ImageError::Docker {
            action: "inspect",
            subject: image.to_owned(),
            source: Box::new(source),
        },
    })?;
    let diff_ids = found.root_fs.and_then(|fs| fs.layers).unwrap_or_default();
    let id = found
        .id
        .ok_or_else(|| ImageError::layout(image, &"it has no ID"))?;
    Ok(Wanted {
        image: image.to_owned(),
        names: vec![full_name(image)],
        id,
        diff_ids,
    })
}

/// Several names of one image make one transfer.
pub(super) fn together(wanted: &[Wanted]) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for one in wanted {
        match all.iter_mut().find(|other| other.id == one.id) {
            Some(other) => other.names.extend(one.names.clone()),
            None => all.push(one.clone()),
        }
    }
    all
}
