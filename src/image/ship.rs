//! Bringing images into nodes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bollard::Docker;
use futures::future::try_join_all;

use crate::report::Step;

use super::error::ImageError;
use super::export::export;
use super::inventory::{Contents, Names, alias};
use super::layout::{chain_ids, sha256};
use super::local_store::LocalStore;
use super::node::node_pipe;
use super::reference::full_name;
use super::source::Content;

/// An image that a node lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// As the caller named it.
    pub image: String,
    /// The node's container.
    pub node: String,
}

/// What was done for one image and one node.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Shipped {
    /// As the caller named it.
    pub image: String,
    /// The node's container.
    pub node: String,
    /// Bytes that went to the node.
    pub sent_bytes: u64,
    /// Bytes of layers that the node had.
    pub skipped_bytes: u64,
    /// From the first byte to the image's being usable; 0 where it was there.
    pub seconds: f64,
}

/// An image as the engine knows it.
#[derive(Debug, Clone)]
struct Wanted {
    image: String,
    name: String,
    id: String,
    diff_ids: Vec<String>,
}

/// Which of the images which of the nodes lack, or have in another version. One request per image and one command per
/// node, all at once: about a tenth of a second.
pub async fn missing(
    docker: &Docker,
    nodes: &[String],
    images: &[String],
) -> Result<Vec<Missing>, ImageError> {
    let (_, lacking) = compare(docker, nodes, images).await?;
    Ok(lacking)
}

/// The images as the engine knows them, and which node lacks which.
async fn compare(
    docker: &Docker,
    nodes: &[String],
    images: &[String],
) -> Result<(Vec<Wanted>, Vec<Missing>), ImageError> {
    let wanted = try_join_all(images.iter().map(|image| inspect(docker, image)));
    let names = try_join_all(nodes.iter().map(|node| Names::of(docker, node)));
    let (wanted, names) = tokio::try_join!(wanted, names)?;
    let pairs = wanted.iter().flat_map(|w| {
        nodes
            .iter()
            .zip(&names)
            .map(move |(node, names)| (w, node, names))
    });
    let lacking = pairs.filter(|(w, _, names)| !names.has(&w.name, &w.id));
    let lacking = lacking.map(|(w, node, _)| Missing {
        image: w.image.clone(),
        node: node.clone(),
    });
    let lacking = lacking.collect();
    Ok((wanted, lacking))
}

async fn inspect(docker: &Docker, image: &str) -> Result<Wanted, ImageError> {
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
        name: full_name(image),
        id,
        diff_ids,
    })
}

/// Brings the images into all the nodes: each image to all nodes at once, and of each image only the layers that a
/// node has neither as a blob nor unpacked. An image appears in a node under its name only when all of it is there;
/// interrupted, nothing of it can be seen. Images that are there already cost no more than [`missing`].
///
/// The result has one entry for each image and node. Docker is asked for an image's content at most once.
pub async fn ship(
    docker: &Docker,
    nodes: &[String],
    images: &[String],
    step: &Step,
) -> Result<Vec<Shipped>, ImageError> {
    // Asked side by side with what is lacking: it is wasted where nothing is, and a third of the time where a small
    // change is shipped.
    let contents =
        try_join_all(nodes.iter().map(|node| async move {
            Ok::<_, ImageError>((node.clone(), Contents::of(docker, node).await?))
        }));
    let compared = compare(docker, nodes, images);
    let (compared, contents, store) = tokio::join!(compared, contents, LocalStore::find(docker));
    let (wanted, lacking) = compared?;
    let mut shipped: Vec<Shipped> = Vec::new();
    if !lacking.is_empty() {
        let mut shipment = Shipment {
            docker,
            step,
            store,
            contents: contents?.into_iter().collect(),
        };
        for image in &wanted {
            let to: Vec<String> = lacking
                .iter()
                .filter(|m| m.image == image.image)
                .map(|m| m.node.clone())
                .collect();
            if !to.is_empty() {
                shipped.extend(shipment.image(image, &to).await?);
            }
        }
    }
    for image in images {
        for node in nodes {
            if !shipped.iter().any(|s| s.image == *image && s.node == *node) {
                let (image, node) = (image.clone(), node.clone());
                shipped.push(Shipped {
                    image,
                    node,
                    sent_bytes: 0,
                    skipped_bytes: 0,
                    seconds: 0.0,
                });
            }
        }
    }
    Ok(shipped)
}

struct Shipment<'a> {
    docker: &'a Docker,
    step: &'a Step,
    store: Option<LocalStore>,
    contents: HashMap<String, Contents>,
}

impl Shipment<'_> {
    async fn image(&mut self, wanted: &Wanted, nodes: &[String]) -> Result<Vec<Shipped>, ImageError> {
        let image = &wanted.image;
        self.step.progress(format!("{image}: reading it"));
        if let Some(content) = self.stored(wanted).await {
            match self.send(wanted, content, nodes, true).await {
                Ok(shipped) => return Ok(shipped),
                // The store was not what it seemed, or the node lost a layer: the export carries everything.
                Err(error) => self
                    .step
                    .progress(format!("{image}: {error}; exporting all of it")),
            }
            return self
                .send(wanted, self.exported(wanted, false).await?, nodes, false)
                .await;
        }
        let content = self.exported(wanted, true).await?;
        match self.send(wanted, content, nodes, true).await {
            Err(ImageError::Node { problem, .. }) => {
                self.step
                    .progress(format!("{image}: {problem}; exporting all of it"));
                self.send(wanted, self.exported(wanted, false).await?, nodes, false)
                    .await
            }
            other => other,
        }
    }

    async fn stored(&self, wanted: &Wanted) -> Option<Arc<Content>> {
        let (store, id) = (self.store.clone()?, wanted.id.clone());
        let read = tokio::task::spawn_blocking(move || store.content(&id));
        read.await.ok().flatten().map(Arc::new)
    }

    /// The export; blobs that no node lacks are dropped where `sparing`.
    async fn exported(&self, wanted: &Wanted, sparing: bool) -> Result<Arc<Content>, ImageError> {
        let mut everywhere = HashSet::new();
        if sparing {
            // Plain layers are known by their diff IDs; packed ones by nothing before the export.
            let chain = chain_ids(&wanted.diff_ids);
            let needed = self
                .contents
                .values()
                .map(|contents| contents.lacks(&wanted.diff_ids, &chain));
            let needed = needed.fold(vec![false; chain.len()], |all, one| {
                all.iter().zip(one).map(|(a, b)| *a || b).collect()
            });
            everywhere.extend(
                wanted
                    .diff_ids
                    .iter()
                    .zip(needed)
                    .filter(|(_, n)| !n)
                    .map(|(id, _)| id.clone()),
            );
        }
        export(self.docker, &wanted.image, everywhere).await.map(Arc::new)
    }

    async fn send(
        &mut self,
        wanted: &Wanted,
        content: Arc<Content>,
        nodes: &[String],
        sparing: bool,
    ) -> Result<Vec<Shipped>, ImageError> {
        let digests = content.digests();
        let chain = chain_ids(&content.diff_ids);
        let mut names = vec![wanted.name.clone()];
        if wanted.id != sha256(&content.config) {
            names.push(alias(&wanted.id));
        }
        let total = Arc::new(AtomicU64::new(0));
        let transfers = nodes.iter().map(|node| {
            let known = self.contents.get(node).filter(|_| sparing);
            let send = known.map_or_else(
                || vec![true; digests.len()],
                |known| known.lacks(&digests, &chain),
            );
            self.transfer(wanted, &content, node, names.clone(), send, Arc::clone(&total))
        });
        let transfers = try_join_all(transfers);
        let expected: u64 = content.layers.iter().map(|(layer, _)| layer.size).sum();
        let shipped = tokio::select! {
            shipped = transfers => shipped?,
            () = self.tell(&wanted.image, nodes.len(), expected, &total) => Vec::new(),
        };
        for node in nodes {
            if let Some(contents) = self.contents.get_mut(node) {
                contents.learn(&digests, &chain);
            }
        }
        Ok(shipped)
    }

    /// Signs of life; never ends.
    async fn tell(&self, image: &str, nodes: usize, expected: u64, total: &AtomicU64) {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let sent = megabytes(total.load(Ordering::Relaxed));
            let all = megabytes(expected * nodes as u64);
            self.step.progress(format!(
                "{image}: {sent} of at most {all} MB sent to {nodes} nodes, unpacking"
            ));
        }
    }

    async fn transfer(
        &self,
        wanted: &Wanted,
        content: &Arc<Content>,
        node: &str,
        names: Vec<String>,
        send: Vec<bool>,
        total: Arc<AtomicU64>,
    ) -> Result<Shipped, ImageError> {
        let begun = Instant::now();
        let sent_here = Arc::new(AtomicU64::new(0));
        let skipped = content
            .layers
            .iter()
            .zip(&send)
            .filter(|(_, send)| !**send)
            .map(|((layer, _), _)| layer.size);
        let skipped_bytes = skipped.sum();
        let mut chunks = content.stream(names, send, Arc::clone(&sent_here));
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let count = async {
            while let Some(chunk) = chunks.recv().await {
                let size = chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
                if sender.send(chunk).await.is_err() {
                    break;
                }
                total.fetch_add(size, Ordering::Relaxed);
            }
            drop(sender);
        };
        let import = ["ctr", "-n", "k8s.io", "images", "import", "-"];
        let (result, ()) = tokio::join!(node_pipe(self.docker, node, &import, receiver), count);
        result?;
        Ok(Shipped {
            image: wanted.image.clone(),
            node: node.to_owned(),
            sent_bytes: sent_here.load(Ordering::Relaxed),
            skipped_bytes,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}
