//! Bringing images into nodes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bollard::Docker;
use futures::future::try_join_all;
use tokio::sync::Mutex;

use crate::report::Step;

use super::append::Appended;
use super::error::ImageError;
use super::export::export;
use super::inventory::{Contents, Listening, Names, alias};
use super::layout::{chain_ids, sha256};
use super::local_store::LocalStore;
use super::node::{Running, node_pipe};
use super::reference::full_name;
use super::source::Content;
use super::wanted::{Missing, Wanted, inspect, known_as, lacking, together};

/// What was done for one image and one node.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
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
    /// Digest of the image's configuration, by which the kubelet knows what runs; empty where nothing was sent.
    pub config: String,
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
    let wanted = try_join_all(images.iter().map(|image| inspect(docker, image))).await?;
    let asked = known_as(&wanted);
    let listening = try_join_all(nodes.iter().map(|node| Listening::open(docker, node, &asked)));
    let (listening, store) = tokio::join!(listening, LocalStore::find(docker));
    let listening = listening?;
    let names: Vec<&Names> = listening.iter().map(|one| &one.names).collect();
    let lacking = lacking(&wanted, nodes, &names);
    let mut shipped: Vec<Shipped> = Vec::new();
    if !lacking.is_empty() {
        let mut shipment = Shipment::new(docker, step);
        shipment.store = store;
        for (node, one) in nodes.iter().zip(listening) {
            shipment.contents.insert(node.clone(), one.contents);
            shipment.imports.get_mut().insert(node.clone(), one.import);
        }
        for image in together(&wanted) {
            let of_it = |m: &&Missing| {
                wanted
                    .iter()
                    .any(|other| other.image == m.image && other.id == image.id)
            };
            let to: BTreeSet<String> = lacking.iter().filter(of_it).map(|m| m.node.clone()).collect();
            if !to.is_empty() {
                let to: Vec<String> = to.into_iter().collect();
                shipped.extend(shipment.image(&image, &to).await?);
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
                    config: String::new(),
                });
            }
        }
    }
    Ok(shipped)
}

/// Brings an appended image to the nodes, each of which has its base: the new layer, configuration and manifest are all
/// that goes. It appears under its exact name alone; [`super::retag`] points the moving one at it.
pub async fn ship_appended(
    docker: &Docker,
    nodes: &[String],
    image: &Appended,
    step: &Step,
) -> Result<Vec<Shipped>, ImageError> {
    let mut shipment = Shipment::new(docker, step);
    let wanted = Wanted {
        image: image.built.reference.clone(),
        names: vec![full_name(&image.built.reference)],
        id: image.built.id.clone(),
        diff_ids: image.content.diff_ids.clone(),
    };
    let mut send = vec![false; image.content.layers.len()];
    send.iter_mut().last().into_iter().for_each(|last| *last = true);
    shipment
        .send_only(&wanted, Arc::clone(&image.content), nodes, Some(send))
        .await
}

struct Shipment<'a> {
    docker: &'a Docker,
    step: &'a Step,
    store: Option<LocalStore>,
    contents: HashMap<String, Contents>,
    /// Imports that wait in their nodes; each is good for one image.
    imports: Mutex<HashMap<String, Running>>,
}

impl<'a> Shipment<'a> {
    fn new(docker: &'a Docker, step: &'a Step) -> Self {
        Self {
            docker,
            step,
            store: None,
            contents: HashMap::new(),
            imports: Mutex::default(),
        }
    }

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
        let all = (!sparing).then(|| vec![true; content.layers.len()]);
        self.send_only(wanted, content, nodes, all).await
    }

    /// Sends the layers that are marked; without marks those that each node lacks.
    async fn send_only(
        &mut self,
        wanted: &Wanted,
        content: Arc<Content>,
        nodes: &[String],
        marked: Option<Vec<bool>>,
    ) -> Result<Vec<Shipped>, ImageError> {
        let digests = content.digests();
        let chain = chain_ids(&content.diff_ids);
        let mut names = wanted.names.clone();
        // By its ID a node's image is known for what it is. containerd's CRI gives a new name that second one, but not a name
        // that led to another image before.
        names.push(if wanted.id == sha256(&content.config) {
            wanted.id.clone()
        } else {
            alias(&wanted.id)
        });
        let total = Arc::new(AtomicU64::new(0));
        let transfers = nodes.iter().map(|node| {
            let send = marked.clone().unwrap_or_else(|| {
                self.contents.get(node).map_or_else(
                    || vec![true; digests.len()],
                    |known| known.lacks(&digests, &chain),
                )
            });
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
        let waiting = self.imports.lock().await.remove(node);
        let import = async {
            if let Some(import) = waiting {
                return import.end(Listening::GO, receiver).await;
            }
            let import = ["ctr", "-n", "k8s.io", "images", "import", "-"];
            node_pipe(self.docker, node, &import, receiver).await
        };
        let (result, ()) = tokio::join!(import, count);
        result?;
        Ok(Shipped {
            image: wanted.image.clone(),
            node: node.to_owned(),
            sent_bytes: sent_here.load(Ordering::Relaxed),
            skipped_bytes,
            seconds: begun.elapsed().as_secs_f64(),
            config: sha256(&content.config),
        })
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}
