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
            word(kind, "+._-") && !sum.is_empty() && sum.chars().all(is_digest_digit)
        })
}

/// A digit of a digest: registries know no upper case ones.
pub fn is_digest_digit(c: char) -> bool {
    matches!(c, '0'..='9' | 'a'..='f')
}

/// The name of an image without tag and digest.
pub fn is_image_repository(text: &str) -> bool {
    is_image(text) && !text.contains('@') && is_image(&format!("{text}:x"))
}

/// The tag of an image.
pub fn is_image_tag(text: &str) -> bool {
    !text.contains(['/', ':', '@']) && is_image(&format!("x:{text}"))
}

/// What a probe asks for: a path, and no query, fragment or white space, which neither routes nor rules could name.
pub fn is_url_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#".contains(c))
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
            "ghcr.io/a/b@sha256:00af",
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
            "ghcr.io/a/b@sha256:00aF",
        ] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    #[test]
    fn names_tags_and_paths_are_told_from_whole_images_and_addresses() {
        for (text, repository, tag, path) in [
            ("ghcr.io/acme/cart", true, false, false),
            ("localhost:5000/cart", true, false, false),
            ("ghcr.io/acme/Cart:1.0", false, false, false),
            ("ghcr.io/acme/cart:1.0", false, false, false),
            ("1.0_", true, true, false),
            ("-x-", false, false, false),
            ("/a/b", false, false, true),
            ("/a?b=c", false, false, false),
            ("/a#b", false, false, false),
            ("/a b", false, false, false),
            ("a", true, true, false),
        ] {
            assert_eq!(
                (is_image_repository(text), is_image_tag(text), is_url_path(text)),
                (repository, tag, path),
                "{text}"
            );
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
