//! A container that is added to a running pod for a short while. It shares the pod's network, so that the sidecar takes part in
//! what is asked from it as if the service itself had asked. It can't be taken away again; it ends by itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::Cluster;
use super::error::K8sError;
use super::retry::{retrying, transient};

/// How long the API server may be busy.
const ANSWER: Duration = Duration::from_secs(10);

/// How long the kubelet may take to start it.
const START: Duration = Duration::from_secs(30);

/// What to add.
#[derive(Debug, Clone)]
pub struct Beside<'a> {
    /// How its name begins; a number follows.
    pub prefix: &'a str,
    /// Its image.
    pub image: &'a str,
    /// `IfNotPresent` or `Never`.
    pub pull: &'a str,
    /// What its image's entry point is given: a process that ends after `lives`.
    pub args: &'a [&'a str],
    /// The user and group it runs as.
    pub user: i64,
    /// How long it runs.
    pub lives: Duration,
    /// How long it is needed: one that an earlier command has added is used again while it runs that long.
    pub needed: Duration,
}

/// Has such a container run in the pod; its name.
pub async fn beside(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    wanted: &Beside<'_>,
) -> Result<String, K8sError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let subject = format!("pod {namespace}/{pod}");
    let get = || pods.get(pod);
    let found = retrying("read", &subject, ANSWER, transient, get).await?;
    let name = match choose(&found, wanted, Timestamp::now()) {
        Choice::Again(name) => name,
        Choice::New(name) => {
            let patch = json!({"spec": {"ephemeralContainers": [container(&name, wanted)]}});
            let params = PatchParams::default();
            let patch = Patch::Strategic(&patch);
            let add = || pods.patch_ephemeral_containers(pod, &params, &patch);
            let subject = format!("a container to {subject}");
            retrying("add", &subject, ANSWER, transient, add).await?;
            name
        }
    };
    let end = Instant::now() + START;
    loop {
        let found = retrying("read", &subject, ANSWER, transient, get).await?;
        let problem = match standing(&found, &name) {
            Standing::Runs => return Ok(name),
            Standing::Failed(why) => why,
            Standing::Coming(why) if Instant::now() > end => {
                format!("not within {} s: {why}", START.as_secs())
            }
            Standing::Coming(_) => {
                sleep(Duration::from_millis(250)).await;
                continue;
            }
        };
        return Err(K8sError::Beside {
            container: name,
            pod: format!("{namespace}/{pod}"),
            problem,
        });
    }
}

/// The container as the API server is given it: as little as can be, since it stands in a pod that somebody else wrote.
fn container(name: &str, wanted: &Beside<'_>) -> Value {
    json!({
        "name": name,
        "image": wanted.image,
        "imagePullPolicy": wanted.pull,
        "args": wanted.args,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "runAsUser": wanted.user,
            "runAsGroup": wanted.user,
            "runAsNonRoot": true,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// One that is there.
    Again(String),
    /// One that has to be added: the first name that is free.
    New(String),
}

fn choose(pod: &Pod, wanted: &Beside<'_>, now: Timestamp) -> Choice {
    let spec = pod.spec.iter();
    let mut there = spec.flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let name = |number: usize| format!("{}-{number}", wanted.prefix);
    // Of one name more than there are containers, one is free.
    let last = there.clone().count() + 1;
    let free = (1..last)
        .map(name)
        .find(|name| !there.clone().any(|one| one.name == *name))
        .unwrap_or_else(|| name(last));
    let again = there.find(|one| {
        one.name.starts_with(&format!("{}-", wanted.prefix))
            && one.image.as_deref() == Some(wanted.image)
            && one.args.as_deref().is_some_and(|args| args == wanted.args)
            && lasts(pod, &one.name, wanted, now)
    });
    again.map_or(Choice::New(free), |one| Choice::Again(one.name.clone()))
}

/// Whether a container that was added earlier runs long enough, or is only just about to start.
fn lasts(pod: &Pod, name: &str, wanted: &Beside<'_>, now: Timestamp) -> bool {
    let running = status(pod, name)
        .and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref())
        .map(|started| now.duration_since(started.0));
    match (running, standing(pod, name)) {
        (Some(age), Standing::Runs) => {
            u64::try_from(age.as_secs()).unwrap_or(0) + wanted.needed.as_secs() <= wanted.lives.as_secs()
        }
        // What an earlier command found impossible may be possible by now, but the status is not told anew at once.
        (_, standing) => matches!(standing, Standing::Coming(_)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Runs,
    /// Not yet, and where it is.
    Coming(String),
    /// It never will, and why.
    Failed(String),
}

fn standing(pod: &Pod, name: &str) -> Standing {
    if pod.metadata.deletion_timestamp.is_some() {
        return Standing::Failed("the pod is being deleted".to_owned());
    }
    let Some(state) = status(pod, name).and_then(|status| status.state.as_ref()) else {
        return Standing::Coming("the node has not taken it up".to_owned());
    };
    if state.running.is_some() {
        return Standing::Runs;
    }
    if let Some(ended) = &state.terminated {
        let said = ended.message.as_deref().or(ended.reason.as_deref());
        let said = said.and_then(|text| text.lines().find(|line| !line.trim().is_empty()));
        let said = said.map_or_else(String::new, |line| format!(", {}", line.trim()));
        return Standing::Failed(format!("it ended with exit code {}{said}", ended.exit_code));
    }
    let waiting = state.waiting.clone().unwrap_or_default();
    let reason = waiting.reason.unwrap_or_default();
    match reason.as_str() {
        // There is nothing to wait for but these: whatever else is told is a failure.
        "" | "ContainerCreating" | "PodInitializing" => Standing::Coming("it is being started".to_owned()),
        _ => match waiting.message {
            Some(message) => Standing::Failed(format!("{reason}: {message}")),
            None => Standing::Failed(reason),
        },
    }
}

fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let mut all = pod.status.iter().flat_map(|status| {
        let added = status.ephemeral_container_statuses.iter();
        added.flatten()
    });
    all.find(|status| status.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Beside<'_> = Beside {
        prefix: "ask",
        image: "agent:1",
        pull: "Never",
        args: &["hold", "180"],
        user: 65532,
        lives: Duration::from_mins(3),
        needed: Duration::from_secs(70),
    };

    /// A pod with these added containers: name, image, and the state.
    fn pod(added: &[(&str, &str, Value)]) -> Pod {
        let containers: Vec<Value> = added
            .iter()
            .map(|(name, image, _)| json!({"name": name, "image": image, "args": ["hold", "180"]}))
            .collect();
        let statuses: Vec<Value> = added
            .iter()
            .filter(|(.., state)| !state.is_null())
            .map(|(name, image, state)| {
                json!({"name": name, "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": state})
            })
            .collect();
        let value = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "app"}], "ephemeralContainers": containers},
            "status": {"ephemeralContainerStatuses": statuses},
        });
        serde_json::from_value(value).unwrap()
    }

    fn running() -> Value {
        json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}})
    }

    #[test]
    fn one_that_lasts_is_used_again_and_another_gets_the_first_free_name() {
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let (soon, late) = (at("2026-01-01T00:01:50Z"), at("2026-01-01T00:01:51Z"));
        let new = |name: &str| Choice::New(name.to_owned());
        let again = |name: &str| Choice::Again(name.to_owned());
        assert_eq!(choose(&pod(&[]), &WANTED, soon), new("ask-1"));
        let one = pod(&[("ask-1", "agent:1", running())]);
        assert_eq!(choose(&one, &WANTED, soon), again("ask-1"));
        assert_eq!(choose(&one, &WANTED, late), new("ask-2"));
        // A clock that goes after the node's.
        assert_eq!(choose(&one, &WANTED, at("2025-12-31T23:59:00Z")), again("ask-1"));
        let other = pod(&[
            ("debugger-1", "agent:1", running()),
            ("ask-2", "agent:0", running()),
        ]);
        assert_eq!(choose(&other, &WANTED, soon), new("ask-1"));
        let ended = json!({"terminated": {"exitCode": 0}});
        let never = json!({"waiting": {"reason": "ErrImageNeverPull"}});
        let gone = pod(&[("ask-1", "agent:1", ended), ("ask-2", "agent:1", never)]);
        assert_eq!(choose(&gone, &WANTED, soon), new("ask-3"));
        // Another command has just added it.
        let fresh = pod(&[("ask-1", "agent:1", Value::Null)]);
        assert_eq!(choose(&fresh, &WANTED, soon), again("ask-1"));
    }

    #[test]
    fn what_never_runs_is_not_waited_for() {
        let of = |state: Value| standing(&pod(&[("ask-1", "agent:1", state)]), "ask-1");
        assert_eq!(of(running()), Standing::Runs);
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        for state in [Value::Null, json!({}), creating] {
            assert!(matches!(of(state.clone()), Standing::Coming(_)), "{state}");
        }
        for reason in ["ErrImageNeverPull", "ImagePullBackOff", "CreateContainerError"] {
            let state = json!({"waiting": {"reason": reason, "message": "why"}});
            assert_eq!(of(state), Standing::Failed(format!("{reason}: why")));
        }
        let older =
            json!({"terminated": {"exitCode": 2, "message": "\nvadev-agent: unknown command \"hold\"\n\n"}});
        let why = "it ended with exit code 2, vadev-agent: unknown command \"hold\"";
        assert_eq!(of(older), Standing::Failed(why.to_owned()));
    }

    #[test]
    fn it_may_do_nothing_that_the_pod_may_not() {
        let made = container("ask-1", &WANTED);
        let context = &made["securityContext"];
        assert_eq!(context["runAsNonRoot"], true);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_ne!(context["runAsUser"], 1337, "the sidecar's own calls go around it");
        // What ephemeral containers are not allowed to have.
        for field in ["resources", "ports", "lifecycle", "readinessProbe"] {
            assert!(made[field].is_null(), "{field}");
        }
    }
}
