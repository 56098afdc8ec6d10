//! How this machine reaches package registries, for builds in containers: they are to reach them the same way. Only
//! addresses are taken over, never files of this machine, which a container has not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Proxies; builders know these names by themselves, and neither keep nor show their values.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"];
/// Settings of Go, from the environment or from `go env -w`.
const GO: [&str; 7] = [
    "GOPROXY",
    "GOPRIVATE",
    "GONOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOINSECURE",
    "GOAUTH",
];
/// Settings of pip, from the environment or from its files.
const PIP: [(&str, &str); 4] = [
    ("PIP_INDEX_URL", "index-url"),
    ("PIP_EXTRA_INDEX_URL", "extra-index-url"),
    ("PIP_TRUSTED_HOST", "trusted-host"),
    ("PIP_DEFAULT_TIMEOUT", "timeout"),
];
/// Settings of npm.
const OTHERS: [&str; 1] = ["NPM_CONFIG_REGISTRY"];

/// Build arguments that say how packages are reached. A Dockerfile declares the ones that it wants (`ARG GOPROXY`); images
/// of vadev's own declare them by themselves, and builders know proxies without being told.
pub fn package_settings() -> BTreeMap<String, String> {
    let variable = |name: &str| std::env::var(name).ok();
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    settings(&variable, &read)
}

fn settings(
    variable: &dyn Fn(&str) -> Option<String>,
    read: &dyn Fn(&Path) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let docker = read(&home.join(".docker/config.json")).unwrap_or_default();
    found.extend(docker_proxies(&docker));
    for name in PROXIES {
        for name in [name.to_owned(), name.to_ascii_uppercase()] {
            found.extend(variable(&name).map(|value| (name, value)));
        }
    }
    let config = variable("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let go_file = variable("GOENV").map_or_else(|| config.join("go/env"), PathBuf::from);
    let go_file = read(&go_file).unwrap_or_default();
    for name in GO {
        let written = go_file
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let value = variable(name).or_else(|| written.map(str::to_owned));
        found.extend(value.map(|value| (name.to_owned(), value)));
    }
    // Later files win over earlier ones, and variables over all.
    let files = [
        PathBuf::from("/etc/pip.conf"),
        home.join(".pip/pip.conf"),
        config.join("pip/pip.conf"),
    ];
    for file in files.iter().filter_map(|path| read(path)) {
        for (name, key) in PIP {
            found.extend(pip_value(&file, key).map(|value| (name.to_owned(), value)));
        }
    }
    for name in PIP.iter().map(|(name, _)| *name).chain(OTHERS) {
        found.extend(variable(name).map(|value| (name.to_owned(), value)));
    }
    found.retain(|_, value| !value.is_empty() && !is_local(value));
    found
}

/// A path of this machine means nothing in a container.
fn is_local(value: &str) -> bool {
    value.starts_with('/') || value.contains("file://")
}

/// What the `docker` command gives every build.
fn docker_proxies(text: &str) -> Vec<(String, String)> {
    let config: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let set = &config["proxies"]["default"];
    let names = [
        ("httpProxy", "http_proxy"),
        ("httpsProxy", "https_proxy"),
        ("noProxy", "no_proxy"),
        ("allProxy", "all_proxy"),
    ];
    names
        .iter()
        .filter_map(|(key, name)| Some(((*name).to_owned(), set[*key].as_str()?.to_owned())))
        .flat_map(|(name, value)| [(name.to_ascii_uppercase(), value.clone()), (name, value)])
        .collect()
}

/// A key of a section that `pip install` reads.
fn pip_value(text: &str, key: &str) -> Option<String> {
    let mut in_section = false;
    let mut found: Option<String> = None;
    let mut continued = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            in_section = matches!(trimmed, "[global]" | "[install]");
            continued = false;
        } else if in_section && continued && line.starts_with([' ', '\t']) && !trimmed.is_empty() {
            // Several values stand on lines of their own.
            let so_far = found.get_or_insert_default();
            so_far.push(' ');
            so_far.push_str(trimmed);
        } else if in_section {
            let (name, value) = trimmed.split_once(['=', ':']).unwrap_or((trimmed, ""));
            continued = name.trim().replace('_', "-") == key;
            if continued {
                found = Some(value.trim().to_owned());
            }
        }
    }
    found.map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_over_and_paths_are_not() {
        let variables = [
            ("HOME", "/h"),
            ("GOPROXY", "https://go.example"),
            ("PIP_INDEX_URL", "https://b.example/simple"),
            ("PIP_CERT", "/x"),
            ("https_proxy", "http://p:1"),
            ("GONOSUMDB", ""),
        ];
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let read = |path: &Path| {
            match path.to_str()? {
            "/h/.config/go/env" => Some("GOSUMDB=off\nGOPROXY=file:///mods\n".to_owned()),
            "/etc/pip.conf" => Some(
                "[global]\nindex-url = https://a.example\nextra_index_url =\n  https://c.example\n  https://d.example\n[x]\ntimeout=3"
                    .to_owned(),
            ),
            "/h/.docker/config.json" => Some(r#"{"proxies":{"default":{"httpProxy":"http://d:2"}}}"#.to_owned()),
            _ => None,
        }
        };
        let found = settings(&variable, &read);
        let expected = [
            ("GOPROXY", "https://go.example"),
            ("GOSUMDB", "off"),
            ("HTTP_PROXY", "http://d:2"),
            ("PIP_EXTRA_INDEX_URL", "https://c.example https://d.example"),
            ("PIP_INDEX_URL", "https://b.example/simple"),
            ("http_proxy", "http://d:2"),
            ("https_proxy", "http://p:1"),
        ];
        let found: Vec<(&str, &str)> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected);
    }
}
