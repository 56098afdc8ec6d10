//! The tree against what is there: a folder, the running development platform, a cluster.

use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::super::images;
use super::super::platform::Platform;
use super::folder;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{self, Cluster, ObjectRef};
use crate::promote::diff::{Difference, Sides, differences, unexplained};
use crate::promote::harden::{PART_OF, PLATFORM};
use crate::promote::{Environment, Reasons, Tree, tree};
use crate::render::object::{COMPONENT, WORKSPACE};
use crate::render::{Origin, metrics};

/// Against the manifests of a folder, whoever wrote them: from the folder to the tree.
pub fn compare_folder(tree: &Tree, folder: &Path) -> Result<Vec<Difference>, Failure> {
    if !folder.is_dir() {
        return Err(Plain::new(Family::Usage, format!("there is no folder {}", folder.display()))
            .with_hint("write one with vadev promote --out DIR, or leave the folder out to compare with the running platform")
            .into());
    }
    let there = folder::read(folder)?;
    let wanted = tree.objects().map(|(_, object)| object);
    Ok(unexplained(differences(
        &there,
        wanted,
        Sides::Both,
        &Reasons::default(),
    )))
}

/// Against the development platform that runs on this machine: from there to production. What it has only because it is a
/// laptop's is no difference: metrics-server, which real clusters have of their own, and the claims of its volumes.
pub async fn compare_development(
    platform: &Platform,
    cluster: &Cluster,
    tree: &Tree,
    environment: &Environment,
) -> Result<Vec<Difference>, Failure> {
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, platform.stack().workspace);
    let snapshot = k8s::observe(cluster, &selector).await?;
    let there = snapshot.iter().map(|(_, object)| object);
    let there: Vec<&Value> = there
        .filter(|object| object["metadata"]["labels"][COMPONENT] != metrics::NAME && !is_claim(object))
        .collect();
    let reasons = here(platform, environment).await?;
    let wanted = tree.objects().map(|(_, object)| object);
    Ok(differences(there, wanted, Sides::Live, &reasons))
}

/// What this machine has not, or has in another way than a registry's images do.
async fn here<'a>(platform: &Platform, environment: &'a Environment) -> Result<Reasons<'a>, Failure> {
    let stack = platform.stack();
    let images = images::resolve(platform).await?;
    let left_out = stack.left_out.iter().chain(&images.left_out);
    let left_out = left_out.map(|left| left.name.clone()).collect();
    let workloads = stack
        .infrastructure
        .iter()
        .flat_map(|system| &system.infrastructure.workloads);
    let from_packages = |name: &str| {
        let image = images.deployed.get(name);
        image.is_some_and(|image| matches!(image.origin, Origin::Packages | Origin::Bundle))
    };
    let other_files = workloads
        .filter(|workload| workload.image.with_recipe.is_some() && from_packages(&workload.name))
        .map(|workload| workload.name.clone())
        .collect();
    Ok(Reasons {
        left_out,
        other_files,
        ..Reasons::of(environment)
    })
}

/// Against a cluster: from what it has to the tree.
pub async fn compare_cluster(cluster: &Cluster, tree: &Tree) -> Result<Vec<Difference>, Failure> {
    let there = there(cluster, tree).await?;
    let wanted = tree.objects().map(|(_, object)| object);
    Ok(unexplained(differences(
        &there,
        wanted,
        Sides::Live,
        &Reasons::default(),
    )))
}

/// The claim of a StatefulSet's volume, which its controller makes from the template and which outlives it.
fn is_claim(object: &Value) -> bool {
    object["kind"] == "PersistentVolumeClaim"
}

/// What the cluster has of the tree, and what else carries the platform's label.
pub async fn there(cluster: &Cluster, tree: &Tree) -> Result<Vec<Value>, Failure> {
    let labelled = k8s::observe(cluster, &format!("{PART_OF}={PLATFORM}")).await?;
    let mut objects: Vec<Value> = labelled.iter().map(|(_, object)| object.clone()).collect();
    let known: Vec<ObjectRef> = labelled.iter().map(|(reference, _)| reference.clone()).collect();
    // What was made by hand, or before the label, is there all the same.
    let unlabelled: Vec<ObjectRef> = tree
        .objects()
        .map(|(_, object)| ObjectRef::from(&tree::id(object)))
        .filter(|wanted| !known.iter().any(|one| one.same_object(wanted)))
        .collect();
    let found: Vec<Option<Value>> = stream::iter(unlabelled)
        .map(|wanted| async move { look(cluster, &wanted).await })
        .buffer_unordered(12)
        .try_collect()
        .await?;
    objects.extend(found.into_iter().flatten());
    // A claim that was asked for by name was found so; the others are their StatefulSets' affair.
    let named = |object: &Value| {
        let own = ObjectRef::of(object).ok();
        tree.objects().any(|(_, wanted)| {
            let wanted = ObjectRef::from(&tree::id(wanted));
            own.as_ref().is_some_and(|own| own.same_object(&wanted))
        })
    };
    objects.retain(|object| !is_claim(object) || named(object));
    Ok(objects)
}

/// An object, or nothing where it, its kind or its namespace is missing.
async fn look(cluster: &Cluster, wanted: &ObjectRef) -> Result<Option<Value>, Failure> {
    match k8s::find(cluster, wanted).await {
        Ok(found) => {
            let value = found.and_then(|object| serde_json::to_value(object).ok());
            Ok(value.map(|mut value| {
                value["apiVersion"] = wanted.api_version.clone().into();
                value["kind"] = wanted.kind.clone().into();
                value
            }))
        }
        Err(k8s::K8sError::UnknownKind { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
