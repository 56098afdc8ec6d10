//! Texts that a cluster takes for something: labels, images, keys of configuration.

/// A name that Kubernetes takes for a Service.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && text.as_bytes()[0].is_ascii_lowercase()
        && !text.ends_with('-')
}

/// The label that a text would be.
pub(super) fn as_label(text: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let label: String = text.to_lowercase().chars().map(plain).take(63).collect();
    let label = label.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let label = label.trim_end_matches('-');
    is_dns_label(label).then(|| label.to_owned())
}

/// What is said of a text that [`is_image`] refuses.
pub const IMAGE: &str = "is no image such as ghcr.io/team/name:1.0";

/// A name that a container engine takes for an image: host, lower case path, tag, digest.
pub fn is_image(text: &str) -> bool {
    let (rest, digest) = text
        .split_once('@')
        .map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    let colon = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
    let (name, tag) = colon.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
    let word = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let path = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => {
            if !word(host, ".-:") {
                return false;
            }
            path
        }
        _ => name,
    };
    let part = |part: &str| word(part, "._-") && !part.contains(|c: char| c.is_ascii_uppercase());
    path.split('/').all(part)
        && tag.is_none_or(|tag| tag.len() <= 128 && word(tag, "._-"))
        && digest.is_none_or(|digest| {
            let (kind, sum) = digest.split_once(':').unwrap_or_default();
            word(kind, "+._-") && !sum.is_empty() && sum.chars().all(|c| c.is_ascii_hexdigit())
        })
}

/// What is said of a text that [`is_config_key`] refuses.
pub const CONFIG_KEY: &str =
    "is no name of a variable: letters, digits, `_`, `-` and `.`, and no digit first";

/// A name that Kubernetes takes both for a key of a `ConfigMap` and for an environment variable.
pub fn is_config_key(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=253).contains(&text.len())
        && text.chars().all(plain)
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text != "."
        && !text.starts_with("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_told_from_other_texts() {
        for good in [
            "redis",
            "redis:7",
            "localhost/x",
            "localhost:5000/a/b_c:V1.0",
            "ghcr.io/a/b@sha256:00aF",
            "Registry.example.com/a--b/c.d:1@sha256:12",
        ] {
            assert!(is_image(good), "{good}");
        }
        for bad in [
            "",
            "UPPER case:latest:x",
            "a b",
            "Team/name",
            "a:",
            "a/",
            "a@sha256:",
            "https://a/b",
            "a:b:c",
            "a@12",
        ] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    #[test]
    fn keys_are_told_from_other_texts() {
        for good in ["LOG_LEVEL", "a.b-c", ".x"] {
            assert!(is_config_key(good), "{good}");
        }
        for bad in ["", "a b", "1a", "a!", "..a", "ü"] {
            assert!(!is_config_key(bad), "{bad}");
        }
    }
}
