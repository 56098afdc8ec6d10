//! Rules about pods: images, rights, what they take of a node.

use serde_json::Value;

use super::{Known, Place, Severity};
use crate::promote::images::is_pinned;

/// Registries that exist on a developer's machine only.
const LOCAL: [&str; 8] = [
    "vadev.local/",
    "localhost/",
    "localhost:",
    "127.0.0.1:",
    "0.0.0.0:",
    "[::1]:",
    "host.docker.internal",
    "kind-registry",
];

pub(super) fn check(place: &mut Place<'_>, known: &Known) {
    let Some((path, pod)) = spec(place.object) else {
        return;
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if pod[field] == true {
            place.refuse(
                "host-access",
                format!("{path}.{field}"),
                "the pod would share the node's own",
                "remove it",
            );
        }
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        if volume.get("hostPath").is_some() {
            place.refuse(
                "host-path",
                format!("{path}.volumes[{}].hostPath", name(volume)),
                "a folder of the node would be mounted",
                "take a persistent volume claim or an emptyDir",
            );
        }
    }
    let outer = &pod["securityContext"];
    for list in ["initContainers", "containers"] {
        for container in pod[list].as_array().into_iter().flatten() {
            let path = format!("{path}.{list}[{}]", name(container));
            image(place, container, &path, known);
            rights(place, container, outer, &path);
            figures(place, container, &path, list == "containers");
        }
    }
}

/// What an object says of pods, and where.
pub(super) fn spec(object: &Value) -> Option<(&'static str, &Value)> {
    Some(match object["kind"].as_str()? {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            ("spec.template.spec", &object["spec"]["template"]["spec"])
        }
        "CronJob" => (
            "spec.jobTemplate.spec.template.spec",
            &object["spec"]["jobTemplate"]["spec"]["template"]["spec"],
        ),
        "Pod" => ("spec", &object["spec"]),
        _ => return None,
    })
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or("?")
}

fn image(place: &mut Place<'_>, container: &Value, path: &str, known: &Known) {
    let field = format!("{path}.image");
    let reference = container["image"].as_str().unwrap_or_default();
    if reference.contains("vadev-agent") {
        place.refuse(
            "stand-in",
            field,
            format!("`{reference}` is vadev's stand-in and not the service"),
            "build the service and push it with --registry, or name its image under `images` in the environment file",
        );
        return;
    }
    let named = known
        .registry
        .as_deref()
        .is_some_and(|registry| reference.starts_with(registry));
    if !named && LOCAL.iter().any(|host| reference.starts_with(host)) {
        place.refuse(
            "local-image",
            field,
            format!("`{reference}` exists on a developer's machine only"),
            "push it with --registry, or name an image under `images` in the environment file",
        );
        return;
    }
    let tag = reference
        .split('@')
        .next()
        .unwrap_or_default()
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'));
    match tag.map(|(_, tag)| tag) {
        Some("latest") | None if !is_pinned(reference) => place.refuse(
            "image-not-pinned",
            field,
            format!("`{reference}` is whatever was pushed last"),
            "name a version and its digest under `images` in the environment file",
        ),
        Some(tag) if of_development(tag) => place.refuse(
            "development-tag",
            field,
            format!("`{reference}` has a tag of development"),
            "name a released version and its digest under `images` in the environment file",
        ),
        _ if !is_pinned(reference) => place.refuse(
            "image-not-pinned",
            field,
            format!("`{reference}` has no digest, and a tag can be moved"),
            "add @sha256:… under `images` in the environment file, or let --registry find it",
        ),
        _ => {}
    }
}

/// Parts of tags that say the image was never released.
const UNRELEASED: [&str; 17] = [
    "latest", "dev", "develop", "devel", "snapshot", "nightly", "main", "master", "trunk", "edge", "canary",
    "unstable", "debug", "local", "wip", "test", "testing",
];

/// Whether a tag is one of development: `main`, `1.1.0-dev`, `2.0-SNAPSHOT`, `1.0.dev3`.
fn of_development(tag: &str) -> bool {
    let tag = tag.to_lowercase();
    tag.split(['-', '.', '_', '+']).any(|part| {
        let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
        UNRELEASED.contains(&part) || word == "dev"
    })
}

fn rights(place: &mut Place<'_>, container: &Value, pod: &Value, path: &str) {
    let own = &container["securityContext"];
    let field = |name: &str| format!("{path}.securityContext.{name}");
    if own["privileged"] == true {
        place.refuse(
            "privileged",
            field("privileged"),
            "the container would rule its node",
            "remove it",
        );
    }
    if own["allowPrivilegeEscalation"] != false {
        place.refuse(
            "privileged",
            field("allowPrivilegeEscalation"),
            "a program could gain rights",
            "set it to false",
        );
    }
    let of = |name: &str| {
        own.get(name)
            .or_else(|| pod.get(name))
            .cloned()
            .unwrap_or_default()
    };
    if of("runAsNonRoot") != true || of("runAsUser") == 0 {
        place.refuse(
            "runs-as-root",
            field("runAsNonRoot"),
            "it could run as root",
            "set runAsNonRoot, and a user that is not 0",
        );
    }
    if own["capabilities"]["add"]
        .as_array()
        .is_some_and(|added| !added.is_empty())
    {
        place.refuse(
            "privileged",
            field("capabilities.add"),
            "it would have capabilities",
            "drop all of them",
        );
    }
    for port in container["ports"].as_array().into_iter().flatten() {
        if port.get("hostPort").is_some() {
            place.refuse(
                "host-access",
                format!("{path}.ports[{}].hostPort", name(port)),
                "it would open a port of the node",
                "remove it",
            );
        }
    }
}

fn figures(place: &mut Place<'_>, container: &Value, path: &str, serves: bool) {
    for (kind, resource) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
        if container["resources"][kind].get(resource).is_none() {
            place.refuse(
                "no-resources",
                format!("{path}.resources.{kind}.{resource}"),
                "nobody could say whether it fits a node, or stop it from taking one over",
                "state it in the catalog",
            );
        }
    }
    if serves && container.get("readinessProbe").is_none() {
        place.note(
            Severity::Warning,
            "no-probe",
            format!("{path}.readinessProbe"),
            "a rollout could not tell whether it works",
            "state a probe in the catalog",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_whether_it_was_released() {
        for tag in [
            "dev",
            "dev-0a4bf1cd",
            "1.1.0-dev",
            "1.1.0-SNAPSHOT",
            "main",
            "edge",
            "main-3f2a",
            "1.0.dev3",
            "nightly",
            "latest-alpine",
            "v2.0.0-dev.1",
        ] {
            assert!(of_development(tag), "{tag}");
        }
        for tag in [
            "1.1.0",
            "v2.6.2",
            "17.6-bookworm",
            "RELEASE.2025-09-07T16-13-09Z",
            "1.0.0-rc.1",
            "25.8",
            "1.2.0-maintenance",
            "3.0.0-alpine3.20",
            "2024.1-developer",
        ] {
            assert!(!of_development(tag), "{tag}");
        }
    }
}
