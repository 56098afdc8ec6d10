//! Image names in full, as containerd keeps them.

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

#[cfg(test)]
mod tests {
    use super::full_name;

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
