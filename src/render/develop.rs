//! What a service's objects get while it is being developed: vadev's agent as the first process of its container, which
//! runs the image's own command and keeps its files in step with the source.
//!
//! The agent is put into a volume by an init container, so that the image needs nothing, not even a shell. It is root in
//! the container, with just the capabilities to write where files are root's and to start the service as the user that it
//! has in production; the service's process has no capability at all.

use serde_json::{Value, json};

use super::Object;
use super::service::digest;
use crate::agent::base64;

/// Annotation of a Deployment that is being developed, and label of what belongs to its development alone. Where it is and should not be, the development parts are taken out.
pub const DEVELOPMENT: &str = "vadev.dev/development";
/// The init container that brings the agent.
pub const INSTALLER: &str = "vadev-agent";
/// Where the agent listens, on 127.0.0.1 of the pod.
pub const AGENT_PORT: u16 = 7717;
/// How long a new replica's service waits for a session to bring it in step, in seconds. A session is there within one;
/// without any the wait is lost once per pod.
const WAIT: u32 = 5;
/// Where the agent's volumes are.
const FOLDER: &str = "/vadev";

/// A service under development.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Development {
    /// The image with the agent.
    pub agent_image: String,
    /// What the service's image runs: its entry point with its arguments.
    pub command: Vec<String>,
    /// Below these the agent may write.
    pub roots: Vec<String>,
    /// Admits a session.
    pub token: String,
}

/// Name of the Secret with the session's token.
pub fn secret_name(service: &str) -> String {
    format!("{service}-development")
}

/// The Secret with the token.
pub fn secret(namespace: &str, service: &str, development: &Development) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": secret_name(service), "namespace": namespace, "labels": { "app": service, DEVELOPMENT: "token" } },
        "type": "Opaque",
        "data": { "token": base64::encode(development.token.as_bytes()) },
    })
}

/// Changes a Deployment to a developed one. `user` is what the service runs as.
pub fn develop(deployment: &mut Value, development: &Development, user: i64) {
    deployment["metadata"]["annotations"][DEVELOPMENT] = json!("sync");
    let name = deployment["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let template = &mut deployment["spec"]["template"];
    // Another token or agent is another pod.
    template["metadata"]["annotations"][DEVELOPMENT] = json!(digest(&format!(
        "{} {}",
        development.token, development.agent_image
    )));
    let pod = &mut template["spec"];
    pod["initContainers"] = json!([installer(development, user)]);
    push(
        &mut pod["volumes"],
        &[
            json!({ "name": "vadev-program", "emptyDir": {} }),
            json!({ "name": "vadev-state", "emptyDir": {} }),
            json!({ "name": "vadev-session", "secret": { "secretName": secret_name(&name), "defaultMode": 0o400 } }),
        ],
    );
    // The service's own container alone: others beside it run images of their own, by commands of their own, and the source
    // is not theirs.
    let mut containers = pod["containers"].as_array_mut().into_iter().flatten();
    if let Some(container) = containers.find(|container| container["name"] == *name) {
        run_by_agent(container, development, user);
    }
}

fn installer(development: &Development, user: i64) -> Value {
    json!({
        "name": INSTALLER,
        "image": development.agent_image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["install", format!("{FOLDER}/program")],
        "resources": { "requests": { "cpu": "1m", "memory": "8Mi" }, "limits": { "memory": "32Mi" } },
        "securityContext": {
            "runAsUser": user,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [{ "name": "vadev-program", "mountPath": format!("{FOLDER}/program") }],
    })
}

fn run_by_agent(container: &mut Value, development: &Development, user: i64) {
    let name = container["name"].as_str().unwrap_or_default().to_owned();
    let mut command = vec![
        format!("{FOLDER}/program/vadev-agent"),
        "run".to_owned(),
        "--listen".to_owned(),
        format!("127.0.0.1:{AGENT_PORT}"),
        "--token-file".to_owned(),
        format!("{FOLDER}/session/token"),
        "--state".to_owned(),
        format!("{FOLDER}/state/agent"),
        "--wait-for-session".to_owned(),
        WAIT.to_string(),
        "--user".to_owned(),
        format!("{user}:{user}"),
    ];
    for root in &development.roots {
        command.extend(["--root".to_owned(), root.clone()]);
    }
    command.push("--".to_owned());
    command.extend(development.command.iter().cloned());
    container["command"] = json!(command);
    if let Some(fields) = container.as_object_mut() {
        fields.remove("args");
        // The agent keeps the process; a kubelet that restarts the container of a service that somebody is just writing
        // would make the next save wait for its back-off.
        fields.remove("livenessProbe");
        fields.remove("startupProbe");
    }
    if container["readinessProbe"].is_object() {
        container["readinessProbe"]["periodSeconds"] = json!(1);
    }
    container["securityContext"] = json!({
        "runAsUser": 0,
        "runAsGroup": 0,
        "runAsNonRoot": false,
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": false,
        "capabilities": {
            "drop": ["ALL"],
            "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"],
        },
    });
    push(
        &mut container["volumeMounts"],
        &[
            json!({ "name": "vadev-program", "mountPath": format!("{FOLDER}/program"), "readOnly": true }),
            json!({ "name": "vadev-state", "mountPath": format!("{FOLDER}/state"), "subPath": name }),
            json!({ "name": "vadev-session", "mountPath": format!("{FOLDER}/session"), "readOnly": true }),
        ],
    );
}

fn push(list: &mut Value, items: &[Value]) {
    if !list.is_array() {
        *list = json!([]);
    }
    list.as_array_mut()
        .into_iter()
        .for_each(|list| list.extend_from_slice(items));
}

/// Whether an object in the cluster has development parts that the rendered one has not.
pub fn ended(rendered: &Object, live: &Value) -> bool {
    let developed = |value: &Value| value["metadata"]["annotations"][DEVELOPMENT].is_string();
    developed(live) && !developed(rendered.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_runs_the_images_command() {
        let mut deployment = json!({
            "metadata": { "name": "agent-engine" },
            "spec": { "template": { "spec": {
                "containers": [{
                    "name": "agent-engine", "args": ["serve"], "livenessProbe": {}, "startupProbe": {},
                    "readinessProbe": { "periodSeconds": 10 }, "volumeMounts": [{ "name": "tmp" }],
                }],
                "volumes": [{ "name": "tmp" }],
            } } },
        });
        let development = Development {
            agent_image: "agent:1".into(),
            command: vec!["python".into(), "-m".into(), "app".into()],
            roots: vec!["/app/app".into(), "/app/templates".into()],
            token: "t0ken".into(),
        };
        let beside =
            json!({ "name": "proxy", "image": "proxy:1", "args": ["--listen"], "livenessProbe": {} });
        push(
            &mut deployment["spec"]["template"]["spec"]["containers"],
            std::slice::from_ref(&beside),
        );
        develop(&mut deployment, &development, 65532);
        assert_eq!(
            deployment["spec"]["template"]["spec"]["containers"][1], beside,
            "not the service's own"
        );
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let command: Vec<&str> = container["command"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let line = command.join(" ");
        assert!(
            line.ends_with("--root /app/app --root /app/templates -- python -m app"),
            "{line}"
        );
        assert!(
            line.contains("--listen 127.0.0.1:7717") && line.contains("--user 65532:65532"),
            "{line}"
        );
        assert!(container["args"].is_null() && container["livenessProbe"].is_null());
        assert_eq!(container["readinessProbe"]["periodSeconds"], 1);
        assert_eq!(pod["volumes"].as_array().unwrap().len(), 4);
        // The token stands in the Secret alone.
        assert!(!deployment.to_string().contains("t0ken"), "{deployment}");
        assert_eq!(
            secret("apps", "agent-engine", &development)["data"]["token"],
            "dDBrZW4="
        );
        assert!(ended(&Object::new("x", json!({ "metadata": {} })), &deployment));
        assert!(!ended(&Object::new("x", deployment.clone()), &deployment));
    }
}
