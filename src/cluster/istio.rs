//! Istio in a cluster: whether it is there, installing it, taking it out.
//!
//! istioctl makes the manifests; vadev applies them itself, so that the installation runs side by side with everything
//! else and its waits are watches that can explain themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::k8s::{
    ApplyOptions, BUILT_IN, Cluster, DeleteOptions, K8sError, KindInfo, MANAGER, ObjectRef, Propagation,
    View, WaitOptions, apply_all, apply_one, delete_all, find, observe, observe_kinds, wait_for,
};
use crate::report::Step;
use crate::supply::process::Command;

use super::error::ClusterError;
use super::manifest::{LABEL, SYSTEM, digest, kept, objects};

/// Where the digest of the installed file is kept in the cluster.
const MARK: &str = "vadev-mesh";

/// What of Istio a cluster holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mesh {
    /// Nothing.
    Missing,
    /// An installation by vadev.
    Installed {
        /// Digest of its plan, see [`IstioPlan::digest`].
        digest: String,
    },
    /// An installation by vadev that is no longer whole.
    Damaged {
        /// What of it is missing or changed, in one line.
        what: String,
    },
    /// An installation by something else.
    Foreign {
        /// istiod's image tag, where it can be told.
        version: Option<String>,
    },
}

/// istioctl and the folder where generated manifests are kept.
#[derive(Debug, Clone)]
pub struct Istio {
    program: PathBuf,
    cache: PathBuf,
}

/// An installation that is ready to be applied.
#[derive(Debug, Clone)]
pub struct IstioPlan {
    /// Digest of the installation file and istioctl's version.
    pub digest: String,
    /// All its objects, the namespace first.
    pub objects: Vec<Value>,
}

impl Istio {
    /// `program` is istioctl; `cache` a folder of vadev's own.
    pub fn new(program: impl AsRef<Path>, cache: impl AsRef<Path>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            cache: cache.as_ref().to_owned(),
        }
    }

    /// The objects of an installation file (`IstioOperator` as YAML or JSON). Needs no cluster, so it can run while
    /// one is made. `version` is istioctl's, as the caller has found it.
    pub async fn plan(&self, operator: &str, version: &str, step: &Step) -> Result<IstioPlan, ClusterError> {
        let objects = objects(&self.program, &self.cache, operator, version, step).await?;
        Ok(IstioPlan {
            digest: digest(operator, version),
            objects,
        })
    }

    /// Runs `istioctl analyze` on namespaces; its findings, one a line.
    pub async fn analyze(&self, cluster: &Cluster, namespaces: &[&str]) -> Result<Vec<String>, ClusterError> {
        let mut command = Command::new(&self.program)
            .arg("analyze")
            .arg("--kubeconfig")
            .arg(&cluster.target().kubeconfig)
            .args(["--context", &cluster.target().context, "--color=false"])
            .deadline(Duration::from_mins(1));
        for namespace in namespaces {
            command = command.args(["-n", namespace]);
        }
        // Findings make it exit with another code than 0; they are what is asked for.
        let output = command
            .finish(|_, _| {})
            .await
            .map_err(|source| ClusterError::Tool {
                action: "istioctl analyze".to_owned(),
                source,
            })?;
        Ok(output.text().lines().map(str::to_owned).collect())
    }
}

impl Mesh {
    /// What the cluster holds, whole or not. `cache` is where the manifests of installations are kept: what was installed from
    /// one that is not there is believed to be whole.
    pub async fn observe(cluster: &Cluster, cache: &Path) -> Result<Self, ClusterError> {
        let found = Self::find(cluster).await?;
        if let Self::Installed { digest } = &found
            && let Some(objects) = kept(cache, digest)
            && let Some(what) = damage(cluster, &objects).await?
        {
            return Ok(Self::Damaged { what });
        }
        Ok(found)
    }

    /// Whose installation the cluster holds, without a look at its parts: one or two requests.
    pub async fn find(cluster: &Cluster) -> Result<Self, ClusterError> {
        let mark = ObjectRef::new("v1", "ConfigMap", SYSTEM, MARK);
        if let Some(found) = find(cluster, &mark).await? {
            let digest = found.data["data"]["digest"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            return Ok(Self::Installed { digest });
        }
        // By its label: a revisioned installation calls it `istiod-<revision>`.
        let kinds = KindInfo::several(&[("apps/v1", "Deployment")]);
        let found = observe_kinds(cluster, "app=istiod", &kinds).await?;
        let in_system = found
            .iter()
            .filter(|(id, _)| id.namespace.as_deref() == Some(SYSTEM));
        Ok(Self::of(in_system.map(|(_, value)| value)))
    }

    /// Without vadev's mark, what the Deployments of istiod say.
    fn of<'a>(istiods: impl Iterator<Item = &'a Value>) -> Self {
        // An installation by vadev that was interrupted carries its label, but no mark yet.
        let mut foreign = istiods
            .filter(|istiod| istiod["metadata"]["labels"][LABEL].is_null())
            .peekable();
        if foreign.peek().is_none() {
            return Self::Missing;
        }
        let tag = |istiod: &Value| {
            let image = istiod.pointer("/spec/template/spec/containers/0/image")?;
            let (_, tag) = image.as_str()?.rsplit_once(':')?;
            Some(tag.to_owned())
        };
        Self::Foreign {
            version: foreign.find_map(tag),
        }
    }

    /// Applies an installation and waits until istiod is ready and injects; gateways come up meanwhile. Only then is it
    /// marked as installed, so that an interrupted installation is done again.
    pub async fn install(
        cluster: &Cluster,
        view: &View,
        plan: &IstioPlan,
        within: Duration,
        step: &Step,
    ) -> Result<(), ClusterError> {
        step.progress(format!("applying {} objects", plan.objects.len()));
        let options = ApplyOptions {
            within,
            ..ApplyOptions::default()
        };
        let (late, first): (Vec<_>, Vec<_>) = plan.objects.iter().partition(|object| mounts_root(object));
        view.expect_applied(&apply_all(cluster, first, options).await?);
        if !late.is_empty() {
            // istiod makes this as soon as it runs. A pod that comes before it waits in the kubelet's back-off.
            let root = ObjectRef::new("v1", "ConfigMap", SYSTEM, ROOT_CERTIFICATE);
            let istiod = ObjectRef::new("apps/v1", "Deployment", SYSTEM, "istiod");
            tokio::select! {
                made = wait_for(cluster, &root, within, |_| true) => drop(made?),
                failed = fails(view, &istiod, within, step) => return Err(failed.into()),
            }
            view.expect_applied(&apply_all(cluster, late, options).await?);
        }
        let workloads = plan
            .objects
            .iter()
            .filter(|object| object["kind"] == "Deployment" && !mounts_root(object));
        let workloads = workloads
            .map(ObjectRef::of)
            .collect::<Result<Vec<_>, K8sError>>()?;
        view.wait_all(&workloads, WaitOptions::within(within), Some(step))
            .await?;
        let webhook = ObjectRef::new(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "",
            "istio-sidecar-injector",
        );
        if plan
            .objects
            .iter()
            .filter_map(|o| ObjectRef::of(o).ok())
            .any(|o| o == webhook)
        {
            // istiod writes its certificate in here; before that the API server can't call it.
            wait_for(cluster, &webhook, within, |object| {
                let bundle = object.data.pointer("/webhooks/0/clientConfig/caBundle");
                bundle
                    .and_then(Value::as_str)
                    .is_some_and(|text| !text.is_empty())
            })
            .await?;
        }
        let mark = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": MARK, "namespace": SYSTEM, "labels": {LABEL: "vadev"}},
            "data": {"digest": plan.digest, "made-by": MANAGER},
        });
        apply_one(cluster, &mark, ApplyOptions::default()).await?;
        Ok(())
    }

    /// Takes an installation by vadev out again: everything that carries its label, the namespace and the definitions
    /// (and with them all objects of Istio's kinds) last. Returns how many objects went.
    pub async fn remove(cluster: &Cluster, within: Duration) -> Result<usize, ClusterError> {
        let found = observe(cluster, &format!("{LABEL}=vadev")).await?;
        let objects: Vec<ObjectRef> = found.iter().map(|(reference, _)| reference.clone()).collect();
        let options = DeleteOptions {
            propagation: Propagation::Background,
            wait: Some(within),
            grace_seconds: None,
        };
        Ok(delete_all(cluster, &objects, options).await?.len())
    }
}

/// What a cluster lacks of an installation. Definitions are not asked for, they are megabytes: whoever deletes one deletes
/// all objects of its kind, and that is seen.
async fn damage(cluster: &Cluster, objects: &[Value]) -> Result<Option<String>, ClusterError> {
    let parts: Vec<&Value> = objects
        .iter()
        .filter(|object| object["kind"] != "CustomResourceDefinition")
        .collect();
    let of = |kind: &&KindInfo| {
        let same = |part: &&Value| part["apiVersion"] == kind.api_version && part["kind"] == kind.kind;
        parts.iter().any(same)
    };
    let kinds: Vec<KindInfo> = BUILT_IN.iter().filter(of).copied().collect();
    let found = observe_kinds(cluster, &format!("{LABEL}=vadev"), &kinds).await?;
    Ok(differences(&parts, &kinds, |part| found.get(part)))
}

/// What is missing, and what of a workload was scaled, in one line.
fn differences<'a>(
    parts: &[&Value],
    asked: &[KindInfo],
    live: impl Fn(&ObjectRef) -> Option<&'a Value>,
) -> Option<String> {
    let of_part = |part: &&Value| {
        let reference = ObjectRef::of(part).ok()?;
        KindInfo::find(&reference.api_version, &reference.kind).filter(|kind| asked.contains(kind))?;
        let name = format!("{}/{}", reference.kind, reference.name);
        let Some(live) = live(&reference) else {
            return Some(format!("{name} missing"));
        };
        let replicas = |object: &Value| object["spec"]["replicas"].as_u64();
        let (wanted, there) = (replicas(part)?, replicas(live)?);
        (wanted != there).then(|| format!("{name} drifted: spec.replicas {there} → {wanted}"))
    };
    let found: Vec<String> = parts.iter().filter_map(of_part).collect();
    match found.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        [first, rest @ ..] => Some(format!("{first} and {} more", rest.len())),
    }
}

/// The `ConfigMap` with the mesh's root certificate.
const ROOT_CERTIFICATE: &str = "istio-ca-root-cert";

/// Whether a workload's pods can't start before istiod has made the root certificate's `ConfigMap`.
fn mounts_root(object: &Value) -> bool {
    let volumes = object
        .pointer("/spec/template/spec/volumes")
        .and_then(Value::as_array);
    volumes.is_some_and(|volumes| {
        volumes.iter().any(|volume| {
            volume["configMap"]["name"] == ROOT_CERTIFICATE && volume["configMap"]["optional"] != true
        })
    })
}

/// Ends only when the wait for a workload fails.
async fn fails(view: &View, workload: &ObjectRef, within: Duration, step: &Step) -> K8sError {
    match view
        .wait_ready(workload, WaitOptions::within(within), Some(step))
        .await
    {
        Err(error) => error,
        Ok(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_istiod_of_whatever_name_is_somebody_elses_unless_vadev_has_labelled_it() {
        let istiod =
            |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
        let canary = istiod("docker.io/istio/pilot:1.20.3-distroless");
        let foreign = |version: &str| Mesh::Foreign {
            version: Some(version.to_owned()),
        };
        assert_eq!(Mesh::of([&canary].into_iter()), foreign("1.20.3-distroless"));
        let mut interrupted = istiod("vadev.local/istio/pilot:1.31.0");
        interrupted["metadata"]["labels"][LABEL] = json!("vadev");
        assert_eq!(Mesh::of([&interrupted].into_iter()), Mesh::Missing);
        assert_eq!(Mesh::of(std::iter::empty()), Mesh::Missing);
    }

    #[test]
    fn only_what_needs_the_root_certificate_waits_for_it() {
        let with = |volume: Value| {
            mounts_root(&json!({"kind": "Deployment", "spec": {"template": {"spec": {"volumes": [volume]}}}}))
        };
        assert!(with(json!({"configMap": {"name": ROOT_CERTIFICATE}})));
        assert!(!with(
            json!({"configMap": {"name": ROOT_CERTIFICATE, "optional": true}})
        ));
        assert!(!with(json!({"emptyDir": {}})));
        assert!(!mounts_root(&json!({"kind": "Service"})));
    }

    #[test]
    fn what_was_deleted_or_scaled_by_hand_is_named() {
        let object = |kind: &str, name: &str, spec: Value| {
            json!({"apiVersion": if kind == "Deployment" { "apps/v1" } else { "v1" }, "kind": kind,
                   "metadata": {"name": name, "namespace": SYSTEM}, "spec": spec})
        };
        let istiod = object("Deployment", "istiod", json!({"replicas": 1}));
        // Its manifest says no number: that is the autoscaler's, or whoever's.
        let gateway = object("Deployment", "istio-ingressgateway", json!({}));
        let service = object("Service", "istiod", json!({}));
        let parts = [&istiod, &gateway, &service];
        let asked: Vec<KindInfo> = BUILT_IN.to_vec();
        let told = |live: &[&Value]| {
            differences(&parts, &asked, |wanted| {
                live.iter()
                    .find(|one| ObjectRef::of(one).is_ok_and(|one| one == *wanted))
                    .copied()
            })
        };
        let scaled = object("Deployment", "istio-ingressgateway", json!({"replicas": 3}));
        assert_eq!(told(&[&istiod, &scaled, &service]), None);
        let without_gateway = told(&[&istiod, &service]);
        assert_eq!(
            without_gateway.as_deref(),
            Some("Deployment/istio-ingressgateway missing")
        );
        let stopped = object("Deployment", "istiod", json!({"replicas": 0}));
        assert_eq!(
            told(&[&stopped, &gateway]).as_deref(),
            Some("Deployment/istiod drifted: spec.replicas 0 → 1 and 1 more")
        );
        let deployments: Vec<KindInfo> = BUILT_IN
            .iter()
            .filter(|kind| kind.kind == "Deployment")
            .copied()
            .collect();
        let unasked = differences(&parts, &deployments, |_| None).unwrap();
        assert_eq!(
            unasked, "Deployment/istiod missing and 1 more",
            "of a kind that was not asked for nothing is known"
        );
    }
}
