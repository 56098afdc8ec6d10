//! Image names: in full, as containerd keeps them, and those of images that a workspace builds.

/// The full form of a reference: `redis` is `docker.io/library/redis:latest`.
pub fn full_name(reference: &str) -> String {
    let (name, suffix) = match (reference.split_once('@'), reference.rfind(':')) {
        (Some((name, digest)), _) => (name, format!("@{digest}")),
        (None, Some(colon)) if !reference[colon..].contains('/') => {
            (&reference[..colon], reference[colon..].to_owned())
        }
        _ => (reference, ":latest".to_owned()),
    };
    let host = name.split_once('/').map(|(first, _)| first);
    match host {
        Some(host) if host.contains(['.', ':']) || host == "localhost" => format!("{name}{suffix}"),
        Some(_) => format!("docker.io/{name}{suffix}"),
        None => format!("docker.io/library/{name}{suffix}"),
    }
}

/// The moving tag of a workspace's service: it means the newest image, in every node. The Deployment names it, so that its
/// template never changes and a pod that is made anew runs the newest.
pub fn moving(workspace: &str, service: &str) -> String {
    format!("vadev.local/{workspace}/{service}:dev")
}

/// The exact tag beside a moving one: `…:dev` with the ID `sha256:0a4b…` is `…:dev-0a4bf1cd1970`. It never means anything
/// else, so that a pod that is given it certainly runs that image.
pub fn exact(moving: &str, id: &str) -> String {
    let digits: String = id.trim_start_matches("sha256:").chars().take(12).collect();
    format!("{moving}-{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_tag_is_the_moving_one_with_digits() {
        let moving = moving("shop", "agent-engine");
        assert_eq!(moving, "vadev.local/shop/agent-engine:dev");
        assert_eq!(
            exact(&moving, "sha256:0a4bf1cd19702222"),
            "vadev.local/shop/agent-engine:dev-0a4bf1cd1970"
        );
    }

    #[test]
    fn short_names_are_dockers() {
        assert_eq!(full_name("redis"), "docker.io/library/redis:latest");
        assert_eq!(full_name("redis:7"), "docker.io/library/redis:7");
        assert_eq!(full_name("istio/pilot:1"), "docker.io/istio/pilot:1");
        assert_eq!(full_name("vadev.local/redis:7.0"), "vadev.local/redis:7.0");
        assert_eq!(full_name("localhost:5000/a"), "localhost:5000/a:latest");
        assert_eq!(full_name("ghcr.io/a/b@sha256:00"), "ghcr.io/a/b@sha256:00");
    }
}
