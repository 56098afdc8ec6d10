//! The tree against what is there: a folder, the running development platform, a cluster.

use std::path::Path;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::super::platform::Platform;
use super::folder;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{self, Cluster, ObjectRef};
use crate::promote::diff::{Difference, Sides, differences};
use crate::promote::harden::{PART_OF, PLATFORM};
use crate::promote::{Tree, tree};
use crate::render::object::WORKSPACE;

/// Against the manifests of a folder, whoever wrote them: from the folder to the tree.
pub fn compare_folder(tree: &Tree, folder: &Path) -> Result<Vec<Difference>, Failure> {
    if !folder.is_dir() {
        return Err(Plain::new(Family::Usage, format!("there is no folder {}", folder.display()))
            .with_hint("write one with vadev promote --out DIR, or leave the folder out to compare with the running platform")
            .into());
    }
    let there = folder::read(folder)?;
    Ok(differences(
        &there,
        tree.objects().map(|(_, object)| object),
        Sides::Both,
    ))
}

/// Against the development platform that runs on this machine: from there to production.
pub async fn compare_development(
    platform: &Platform,
    cluster: &Cluster,
    tree: &Tree,
) -> Result<Vec<Difference>, Failure> {
    let selector = format!("{},{WORKSPACE}={}", k8s::MANAGED_BY, platform.stack().workspace);
    let snapshot = k8s::observe(cluster, &selector).await?;
    let there: Vec<&Value> = snapshot.iter().map(|(_, object)| object).collect();
    Ok(differences(
        there,
        tree.objects().map(|(_, object)| object),
        Sides::Live,
    ))
}

/// Against a cluster: from what it has to the tree.
pub async fn compare_cluster(cluster: &Cluster, tree: &Tree) -> Result<Vec<Difference>, Failure> {
    let there = there(cluster, tree).await?;
    Ok(differences(
        &there,
        tree.objects().map(|(_, object)| object),
        Sides::Live,
    ))
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
