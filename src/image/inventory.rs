//! What a node's containerd holds already.

use std::collections::{HashMap, HashSet};

use bollard::Docker;

use super::error::ImageError;
use super::node::{Running, node_output};

/// Names of images and the digests of the manifests they lead to.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// Every name.
    pub(super) async fn of(docker: &Docker, node: &str) -> Result<Self, ImageError> {
        Self::among(docker, node, &[]).await
    }

    /// Those of some names that are there; of each listed image containerd reads the manifest, so that fewer are quicker.
    pub(super) async fn among(docker: &Docker, node: &str, names: &[String]) -> Result<Self, ImageError> {
        let filters: Vec<String> = names.iter().map(|name| filter(name)).collect();
        let mut command = vec!["ctr", "-n", "k8s.io", "images", "ls"];
        command.extend(filters.iter().map(String::as_str));
        let text = node_output(docker, node, &command).await?;
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let rows = text.lines().skip(1).filter_map(|line| {
            let mut fields = line.split_whitespace();
            let name = fields.next()?;
            Some((name.to_owned(), fields.nth(1)?.to_owned()))
        });
        Self(rows.collect())
    }

    /// The names that are `old`, and with them those that containerd's CRI gave to the same images and nobody else uses.
    pub(super) fn old(&self, is_old: &impl Fn(&str) -> bool) -> Vec<String> {
        let by_user = |name: &String| !name.starts_with("sha256:") && !name.contains("@sha256:");
        let targets = |old: bool| -> HashSet<&String> {
            let named = self.0.iter();
            let named = named.filter(|(name, _)| by_user(name) && is_old(name) == old);
            named.map(|(_, target)| target).collect()
        };
        let (going, staying) = (targets(true), targets(false));
        let goes = |name: &String, target: &String| {
            is_old(name) || (!by_user(name) && going.contains(target) && !staying.contains(target))
        };
        let mut names: Vec<String> = self
            .0
            .iter()
            .filter(|(name, target)| goes(name, target))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names
    }

    /// Whether `name` leads to the image with this ID. An ID is the digest of the configuration with Docker's classic
    /// store; containerd's CRI gives every image a second name of that form. With Docker's containerd store it is the
    /// digest of a manifest, and [`alias`] is a name that was given on import.
    pub(super) fn has(&self, name: &str, id: &str) -> bool {
        let Some(target) = self.0.get(name) else {
            return false;
        };
        target == id
            || [id, &alias(id)]
                .iter()
                .any(|other| self.0.get(*other) == Some(target))
    }
}

/// A name by which an image is found again whose ID is not the digest of its configuration.
pub(super) fn alias(id: &str) -> String {
    format!("import.vadev.local/id:{}", id.trim_start_matches("sha256:"))
}

fn filter(name: &str) -> String {
    format!("name=={name}")
}

/// A node that was asked what it holds, and in which an import waits for its input: one command in the node instead of four.
pub(super) struct Listening {
    /// Those of the names asked for that are there.
    pub names: Names,
    /// What of layers is there.
    pub contents: Contents,
    /// Imports what it is given after [`Listening::GO`], and ends when it is given nothing.
    pub import: Running,
}

impl Listening {
    /// What begins the import's input.
    pub(super) const GO: &[u8] = b"go\n";

    /// Asks a node about these names.
    pub(super) async fn open(docker: &Docker, node: &str, names: &[String]) -> Result<Self, ImageError> {
        const SCRIPT: &str = "set -e; c='ctr -n k8s.io'; $c images ls \"$@\"; echo =vadev=; $c content ls; echo =vadev=; \
                              $c snapshots ls; echo =vadev=; read -r go; exec $c images import -";
        let filters: Vec<String> = names.iter().map(|name| filter(name)).collect();
        let mut command = vec!["sh", "-c", SCRIPT, "sh"];
        command.extend(filters.iter().map(String::as_str));
        let mut import = Running::start(docker, node, &command, true).await?;
        let mut texts = Vec::new();
        for _ in 0..3 {
            let bytes = import.until(b"=vadev=\n").await?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        Ok(Self {
            names: Names::parse(&texts[0]),
            contents: Contents::parse(&texts[1], &texts[2]),
            import,
        })
    }
}

/// Blobs and unpacked layers.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    blobs: HashSet<String>,
    chains: HashSet<String>,
}

impl Contents {
    /// A blob of no size is a placeholder: a node image may leave out the blobs of what it has unpacked.
    fn parse(blobs: &str, snapshots: &str) -> Self {
        let blobs = blobs.lines().skip(1).filter_map(|line| {
            let mut fields = line.split_whitespace();
            let digest = fields.next()?;
            let size = fields.next()?;
            (size != "0" && size != "0B").then(|| digest.to_owned())
        });
        let chains = snapshots.lines().skip(1).filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.last() == Some(&"Committed")).then(|| fields[0].to_owned())
        });
        Self {
            blobs: blobs.collect(),
            chains: chains.collect(),
        }
    }

    /// Which layers of an image must be sent: those above the highest one that is unpacked, and of them only those
    /// whose blob isn't there. `layers` are blob digests, `chain` the chain IDs, both from the bottom up.
    pub(super) fn lacks(&self, layers: &[String], chain: &[String]) -> Vec<bool> {
        let unpacked = chain.iter().rposition(|id| self.chains.contains(id));
        let first = unpacked.map_or(0, |position| position + 1);
        layers
            .iter()
            .enumerate()
            .map(|(i, digest)| i >= first && !self.blobs.contains(digest))
            .collect()
    }

    /// Remembers what an import has brought.
    pub(super) fn learn(&mut self, layers: &[String], chain: &[String]) {
        self.blobs.extend(layers.iter().cloned());
        self.chains.extend(chain.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: &str = "\
REF                       TYPE                                       DIGEST      SIZE     PLATFORMS   LABELS
docker.io/library/a:1     application/vnd.oci.image.manifest.v1+json sha256:m1   1.2 MiB  linux/amd64 io.cri=x
sha256:c1                 application/vnd.oci.image.manifest.v1+json sha256:m1   1.2 MiB  linux/amd64 io.cri=x
import.vadev.local/id:i2  application/vnd.oci.image.manifest.v1+json sha256:m2   1.2 MiB  linux/amd64 -
b:1                       application/vnd.oci.image.manifest.v1+json sha256:m2   1.2 MiB  linux/amd64 -
";

    #[test]
    fn an_image_is_there_only_under_its_name_and_with_its_content() {
        let names = Names::parse(IMAGES);
        assert!(names.has("docker.io/library/a:1", "sha256:c1"));
        assert!(!names.has("docker.io/library/a:1", "sha256:c2"));
        assert!(!names.has("docker.io/library/a:2", "sha256:c1"));
        assert!(names.has("b:1", "sha256:i2"));
        assert!(names.has("b:1", "sha256:m2"));
    }

    #[test]
    fn old_names_go_with_the_ones_that_nobody_gave() {
        let names = Names::parse(
            "REF TYPE DIGEST\na:dev-1 t sha256:m1\nsha256:c1 t sha256:m1\na:dev-2 t sha256:m2\na:dev t sha256:m2\nsha256:c2 t sha256:m2\n",
        );
        let old = |name: &str| name.starts_with("a:dev-");
        assert_eq!(names.old(&old), ["a:dev-1", "a:dev-2", "sha256:c1"]);
        assert!(names.old(&|_| false).is_empty());
    }

    #[test]
    fn only_what_lies_above_the_unpacked_layers_and_has_no_blob_is_lacking() {
        let blobs = "DIGEST SIZE AGE LABELS\nsha256:l3 5 MB 1 hour -\nsha256:l4 0 B 1 hour -\n";
        let snapshots =
            "KEY PARENT KIND\nsha256:k1  Committed\nsha256:k2 sha256:k1 Committed\nabc sha256:k2 Active\n";
        let contents = Contents::parse(blobs, snapshots);
        let ids = |letter: &str| (1..=5).map(|n| format!("sha256:{letter}{n}")).collect::<Vec<_>>();
        assert_eq!(
            contents.lacks(&ids("l"), &ids("k")),
            [false, false, false, true, true]
        );
        assert_eq!(Contents::default().lacks(&ids("l"), &ids("k")), [true; 5]);
    }
}
