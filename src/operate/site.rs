//! Where verbs operate: a connected cluster, the platform's namespaces in it, and what is deployed there, by name.

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use serde_json::Value;

use super::error::OperateError;
use crate::failure::Failure;
use crate::k8s::{
    Cluster, ExecTarget, K8sError, KindInfo, MANAGED_BY, ObjectRef, allowed, observe_in, own_container,
    selector_text,
};
use crate::profile::stack::Namespaces;
use crate::render::metrics;
use crate::render::object::{COMPONENT, ORIGIN, PROMOTED_COMPONENT};
use crate::report::Reporter;

/// A cluster with the platform in it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Site {
    /// The connection.
    pub cluster: Cluster,
    /// The platform's namespaces.
    pub namespaces: Namespaces,
    /// Where is told what is done.
    pub reporter: Reporter,
}

/// A Deployment or `StatefulSet` as it is in the cluster.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Which.
    pub id: ObjectRef,
    /// As the API server has it.
    pub value: Value,
}

impl Workload {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.id.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.id.namespace.as_deref().unwrap_or_default()
    }

    /// Text at a JSON pointer.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer).and_then(Value::as_str)
    }

    /// Number at a JSON pointer; 0 where there is none.
    pub fn number(&self, pointer: &str) -> u64 {
        self.value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Replicas that are wanted.
    pub fn replicas(&self) -> u64 {
        self.value
            .pointer("/spec/replicas")
            .and_then(Value::as_u64)
            .unwrap_or(1)
    }

    /// Replicas that are ready; none while the newest change was not seen by the controller.
    pub fn ready(&self) -> u64 {
        if self.number("/status/observedGeneration") >= self.number("/metadata/generation") {
            self.number("/status/readyReplicas")
        } else {
            0
        }
    }

    /// The container of its template that is the component's own.
    pub fn own_container(&self) -> &Value {
        own_container(&self.value["spec"]["template"], self.name())
    }

    /// The own container's name.
    pub fn container(&self) -> &str {
        self.own_container()["name"].as_str().unwrap_or_default()
    }

    /// The own container's image.
    pub fn image(&self) -> &str {
        self.own_container()["image"].as_str().unwrap_or_default()
    }

    /// Its own container in one of its pods: where commands run.
    pub fn target<'a>(&'a self, pod: &'a Pod) -> ExecTarget<'a> {
        ExecTarget {
            namespace: self.namespace(),
            pod: pod_name(pod),
            container: Some(self.container()),
        }
    }

    /// Where the image came from, by vadev's annotation.
    pub fn source(&self) -> &str {
        self.value["metadata"]["annotations"][ORIGIN]
            .as_str()
            .unwrap_or("unknown")
    }

    /// The selector of its pods.
    pub fn selector(&self) -> String {
        selector_text(&self.value["spec"]["selector"])
    }

    /// The component that it belongs to: more than one workload may. What is promoted says it by another label.
    pub fn component(&self) -> Option<&str> {
        let labels = &self.value["metadata"]["labels"];
        [COMPONENT, PROMOTED_COMPONENT]
            .iter()
            .find_map(|label| labels[*label].as_str())
    }
}

/// The kinds with pods that verbs know.
fn workload_kinds() -> Vec<KindInfo> {
    KindInfo::several(&[("apps/v1", "Deployment"), ("apps/v1", "StatefulSet")])
}

impl Site {
    /// A site in a cluster.
    pub fn new(cluster: Cluster, namespaces: Namespaces, reporter: Reporter) -> Self {
        Self {
            cluster,
            namespaces,
            reporter,
        }
    }

    /// The namespaces of the platform, applications first.
    pub fn all_namespaces(&self) -> [&str; 3] {
        [
            &self.namespaces.apps,
            &self.namespaces.infra,
            &self.namespaces.mesh,
        ]
    }

    /// What runs in the platform's namespaces: applications first, then systems, then the mesh's own, and last what vadev has
    /// put into the cluster's own namespace.
    pub async fn workloads(&self) -> Result<Vec<Workload>, Failure> {
        let kinds = workload_kinds();
        let ours = [self.namespaces.apps.as_str(), self.namespaces.infra.as_str()];
        let mesh = [self.namespaces.mesh.as_str()];
        let (ours, mesh, parts) = tokio::join!(
            observe_in(&self.cluster, &ours, "", &kinds),
            observe_in(&self.cluster, &mesh, "", &kinds),
            observe_in(&self.cluster, &[metrics::NAMESPACE], MANAGED_BY, &kinds)
        );
        // Who may look only into the platform's own namespaces is to see those.
        let (mesh, parts) = (if_allowed(mesh)?, if_allowed(parts)?);
        let ours = ours?;
        let rank = |namespace: &str| {
            let known = self.all_namespaces();
            let at = known.iter().position(|one| *one == namespace);
            at.unwrap_or(known.len())
        };
        let mut found: Vec<Workload> = ours
            .iter()
            .chain(mesh.iter())
            .chain(parts.iter())
            .map(|(id, value)| Workload {
                id: id.clone(),
                value: value.clone(),
            })
            .collect();
        found.sort_by_key(|one| (rank(one.namespace()), one.name().to_owned()));
        Ok(found)
    }

    /// Whether a workload is one of the platform's applications or systems, and not of the mesh or the cluster.
    pub fn is_ours(&self, workload: &Workload) -> bool {
        [&self.namespaces.apps, &self.namespaces.infra]
            .iter()
            .any(|namespace| *namespace == workload.namespace())
    }

    /// What was asked of a namespace; nothing where it is the mesh's, and the context's user may not look into that.
    pub(super) fn readable<T: Default>(
        &self,
        namespace: &str,
        found: Result<T, kube::Error>,
    ) -> Result<T, kube::Error> {
        match found {
            Err(kube::Error::Api(status)) if status.code == 403 && namespace == self.namespaces.mesh => {
                Ok(T::default())
            }
            other => other,
        }
    }

    /// The workload of a name; a name that nothing has is told with the nearest one.
    pub async fn workload(&self, name: &str) -> Result<Workload, Failure> {
        let mut found = self.chosen(&[name.to_owned()]).await?;
        if found.len() > 1 {
            let parts: Vec<&str> = found.iter().map(Workload::name).collect();
            let problem = format!("it is made of {}", parts.join(", "));
            return Err(OperateError::unfit(name, problem, "name one of them").into());
        }
        Ok(found.remove(0))
    }

    /// The workloads of these names in their order, each there; all of the applications and systems without names. The name
    /// of a component means every workload of it.
    pub async fn chosen(&self, names: &[String]) -> Result<Vec<Workload>, Failure> {
        let all = self.workloads().await?;
        if names.is_empty() {
            return Ok(all.into_iter().filter(|one| self.is_ours(one)).collect());
        }
        Ok(named(&all, names)?)
    }

    /// The typed API of a namespaced kind.
    pub(super) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client(), namespace)
    }

    /// The pods of a workload, oldest first. Those on their way out come too: their logs are worth reading.
    pub async fn pods(&self, workload: &Workload) -> Result<Vec<Pod>, Failure> {
        let selector = workload.selector();
        if selector.is_empty() {
            // It would be asked for the whole namespace's pods.
            let hint = format!("vadev describe {} shows it", workload.name());
            return Err(OperateError::unfit(workload.name(), "its selector is empty", hint).into());
        }
        let mut pods = self.pods_by(workload.namespace(), &selector).await?;
        pods.sort_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp));
        Ok(pods)
    }

    /// The pods of a namespace that a label selector finds.
    pub async fn pods_by(&self, namespace: &str, selector: &str) -> Result<Vec<Pod>, Failure> {
        let params = ListParams::default().labels(selector).match_any();
        let listed = self.api::<Pod>(namespace).list(&params).await;
        Ok(listed
            .map_err(|error| OperateError::request("list the pods of", namespace, error))?
            .items)
    }

    /// Every pod of the platform that the context's user may see.
    pub async fn all_pods(&self) -> Result<Vec<Pod>, Failure> {
        let params = &ListParams::default().match_any();
        let lists = self.all_namespaces().map(|namespace| async move {
            let listed = self.api::<Pod>(namespace).list(params).await;
            let listed = self.readable(namespace, listed.map(|list| list.items));
            listed.map_err(|error| OperateError::request("list the pods of", namespace, error))
        });
        Ok(try_join_all(lists).await?.into_iter().flatten().collect())
    }

    /// A pod of the workload to run a command in: a ready one if there is one, else one that runs.
    pub async fn running_pod(&self, workload: &Workload) -> Result<Pod, Failure> {
        let none = || OperateError::NoPod {
            name: workload.name().to_owned(),
        };
        Ok(self.find_running_pod(workload).await?.ok_or_else(none)?)
    }

    /// As [`Site::running_pod`]; `None` where none runs.
    pub async fn find_running_pod(&self, workload: &Workload) -> Result<Option<Pod>, Failure> {
        let running = |pod: &Pod| {
            pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
        };
        let pods = self.pods(workload).await?;
        Ok(pods
            .into_iter()
            .filter(running)
            .min_by_key(|pod| !crate::k8s::readiness(pod).is_ready()))
    }
}

/// Nothing, where it may not be read.
pub(super) fn if_allowed<T: Default>(found: Result<T, K8sError>) -> Result<T, K8sError> {
    Ok(allowed(found)?.unwrap_or_default())
}

/// Those of `all` that the names mean: a workload's own name, else a component's.
fn named(all: &[Workload], names: &[String]) -> Result<Vec<Workload>, OperateError> {
    let mut found: Vec<Workload> = Vec::new();
    for name in names {
        let called: Vec<&Workload> = match all.iter().find(|one| one.name() == name) {
            Some(one) => vec![one],
            None => all
                .iter()
                .filter(|one| one.component() == Some(name.as_str()))
                .collect(),
        };
        if called.is_empty() {
            let known = all.iter().map(|one| one.name().to_owned()).collect();
            return Err(OperateError::unknown(name, known));
        }
        for one in called {
            // `grafana prometheus-grafana` names grafana twice.
            if !found.iter().any(|other| other.id == one.id) {
                found.push(one.clone());
            }
        }
    }
    Ok(found)
}

/// A pod's name.
pub fn pod_name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_count_from_before_the_newest_change_does_not_count() {
        let workload = |observed: u64| Workload {
            id: ObjectRef::new("apps/v1", "Deployment", "n", "a"),
            value: json!({
                "metadata": {"generation": 2}, "status": {"observedGeneration": observed, "readyReplicas": 1},
                "spec": {"selector": {"matchLabels": {"app": "a", "tier": "x"}}},
            }),
        };
        assert_eq!((workload(1).ready(), workload(2).ready()), (0, 1));
        assert_eq!(workload(2).selector(), "app=a,tier=x");
        assert_eq!(workload(2).replicas(), 1);
    }

    #[test]
    fn a_component_means_all_of_its_workloads() {
        let workload = |name: &str, label: &str, component: &str| Workload {
            id: ObjectRef::new("apps/v1", "StatefulSet", "n", name),
            value: json!({"metadata": {"labels": {label: component}}}),
        };
        let all = [
            workload("grafana", COMPONENT, "prometheus-grafana"),
            workload("prometheus", COMPONENT, "prometheus-grafana"),
            workload("minio", PROMOTED_COMPONENT, "minio-standalone"),
        ];
        let names = |asked: &[&str]| -> Result<Vec<String>, OperateError> {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            let found = named(&all, &asked)?;
            Ok(found.iter().map(|one| one.name().to_owned()).collect())
        };
        assert_eq!(
            names(&["prometheus-grafana", "grafana"]).unwrap(),
            ["grafana", "prometheus"]
        );
        assert_eq!(names(&["minio-standalone"]).unwrap(), ["minio"]);
        assert!(names(&["kafka"]).is_err());
    }
}
