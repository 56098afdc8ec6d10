//! A second instance of a system, of the same image, for looking into backups: without volume, without probes, gone within the
//! hour even if nobody takes it away.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::k8s::{
    self, ExecTarget, LogOptions, ObjectRef, Scope, Session, SessionOptions, View, WaitOptions,
    own_container_at,
};
use crate::operate::error::OperateError;
use crate::operate::site::{Site, Workload, pod_name};
use crate::render::object::{MANAGED_BY, PROFILE, WORKSPACE};
use crate::report::Step;

/// The label of such pods.
const LABEL: &str = "vadev.dev/scratch";

/// Seconds that one may live.
const LIFE: i64 = 3600;

/// Memory that is always enough to begin with; more where the system itself has more.
const LEAST_MEMORY: u64 = 256 << 20;

/// A running instance. [`Scratch::remove`] takes it away.
pub struct Scratch<'a> {
    site: &'a Site,
    namespace: String,
    /// Its pod.
    pub pod: String,
    uid: String,
    /// Its container.
    pub container: String,
}

impl<'a> Scratch<'a> {
    /// Starts one like `workload`; `command` replaces what the container runs, where it is not empty.
    pub async fn start(
        site: &'a Site,
        workload: &Workload,
        command: &[&str],
        step: &Step,
    ) -> Result<Self, Failure> {
        step.progress("starting a scratch instance");
        site.cluster.recheck().await?;
        sweep(site, workload.namespace()).await?;
        let pod: Pod = serde_json::from_value(pod(workload, command))
            .map_err(|error| OperateError::unreadable("the scratch pod", error))?;
        let api = site.api::<Pod>(workload.namespace());
        let made = api
            .create(&PostParams::default(), &pod)
            .await
            .map_err(|error| OperateError::request("start a scratch pod in", workload.namespace(), error))?;
        let scratch = Self {
            site,
            namespace: workload.namespace().to_owned(),
            pod: pod_name(&made).to_owned(),
            uid: made.metadata.uid.unwrap_or_default(),
            container: workload.container().to_owned(),
        };
        match scratch.running(step).await {
            Ok(()) => Ok(scratch),
            Err(error) => {
                scratch.remove().await?;
                Err(error)
            }
        }
    }

    /// Waits until it runs, as long as it can be hoped for.
    async fn running(&self, step: &Step) -> Result<(), Failure> {
        let target = ObjectRef::new("v1", "Pod", &self.namespace, &self.pod);
        let view = View::open(
            &self.site.cluster,
            &Scope::Namespaces(vec![self.namespace.clone()]),
        );
        let within = WaitOptions::within(Duration::from_mins(2));
        view.wait_ready(&target, within, Some(step)).await?;
        Ok(())
    }

    /// A failure with the pod's last lines below.
    pub async fn failed(&self, message: String) -> Failure {
        let options = LogOptions {
            tail: Some(15),
            ..LogOptions::default()
        };
        let lines = k8s::tail(&self.site.cluster, &self.namespace, &self.pod, &options).await;
        OperateError::Refused {
            message,
            hint: format!("vadev events shows what happened to {}", self.pod),
            details: lines.unwrap_or_default(),
        }
        .into()
    }

    /// Whether its container still runs.
    pub async fn lives(&self) -> bool {
        let found = self.site.api::<Pod>(&self.namespace).get(&self.pod).await;
        let phase = found.ok().and_then(|pod| pod.status?.phase);
        phase.as_deref() == Some("Running")
    }

    /// Its address in the cluster.
    pub async fn address(&self) -> Result<String, Failure> {
        let found = self.site.api::<Pod>(&self.namespace).get(&self.pod).await;
        let found = found.map_err(|error| OperateError::request("read", &self.pod, error))?;
        let address = found.status.and_then(|status| status.pod_ip);
        Ok(address.ok_or_else(|| OperateError::unreadable(self.pod.clone(), "it has no address"))?)
    }

    /// Lets the system's own pods reach it on a port. Where policies deny what nobody allows, they could not. What allows it
    /// belongs to the pod, and goes with it.
    pub async fn admit(&self, workload: &Workload, port: u16) -> Result<(), Failure> {
        let api = self.site.api::<NetworkPolicy>(&self.namespace);
        let listed = api.list(&ListParams::default().limit(1)).await;
        let listed = listed
            .map_err(|error| OperateError::request("list the network policies of", &self.namespace, error))?;
        if listed.items.is_empty() {
            return Ok(());
        }
        for value in policies(workload, &self.pod, &self.uid, port) {
            let policy: NetworkPolicy = serde_json::from_value(value)
                .map_err(|error| OperateError::unreadable("the scratch pod's network policy", error))?;
            let made = api.create(&PostParams::default(), &policy).await;
            made.map_err(|error| OperateError::request("allow a way to", &self.pod, error))?;
        }
        Ok(())
    }

    /// Where commands run.
    pub fn target(&self) -> ExecTarget<'_> {
        ExecTarget {
            namespace: &self.namespace,
            pod: &self.pod,
            container: Some(&self.container),
        }
    }

    /// Starts a command in it.
    pub async fn session(&self, command: &[&str], stdin: bool) -> Result<Session, Failure> {
        let options = SessionOptions { stdin, tty: false };
        Ok(Session::open(&self.site.cluster, &self.target(), command, options).await?)
    }

    /// Takes it away at once.
    pub async fn remove(self) -> Result<(), Failure> {
        delete(self.site, &self.namespace, &self.pod).await
    }
}

async fn delete(site: &Site, namespace: &str, pod: &str) -> Result<(), Failure> {
    let now = DeleteParams::default().grace_period(0);
    match site.api::<Pod>(namespace).delete(pod, &now).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(OperateError::request("remove", pod, error).into()),
        Ok(_) => Ok(()),
    }
}

/// Takes instances away that an interrupted run left, once they are older than any run takes to notice.
async fn sweep(site: &Site, namespace: &str) -> Result<(), Failure> {
    let params = ListParams::default().labels(LABEL);
    let listed = site.api::<Pod>(namespace).list(&params).await;
    let listed = listed.map_err(|error| OperateError::request("list the pods of", namespace, error))?;
    for pod in listed.items {
        let over = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(over, Some("Failed" | "Succeeded")) {
            delete(site, namespace, pod_name(&pod)).await?;
        }
    }
    Ok(())
}

/// The workload's pod as a manifest of its own.
fn pod(workload: &Workload, command: &[&str]) -> Value {
    let template = &workload.value["spec"]["template"];
    let mut spec = template["spec"].clone();
    let mut container = spec["containers"][own_container_at(template, workload.name())].take();
    if let Some(fields) = container.as_object_mut() {
        for probe in [
            "readinessProbe",
            "livenessProbe",
            "startupProbe",
            "lifecycle",
            "ports",
        ] {
            fields.remove(probe);
        }
        if !command.is_empty() {
            fields.insert("command".to_owned(), json!(command));
            fields.remove("args");
        }
    }
    let limit = container
        .pointer("/resources/limits/memory")
        .and_then(Value::as_str);
    let limit = limit.and_then(|text| crate::catalog::Bytes::parse(text).ok());
    let memory = limit.map_or(LEAST_MEMORY, |limit| (limit.0 * 2).max(LEAST_MEMORY));
    container["resources"] = json!({
        "requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": memory.to_string()},
    });
    // Claims become folders of the node that go with the pod.
    let folder = |name: &Value| json!({"name": name, "emptyDir": {}});
    let claims = workload
        .value
        .pointer("/spec/volumeClaimTemplates")
        .and_then(Value::as_array);
    let mut volumes: Vec<Value> = claims
        .into_iter()
        .flatten()
        .map(|claim| folder(&claim["metadata"]["name"]))
        .collect();
    let declared = spec["volumes"].as_array().into_iter().flatten();
    volumes.extend(declared.map(|volume| {
        if volume.get("persistentVolumeClaim").is_some() {
            folder(&volume["name"])
        } else {
            volume.clone()
        }
    }));
    spec["containers"] = json!([container]);
    spec["volumes"] = json!(volumes);
    spec["restartPolicy"] = json!("Never");
    spec["activeDeadlineSeconds"] = json!(LIFE);
    spec["automountServiceAccountToken"] = json!(false);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": format!("{}-scratch-", workload.name()),
            "namespace": workload.namespace(),
            "labels": labels(workload),
        },
        "spec": spec,
    })
}

/// The labels of what belongs to a scratch instance. Not the workload's own: its Service must not find it.
fn labels(workload: &Workload) -> Value {
    let mut labels = json!({
        LABEL: workload.name(), MANAGED_BY: "vadev", "sidecar.istio.io/inject": "false",
    });
    for key in [PROFILE, WORKSPACE] {
        if let Some(value) = workload.value["metadata"]["labels"].get(key) {
            labels[key] = value.clone();
        }
    }
    labels
}

/// Both ends of a connection from the workload's pods to the scratch one.
fn policies(workload: &Workload, pod: &str, uid: &str, port: u16) -> [Value; 2] {
    let system = &workload.value["spec"]["selector"];
    let scratch = json!({"matchLabels": {LABEL: workload.name()}});
    let ports = json!([{"protocol": "TCP", "port": port}]);
    let policy = |end: &str, spec: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": format!("{pod}-{end}"),
                "namespace": workload.namespace(),
                "labels": labels(workload),
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}],
            },
            "spec": spec,
        })
    };
    [
        policy(
            "in",
            json!({
                "podSelector": scratch, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"podSelector": system}], "ports": ports}],
            }),
        ),
        policy(
            "out",
            json!({
                "podSelector": system, "policyTypes": ["Egress"],
                "egress": [{"to": [{"podSelector": scratch}], "ports": ports}],
            }),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis() -> Workload {
        Workload {
            id: ObjectRef::new("apps/v1", "StatefulSet", "infra", "redis"),
            value: json!({"metadata": {"labels": {"app": "redis", WORKSPACE: "demo"}}, "spec": {
                "selector": {"matchLabels": {"app": "redis"}},
                "template": {
                    "metadata": {"labels": {"app": "redis"}},
                    "spec": {
                        "containers": [{"name": "redis", "image": "r:7", "args": ["redis-server"], "livenessProbe": {}, "resources": {"limits": {"memory": "1Gi"}}}],
                        "volumes": [
                            {"name": "tmp", "emptyDir": {}},
                            {"name": "shared", "persistentVolumeClaim": {"claimName": "shared"}},
                        ],
                    },
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
            }}),
        }
    }

    #[test]
    fn a_scratch_pod_shares_nothing_that_lasts() {
        let pod = pod(&redis(), &["sh"]);
        assert_eq!(pod["metadata"]["labels"]["app"], Value::Null);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(
            (&container["command"], &container["args"]),
            (&json!(["sh"]), &Value::Null)
        );
        assert!(container.get("livenessProbe").is_none());
        assert_eq!(container["resources"]["limits"]["memory"], "2147483648");
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|volume| volume.get("emptyDir").is_some()));
        let names: Vec<_> = volumes.iter().map(|volume| &volume["name"]).collect();
        assert_eq!(names, ["data", "tmp", "shared"], "whatever is mounted is there");
    }

    #[test]
    fn it_is_of_the_systems_own_container() {
        let mut redis = redis();
        let containers = &mut redis.value["spec"]["template"]["spec"]["containers"];
        let own = containers[0].take();
        *containers = json!([{"name": "log-shipper", "image": "l:1"}, own]);
        let pod = pod(&redis, &[]);
        assert_eq!(pod["spec"]["containers"][0]["image"], "r:7");
        assert_eq!(pod["spec"]["containers"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn it_says_whose_it_is() {
        let labels = labels(&redis());
        assert_eq!(
            (&labels[MANAGED_BY], &labels[WORKSPACE]),
            (&json!("vadev"), &json!("demo"))
        );
        assert_eq!(labels.get(PROFILE), None);
    }

    #[test]
    fn only_the_systems_own_pods_are_let_in() {
        let [ingress, egress] = policies(&redis(), "redis-scratch-x", "u1", 6379);
        assert_eq!(
            ingress["spec"]["ingress"][0]["from"][0]["podSelector"],
            egress["spec"]["podSelector"]
        );
        assert_eq!(
            ingress["spec"]["podSelector"],
            egress["spec"]["egress"][0]["to"][0]["podSelector"]
        );
        for policy in [ingress, egress] {
            assert_eq!(policy["metadata"]["ownerReferences"][0]["uid"], "u1");
            serde_json::from_value::<NetworkPolicy>(policy).unwrap();
        }
    }
}
