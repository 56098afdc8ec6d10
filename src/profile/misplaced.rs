//! What stands in a workspace file or profile and means nothing there.

use std::path::{Component, Path, PathBuf};

use globset::Glob;
use indexmap::IndexMap;

use super::Workspace;
use super::profile::ResourceOverride;
use super::workspace::SyncRule;
use crate::catalog::load::Document;
use crate::catalog::problem::nearest;
use crate::catalog::semantic::{self, help};
use crate::catalog::tree::Step;
use crate::catalog::tree::Step::{Item, Key};
use crate::catalog::{Catalog, Problem};

/// A problem for each key of a field that `known` has not; `told` finds the words: what is wrong, and what would help.
fn unknown<'k, T>(
    document: &Document<'_, T>,
    field: &str,
    keys: impl Iterator<Item = &'k String>,
    known: &[String],
    told: impl Fn(&String) -> (String, String),
) -> Vec<Problem> {
    keys.filter(|name| !known.contains(name))
        .map(|name| {
            let (message, help) = told(name);
            document.key_problem(&[Key(field)], name, message, Some(help))
        })
        .collect()
}

fn nothing_called(name: &str) -> String {
    format!("nothing in the catalog is called `{name}`")
}

/// A problem for each key of a field that names nothing in the catalog.
pub fn unknown_keys<'k, T>(
    document: &Document<'_, T>,
    field: &str,
    keys: impl Iterator<Item = &'k String>,
    known: &[String],
) -> Vec<Problem> {
    unknown(document, field, keys, known, |name| {
        (nothing_called(name), help(name, known))
    })
}

/// Services that nothing is known of. A name of one's own needs a whole entry, and a system's stands elsewhere.
pub(super) fn unknown_services(
    document: &Document<'_, Workspace>,
    services: &[String],
    systems: &[String],
) -> Vec<Problem> {
    let keys = document.entry.services.keys();
    unknown(document, "services", keys, services, |name| {
        if systems.contains(name) {
            let help = "it is a system: state it under `infrastructure`".to_owned();
            return (format!("`{name}` is no service"), help);
        }
        let help = if nearest(name, services.iter().map(String::as_str)).is_some() {
            help(name, services)
        } else {
            format!(
                "{}; one of your own is described under `extraServices`",
                help(name, services)
            )
        };
        (nothing_called(name), help)
    })
}

/// Systems that nothing is known of. A service's name stands elsewhere.
pub(super) fn unknown_systems(
    document: &Document<'_, Workspace>,
    services: &[String],
    systems: &[String],
) -> Vec<Problem> {
    let keys = document.entry.infrastructure.keys();
    unknown(document, "infrastructure", keys, systems, |name| {
        if services.contains(name) {
            let help = "it is a service: state it under `services`".to_owned();
            (format!("`{name}` is no system"), help)
        } else {
            (nothing_called(name), help(name, systems))
        }
    })
}

/// Settings that are credentials, or hold a placeholder that nothing fills in.
pub fn wrong_settings<'k, T>(
    document: &Document<'_, T>,
    field: &str,
    entries: impl Iterator<Item = (&'k String, &'k IndexMap<String, String>)>,
    catalog: &Catalog,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, config) in entries {
        for (key, value) in config {
            if let Some((message, help)) = catalog.wrong_setting(name, key, value) {
                let path = [Key(field), Key(name), Key("config")];
                problems.push(document.key_problem(&path, key, message, Some(help)));
            }
        }
    }
    problems
}

/// A limit below the request beside it: only one of them can be meant.
pub fn contradictions<T>(
    document: &Document<'_, T>,
    base: &[Step<'_>],
    resources: &ResourceOverride,
) -> Vec<Problem> {
    let ResourceOverride { requests, limits } = resources;
    let mut problems = Vec::new();
    let mut low = |field: &str, limit: String, request: String| {
        let path = [base, &[Key("resources"), Key("limits"), Key(field)]].concat();
        let message = format!("the {field} limit {limit} is below the request {request}");
        problems.push(document.problem(&path, message, None));
    };
    if let (Some(limit), Some(request)) = (limits.cpu, requests.cpu)
        && limit < request
    {
        low("cpu", limit.to_string(), request.to_string());
    }
    if let (Some(limit), Some(request)) = (limits.memory, requests.memory)
        && limit < request
    {
        low("memory", limit.to_string(), request.to_string());
    }
    problems
}

/// More replicas than one of a system that runs once.
pub fn apart<'k, T>(
    document: &Document<'_, T>,
    field: &str,
    replicas: impl Iterator<Item = (&'k String, Option<u32>)>,
    catalog: &Catalog,
) -> Vec<Problem> {
    let problem = |(name, replicas): (&'k String, Option<u32>)| {
        let replicas = replicas.filter(|count| *count > 1)?;
        catalog.unreplicable(name)?;
        let path = [Key(field), Key(name), Key("replicas")];
        let help = "leave it out: it runs once".to_owned();
        Some(document.problem(&path, semantic::apart(name, replicas), Some(help)))
    };
    replicas.filter_map(problem).collect()
}

/// Sync rules that lead out of the source or to no place in the container, whose patterns are none, and that can never act
/// because an earlier one takes all of theirs.
pub(super) fn check_sync(document: &Document<'_, Workspace>) -> Vec<Problem> {
    let leads_out = |path: &str| path.split('/').any(|part| part == "..");
    let mut problems = Vec::new();
    for (name, service) in &document.entry.services {
        for (index, rule) in service.sync.iter().flatten().enumerate() {
            let base = [Key("services"), Key(name), Key("sync"), Item(index)];
            if rule.from.starts_with('/') || leads_out(&rule.from) {
                let message = format!("`{}` is no path below the service's source", rule.from);
                problems.push(document.problem(&[&base[..], &[Key("from")]].concat(), message, None));
            }
            if leads_out(&rule.to) || rule.to.trim_matches('/').is_empty() {
                let message = format!("`{}` is no place to sync to", rule.to);
                let help = Some("name a file or folder below `/`".to_owned());
                problems.push(document.problem(&[&base[..], &[Key("to")]].concat(), message, help));
            }
            for (at, pattern) in rule.ignore.iter().enumerate() {
                if let Err(error) = Glob::new(pattern) {
                    let message = format!("`{pattern}` is no pattern: {}", error.kind());
                    let path = [&base[..], &[Key("ignore"), Item(at)]].concat();
                    problems.push(document.problem(&path, message, None));
                }
            }
            let mut earlier = service.sync.iter().flatten().take(index);
            if let Some(first) = earlier.find(|first| takes_all(first, rule)) {
                let message = format!(
                    "`{}` is taken by the rule for `{}` before it",
                    rule.from, first.from
                );
                let help =
                    Some("the first rule that takes a file decides: put this one before that".to_owned());
                problems.push(document.problem(&[&base[..], &[Key("from")]].concat(), message, help));
            }
        }
    }
    problems
}

/// Whether a rule takes everything that a later one is for.
fn takes_all(first: &SyncRule, later: &SyncRule) -> bool {
    let plain = |path: &str| -> PathBuf {
        let parts = Path::new(path).components();
        parts
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect()
    };
    let from = plain(&later.from);
    let Ok(rest) = from.strip_prefix(plain(&first.from)) else {
        return false;
    };
    let left_out = |pattern: &String| {
        let glob = Glob::new(pattern).map(|glob| glob.compile_matcher());
        glob.is_ok_and(|glob| rest.ancestors().any(|part| glob.is_match(part)))
    };
    rest.as_os_str().is_empty() || !first.ignore.iter().any(left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_takes_what_it_does_not_ignore() {
        let rule = |from: &str, ignore: &[&str]| SyncRule {
            from: from.to_owned(),
            to: "/x".to_owned(),
            ignore: ignore.iter().map(ToString::to_string).collect(),
        };
        for (first, ignore, later, takes) in [
            ("app", &[][..], "./app/", true),
            (".", &[], "app/sub", true),
            ("app", &["other"], "app/sub", true),
            ("app/sub", &[], "app", false),
            ("app", &["sub"], "app/sub/deep", false),
            ("app", &[], "application", false),
        ] {
            assert_eq!(
                takes_all(&rule(first, ignore), &rule(later, &[])),
                takes,
                "{first} {later}"
            );
        }
    }
}
