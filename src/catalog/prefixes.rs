//! Prefixes of services: plain paths that are nobody else's, whatever the rules about them say.

use super::load::{Document, Documents};
use super::problem::Problem;
use super::semantic::help;
use super::service::Service;
use super::tree::Step;
use super::tree::Step::{Item, Key};

/// Where a service's own health is asked through the gateway.
pub fn own_health(prefix: &str) -> String {
    format!("{prefix}/health")
}

/// Whether a path is below a prefix.
pub fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// The checks of one service's prefixes. `public` are the paths that the platform itself answers.
pub(super) fn check<T>(
    document: &Document<'_, T>,
    service: &Service,
    base: &[Step<'_>],
    public: &[String],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, prefix) in service.prefixes.iter().enumerate() {
        if let Some((message, help)) = no_prefix(prefix, public) {
            let path = [base, &[Key("prefixes"), Item(index)]].concat();
            problems.push(document.problem(&path, message, Some(help)));
        }
    }
    problems.extend(named(document, service, base));
    problems
}

/// What is wrong with a prefix by itself, and what would help.
fn no_prefix(prefix: &str, public: &[String]) -> Option<(String, String)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let meant = format!("/{}", prefix.trim_matches('/'));
    let platforms = public
        .iter()
        .find(|path| *path == prefix || is_below(path, prefix));
    Some(if meant == "/" {
        (
            format!("the prefix `{prefix}` would take every path"),
            "name the paths that the service answers, such as /api/v1/orders".to_owned(),
        )
    } else if *prefix != meant {
        (
            format!("the prefix `{prefix}` must begin with `/`, and not end with it"),
            format!("write {meant}"),
        )
    } else if !prefix.chars().all(plain) || prefix.contains("//") {
        (
            format!("the prefix `{prefix}` is no plain path"),
            "letters, digits, `-`, `.`, `_`, `~`, and `/` between them".to_owned(),
        )
    } else if let Some(path) = platforms {
        (
            format!("the prefix `{prefix}` holds `{path}`, which the platform answers itself, for everybody"),
            "name the paths that the service answers, such as /api/v1/orders".to_owned(),
        )
    } else {
        return None;
    })
}

/// Why a prefix can't be beside another one, which `holder` has. One below the other may be: the longer one wins.
pub fn taken(prefix: &str, other: &str, holder: &str) -> Option<String> {
    if prefix == other {
        Some(format!("the prefix `{prefix}` is taken already, by {holder}"))
    } else if prefix == own_health(other) {
        Some(format!(
            "at the prefix `{prefix}` the health of {holder} is asked"
        ))
    } else if other == own_health(prefix) {
        Some(format!(
            "`{other}`, the health of the prefix `{prefix}`, is a prefix of {holder}"
        ))
    } else {
        None
    }
}

/// Prefixes of a catalog's services that are where another prefix has its health.
pub(super) fn shadowed(documents: &Documents<'_>) -> Vec<Problem> {
    let all = documents.services.iter().flat_map(|document| {
        let prefixes = document.entry.prefixes.iter().enumerate();
        prefixes.map(move |(index, prefix)| (document, index, prefix))
    });
    let all: Vec<_> = all.collect();
    let mut problems = Vec::new();
    for (document, index, prefix) in &all {
        let other = all.iter().find(|(_, _, other)| **prefix == own_health(other));
        if let Some((holder, _, other)) = other
            && let Some(message) = taken(prefix, other, &holder.entry.name)
        {
            problems.push(document.problem(&[Key("prefixes"), Item(*index)], message, None));
        }
    }
    problems
}

/// Rules about prefixes that the service has not would protect nothing.
fn named<T>(document: &Document<'_, T>, service: &Service, base: &[Step<'_>]) -> Vec<Problem> {
    let access = &service.access;
    let public = access.public.iter().enumerate();
    let public = public.map(|(index, prefix)| (prefix, vec![Key("access"), Key("public"), Item(index)]));
    let roles = access.roles.keys();
    let roles = roles.map(|prefix| (prefix, vec![Key("access"), Key("roles"), Key(prefix)]));
    let limits = service.traffic.rate_limits.keys();
    let limits = limits.map(|prefix| (prefix, vec![Key("traffic"), Key("rateLimits"), Key(prefix)]));
    let unknown = public.chain(roles).chain(limits);
    let unknown = unknown.filter(|(prefix, _)| !service.prefixes.contains(prefix));
    let mut problems: Vec<Problem> = unknown
        .map(|(prefix, path)| {
            let message = format!("`{prefix}` is none of the service's prefixes");
            document.problem(
                &[base, &path].concat(),
                message,
                Some(help(prefix, &service.prefixes)),
            )
        })
        .collect();
    for (index, prefix) in access.public.iter().enumerate() {
        if access.roles.contains_key(prefix) {
            let path = [base, &[Key("access"), Key("public"), Item(index)]].concat();
            let message = format!("`{prefix}` is public and asks for roles");
            problems.push(document.problem(&path, message, None));
        }
    }
    problems
}
