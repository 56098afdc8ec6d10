//! Whether a cluster can take a tree at all: its versions, its Istio, its storage classes. Only looks.

use serde_json::Value;

use crate::failure::{Failure, Family, Plain};
use crate::k8s::{self, Cluster, KindInfo, ObjectRef, Snapshot};
use crate::promote::{Target, Tree, Version};

/// Marks the storage class of claims that name none.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Refuses a cluster that is older than the tree's target, lacks Istio, or has no storage class for its volumes; all of it at
/// once. What the user may not read is not checked: the API server and the waits tell the rest.
pub async fn fits(cluster: &Cluster, tree: &Tree, target: Target) -> Result<(), Failure> {
    let text = cluster.version().await?;
    let version = Version::parse(&text).map_err(|error| Plain::new(Family::Refused, error))?;
    let mut problems = Vec::new();
    if version < target.kubernetes {
        problems.push(format!(
            "it has Kubernetes {version}, and the tree is for {} and later: vadev promote --kube-version {version}",
            target.kubernetes
        ));
    }
    let kind = |version, kind| KindInfo::several(&[(version, kind)]);
    if tree
        .objects()
        .any(|(_, object)| object["kind"] == "VirtualService")
    {
        let definition = ObjectRef::new(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "",
            "virtualservices.networking.istio.io",
        );
        if k8s::find(cluster, &definition).await?.is_none() {
            problems.push(
                "it has no Istio: istioctl install, or as the tree's infrastructure/README.md says"
                    .to_owned(),
            );
        } else {
            let deployments = kind("apps/v1", "Deployment");
            let control = k8s::allowed(k8s::observe_kinds(cluster, "app=istiod", &deployments).await)?;
            problems.extend(old_istio(control.as_ref(), target));
        }
    }
    let classes = kind("storage.k8s.io/v1", "StorageClass");
    if let Some(classes) = k8s::allowed(k8s::observe_kinds(cluster, "", &classes).await)? {
        let there: Vec<&Value> = classes.iter().map(|(_, class)| class).collect();
        problems.extend(missing_classes(tree.objects().map(|(_, object)| object), &there));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let context = &cluster.id().context;
    Err(Plain::new(
        Family::Refused,
        format!("the cluster {context} can't take the tree"),
    )
    .with_details(problems)
    .with_hint("each line above names its remedy; or choose another --context")
    .into())
}

/// An Istio below the target, by the tag of its control plane's image. A tag that is no version says nothing.
fn old_istio(control: Option<&Snapshot>, target: Target) -> Option<String> {
    let deployments = control.into_iter().flat_map(Snapshot::iter);
    let images = deployments
        .filter_map(|(_, object)| object.pointer("/spec/template/spec/containers/0/image")?.as_str());
    let version = images.filter_map(istio_of).min()?;
    (version < target.istio).then(|| {
        format!(
            "it has Istio {version}, and the tree is for {} and later: vadev promote --istio-version {version}",
            target.istio
        )
    })
}

fn istio_of(image: &str) -> Option<Version> {
    let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
    Version::parse(tag).ok()
}

/// The storage classes that claims of the tree name and the cluster has not, and the default one where a claim names none.
fn missing_classes<'a>(tree: impl Iterator<Item = &'a Value>, there: &[&Value]) -> Vec<String> {
    let mut wanted: Vec<Option<&str>> = Vec::new();
    for object in tree {
        let claims = object
            .pointer("/spec/volumeClaimTemplates")
            .and_then(Value::as_array);
        let own = (object["kind"] == "PersistentVolumeClaim").then_some(object);
        for claim in claims.into_iter().flatten().chain(own) {
            let class = claim["spec"]["storageClassName"].as_str();
            if !wanted.contains(&class) {
                wanted.push(class);
            }
        }
    }
    let has = |class: Option<&str>| match class {
        Some(name) => there.iter().any(|one| one["metadata"]["name"] == name),
        None => there
            .iter()
            .any(|one| one["metadata"]["annotations"][DEFAULT_CLASS] == "true"),
    };
    let missing = wanted.into_iter().filter(|class| !has(*class));
    missing
        .map(|class| match class {
            Some(name) => {
                format!("it has no storage class {name}: correct `storageClass` in the environment file")
            }
            None => "it has no default storage class: name one with `storageClass` in the environment file"
                .to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_need_the_class_that_they_name_or_a_default_one() {
        let set = |class: &Value| json!({ "kind": "StatefulSet", "spec": { "volumeClaimTemplates": [{ "spec": { "storageClassName": class } }] } });
        let class = |name: &str, default: &str| json!({ "metadata": { "name": name, "annotations": { DEFAULT_CLASS: default } } });
        let (named, any) = (set(&json!("fast")), set(&Value::Null));
        let both = || [&named, &any].into_iter();
        assert_eq!(missing_classes(both(), &[]).len(), 2);
        assert_eq!(missing_classes(both(), &[&class("fast", "false")]).len(), 1);
        assert!(missing_classes(both(), &[&class("fast", "true")]).is_empty());
        assert!(missing_classes([&json!({ "kind": "Service" })].into_iter(), &[]).is_empty());
    }

    #[test]
    fn an_istio_is_as_old_as_its_image_says() {
        assert_eq!(
            istio_of("docker.io/istio/pilot:1.18.2-distroless@sha256:0"),
            Some(Version { major: 1, minor: 18 })
        );
        assert_eq!(istio_of("registry:5000/pilot:main"), None);
        assert_eq!(old_istio(None, Target::default()), None);
    }
}
