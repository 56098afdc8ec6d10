//! What in an environment file only a cluster would refuse, each thing in its own way.

use super::{Environment, SecretMode, TokenIssuer};
use crate::catalog::load::Document;
use crate::catalog::text::{IMAGE, is_image};
use crate::catalog::tree::Step;
use crate::catalog::tree::Step::{Item, Key};
use crate::catalog::{Catalog, Problem};
use crate::profile::targets;

/// Images that mean several workloads or are named twice, and services without replicas.
pub(super) fn images(document: &Document<'_, Environment>, catalog: &Catalog) -> Vec<Problem> {
    let environment = &document.entry;
    let overridden: Vec<String> = environment
        .overrides
        .iter()
        .filter(|(_, change)| change.image.is_some())
        .flat_map(|(name, _)| targets(catalog, name).unwrap_or_default())
        .collect();
    let mut problems = Vec::new();
    for name in environment.images.keys() {
        let meant = targets(catalog, name).unwrap_or_default();
        if meant.len() > 1 {
            let message = format!("`{name}` is several workloads, each with an image of its own");
            let help = format!("name them: {}", meant.join(", "));
            problems.push(document.key_problem(&[Key("images")], name, message, Some(help)));
        } else if meant.iter().any(|one| overridden.contains(one)) {
            let message = format!("the image of `{name}` stands under `overrides` too");
            let help = "leave it in one of the two places".to_owned();
            problems.push(document.key_problem(&[Key("images")], name, message, Some(help)));
        }
    }
    for (name, change) in &environment.overrides {
        if change.replicas == Some(0) && catalog.services.contains_key(name) {
            let message =
                format!("`{name}` would have 0 replicas, and in production a service has at least one");
            let help = "take a profile without it, where it is not to run".to_owned();
            let path = [Key("overrides"), Key(name), Key("replicas")];
            problems.push(document.problem(&path, message, Some(help)));
        }
    }
    problems
}

/// A gateway takes names, not addresses.
pub(super) fn hosts(document: &Document<'_, Environment>) -> Vec<Problem> {
    let hosts = &document.entry.hosts;
    let mut problems = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let path = [Key("hosts"), Item(index)];
        let bare = host.split_once("://").map_or(host.as_str(), |(_, rest)| rest);
        let bare = bare.split(['/', ':']).next().unwrap_or_default();
        if !is_host(host) {
            let help = is_host(bare).then(|| format!("write {bare}"));
            let message = format!("`{host}` is no host name such as api.example.com or *.example.com");
            problems.push(document.problem(&path, message, help));
        } else if hosts[..index].contains(host) {
            problems.push(document.problem(&path, format!("`{host}` is named twice"), None));
        }
    }
    problems
}

fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_prefix("*.").unwrap_or(text);
    text == "*" || (text.len() <= 253 && name.split('.').all(label))
}

/// A problem; an empty help is none.
fn told(document: &Document<'_, Environment>, path: &[Step<'_>], message: String, help: &str) -> Problem {
    let help = (!help.is_empty()).then(|| help.to_owned());
    document.problem(path, message, help)
}

/// Texts that only the cluster would refuse, each in its own way.
pub(super) fn texts(document: &Document<'_, Environment>) -> Vec<Problem> {
    let environment = &document.entry;
    let mut problems = Vec::new();
    let mut wrong = |path: &[Step<'_>], message: String, help: &str| {
        problems.push(told(document, path, message, help));
    };
    for (name, image) in &environment.images {
        if !is_image(image) {
            wrong(&[Key("images"), Key(name)], format!("`{image}` {IMAGE}"), "");
        }
    }
    if let Some(TokenIssuer {
        issuer,
        jwks_uri,
        audience,
    }) = &environment.tokens
    {
        if audience
            .as_ref()
            .is_some_and(|audience| audience.trim().is_empty())
        {
            let help = "it is `aud` of its tokens; without the field it is the catalog's";
            wrong(
                &[Key("tokens"), Key("audience")],
                "the audience is empty".to_owned(),
                help,
            );
        }
        if issuer.trim().is_empty() {
            wrong(
                &[Key("tokens"), Key("issuer")],
                "the issuer is empty".to_owned(),
                "it is `iss` of its tokens",
            );
        }
        if !is_address(jwks_uri) {
            let message = format!("`{jwks_uri}` is no address of keys");
            wrong(
                &[Key("tokens"), Key("jwksUri")],
                message,
                "for instance https://login.example.com/keys",
            );
        }
    }
    for (index, name) in environment.image_pull_secrets.iter().enumerate() {
        if !is_object_name(name) {
            let message = format!("`{name}` is no name of a Secret");
            wrong(&[Key("imagePullSecrets"), Item(index)], message, "");
        }
    }
    if let Some(class) = environment
        .storage_class
        .as_ref()
        .filter(|class| !is_object_name(class))
    {
        let message = format!("`{class}` is no name of a storage class");
        wrong(
            &[Key("storageClass")],
            message,
            "kubectl get storageclasses lists them",
        );
    }
    problems.extend(secrets(document));
    problems
}

/// Where Secrets come from: a store that can be found, or none.
fn secrets(document: &Document<'_, Environment>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |path: &[Step<'_>], message: String, help: &str| {
        problems.push(told(document, path, message, help));
    };
    let secrets = &document.entry.secrets;
    if secrets.mode == SecretMode::External && secrets.store.as_ref().is_none_or(String::is_empty) {
        let message = "`mode: external` needs the name of a store".to_owned();
        let help = "add `store: NAME`, as `kubectl get clustersecretstores` lists it";
        wrong(&[Key("secrets")], message, help);
    }
    if let Some(store) = secrets
        .store
        .as_ref()
        .filter(|store| !store.is_empty() && !is_object_name(store))
    {
        let message = format!("`{store}` is no name of a store");
        let help = "kubectl get clustersecretstores lists them";
        wrong(&[Key("secrets"), Key("store")], message, help);
    }
    let kinds = ["ClusterSecretStore", "SecretStore"];
    if !kinds.contains(&secrets.store_kind.as_str()) {
        let message = format!(
            "`storeKind` must be one of {}, and is `{}`",
            kinds.join(", "),
            secrets.store_kind
        );
        wrong(&[Key("secrets"), Key("storeKind")], message, "");
    }
    if !is_duration(&secrets.refresh) {
        let message = format!("`{}` is no duration", secrets.refresh);
        wrong(
            &[Key("secrets"), Key("refresh")],
            message,
            "for instance 15m or 1h",
        );
    }
    let of_store = ["store", "storeKind", "apiVersion", "prefix", "refresh"];
    let stated = of_store
        .iter()
        .find(|field| document.root.has(&[Key("secrets"), Key(field)]));
    if let Some(field) = stated.filter(|_| secrets.mode != SecretMode::External) {
        let message = format!("`{field}` is of a store, and without `mode: external` none is asked");
        wrong(
            &[Key("secrets"), Key(field)],
            message,
            "add `mode: external`, or take it away",
        );
    }
    problems
}

/// Names of what others made: Istio's revision and account, groups of users.
pub(super) fn names(document: &Document<'_, Environment>) -> Vec<Problem> {
    let environment = &document.entry;
    let mut problems = Vec::new();
    let mut wrong = |path: &[Step<'_>], message: String| {
        problems.push(document.problem(path, message, None));
    };
    let mesh = &environment.mesh;
    let accounts = [
        ("revision", &mesh.revision),
        ("ingressServiceAccount", &mesh.ingress_service_account),
    ];
    for (key, name) in accounts {
        // A revision is the value of a label.
        let fits = |name: &str| is_object_name(name) && (key != "revision" || name.len() <= 63);
        if let Some(name) = name.as_ref().filter(|name| !fits(name)) {
            wrong(
                &[Key("mesh"), Key(key)],
                format!("`{name}` is no name that Kubernetes takes"),
            );
        }
    }
    let access = &environment.access;
    for (key, groups) in [("operators", &access.operators), ("viewers", &access.viewers)] {
        for (index, group) in groups.iter().enumerate() {
            if group.trim().is_empty() {
                let message = "a group's name is empty".to_owned();
                wrong(&[Key("access"), Key(key), Item(index)], message);
            }
        }
    }
    problems
}

/// As Go writes one: `1h30m`.
pub(super) fn is_duration(text: &str) -> bool {
    let number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(number);
        let unit: String = after.chars().take_while(char::is_ascii_alphabetic).collect();
        let figure = &rest[..rest.len() - after.len()];
        if figure.parse::<f64>().is_err() || !["ns", "us", "ms", "s", "m", "h"].contains(&unit.as_str()) {
            return text == "0";
        }
        rest = &after[unit.len()..];
    }
    !text.is_empty()
}

/// `https://host:port/path`, as Istio fetches keys from.
pub(super) fn is_address(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest.filter(|rest| !rest.contains(char::is_whitespace)) else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Colons within brackets belong to an address, and only what follows on them is a port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()),
        _ => (authority, Some(443)),
    };
    !host.is_empty() && !host.contains('@') && port.is_some_and(|port| port > 0)
}

/// What Kubernetes takes for the name of most objects.
fn is_object_name(text: &str) -> bool {
    is_host(text) && !text.starts_with('*')
}
