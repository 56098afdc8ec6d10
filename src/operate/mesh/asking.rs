//! How is asked from within a pod: by vadev's agent where the container has it, else by one in a container that is added to the
//! pod for a short while. Both see the network as the service does, sidecar included.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use crate::agent::serve::Reached;
use crate::k8s::{Beside, Cluster, ExecOutput, ExecTarget, K8sError, beside, exec};

/// Where a container has the agent: a stand-in's own program, and the volume of a service that is being developed.
const PROGRAMS: [&str; 2] = ["/vadev-agent", "/vadev/program/vadev-agent"];

/// What is said of a container without anything to ask with.
pub const NOTHING: &str = "its image has nothing that could ask";

/// How long one round of asking may take: the agent gives an address 8 s, and all are asked side by side.
const ROUND: Duration = Duration::from_mins(1);

/// How an added container's name begins.
const ADDED: &str = "vadev-ask";
/// How long an added container runs, in seconds: a second command soon after the first uses it again.
const LIVES: &str = "180";
const LIFE: Duration = Duration::from_mins(3);
/// Neither root nor 1337, whose calls the sidecar lets pass unseen.
const USER: i64 = 65532;

/// Asks by the agent that the container itself has; `None` where it has none.
pub async fn by_own_agent(
    cluster: &Cluster,
    target: &ExecTarget<'_>,
    urls: &[String],
) -> Option<Result<Vec<Reached>, String>> {
    for program in PROGRAMS {
        match reach(cluster, target, program, urls).await {
            Ok(output) => return Some(Ok(read(&output))),
            Err(error) if is_missing(&error) => {}
            Err(error) => return Some(Err(reason(&error))),
        }
    }
    None
}

/// Asks by an agent in a container of its own, which is added to the pod where none runs yet. Fails with why nothing could be
/// asked.
pub async fn by_added_agent(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    image: &str,
    urls: &[String],
) -> Result<Vec<Reached>, String> {
    let wanted = Beside {
        prefix: ADDED,
        image,
        pull: pull_policy(image),
        args: &["hold", LIVES],
        user: USER,
        lives: LIFE,
        needed: ROUND + Duration::from_secs(10),
    };
    let added = beside(cluster, namespace, pod, &wanted).await;
    let container = added.map_err(|error| format!("{NOTHING}, and {}", refusal(&error)))?;
    let target = ExecTarget {
        namespace,
        pod,
        container: Some(&container),
    };
    let output = reach(cluster, &target, PROGRAMS[0], urls).await;
    let output =
        output.map_err(|error| format!("{NOTHING}, and {container} could not either: {}", reason(&error)))?;
    Ok(read(&output))
}

/// The agent's image under the name that some pod of the namespace runs it by: where images are pushed to a registry, it has
/// another one than here.
pub async fn image_in(cluster: &Cluster, namespace: &str) -> Result<Option<String>, kube::Error> {
    let pods: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let listed = pods.list(&ListParams::default().match_any()).await?;
    Ok(listed.items.iter().find_map(agent_image))
}

fn agent_image(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut images = spec.init_containers.iter().flatten().chain(&spec.containers);
    let image = images.find_map(|container| container.image.as_deref().filter(|image| is_agent(image)));
    image.map(str::to_owned)
}

/// `registry.example.com:5000/team/vadev-agent:0.1.0-1f2e3d`, with or without a digest.
fn is_agent(image: &str) -> bool {
    let name = image.split('@').next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default();
    name.split(':').next() == Some("vadev-agent")
}

/// As for everything that runs the image: what has a local name comes from no registry, and is told to be missing at once.
fn pull_policy(image: &str) -> &'static str {
    if image.starts_with("vadev.local/") {
        "Never"
    } else {
        "IfNotPresent"
    }
}

async fn reach(
    cluster: &Cluster,
    target: &ExecTarget<'_>,
    program: &str,
    urls: &[String],
) -> Result<ExecOutput, K8sError> {
    let mut command = vec![program, "reach"];
    command.extend(urls.iter().map(String::as_str));
    exec(cluster, target, &command, None, ROUND).await
}

fn read(output: &ExecOutput) -> Vec<Reached> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Why no container was added.
fn refusal(error: &K8sError) -> String {
    if error.is_forbidden() {
        // Who may not, reads which right to ask for; admission may refuse in its own words.
        return format!("{error} (it takes the right to patch pods/ephemeralcontainers)");
    }
    error.to_string()
}

/// Whether the container has no such program.
pub(super) fn is_missing(error: &K8sError) -> bool {
    let K8sError::Exec { problem, .. } = error else {
        return false;
    };
    [
        "executable file not found",
        "no such file or directory",
        "exit code 127",
        "exit code 126",
    ]
    .iter()
    .any(|word| problem.contains(word))
}

/// The last thing that the program said.
pub(super) fn reason(error: &K8sError) -> String {
    match error {
        K8sError::Exec { problem, output, .. } => {
            let line = output.iter().rev().find(|line| !line.trim().is_empty());
            line.map_or(problem.as_str(), String::as_str).to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_missing_program_is_no_refusal() {
        let error = |problem: &str, line: &str| K8sError::Exec {
            pod: "p".into(),
            command: "c".into(),
            problem: problem.into(),
            output: vec![line.into(), " ".into()],
        };
        assert!(is_missing(&error(
            "exec: \"curl\": executable file not found in $PATH",
            ""
        )));
        let refused = error(
            "command terminated with non-zero exit code",
            "curl: (22) The requested URL returned error: 403",
        );
        assert!(!is_missing(&refused));
        assert_eq!(
            reason(&refused),
            "curl: (22) The requested URL returned error: 403"
        );
    }

    #[test]
    fn the_agents_image_is_known_by_whatever_name_it_was_pushed() {
        for image in [
            "vadev.local/vadev-agent:0.1.0",
            "localhost:5001/team/vadev-agent:dev-1f2e3d",
            "registry.example.com/vadev-agent@sha256:00",
        ] {
            assert!(is_agent(image), "{image}");
        }
        assert!(!is_agent("registry.example.com/vadev-agent/other:1"));
        assert!(!is_agent("vadev-agents:1"));
        assert_eq!(pull_policy("vadev.local/vadev-agent:0.1.0"), "Never");
        assert_eq!(pull_policy("localhost:5001/vadev-agent:0.1.0"), "IfNotPresent");
        let pod = |init: &str| -> Pod {
            serde_json::from_value(json!({"spec": {
                "containers": [{"name": "a", "image": "a:1"}],
                "initContainers": [{"name": "b", "image": init}],
            }}))
            .unwrap()
        };
        assert_eq!(
            agent_image(&pod("r/vadev-agent:2")).as_deref(),
            Some("r/vadev-agent:2")
        );
        assert_eq!(agent_image(&pod("b:1")), None);
    }

    #[test]
    fn who_may_not_add_reads_which_right_it_takes() {
        let status = kube::core::Status::failure("pods \"a\" is forbidden", "Forbidden").with_code(403);
        let error = K8sError::Request {
            action: "add",
            subject: "a container to pod n/a".into(),
            source: Box::new(kube::Error::Api(status.boxed())),
        };
        assert!(refusal(&error).contains("pods/ephemeralcontainers"));
        assert_eq!(LIFE.as_secs().to_string(), LIVES);
        const { assert!(USER != 1337) };
    }
}
