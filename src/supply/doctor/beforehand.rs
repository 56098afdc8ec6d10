//! The checks that cost nothing, and whose trouble would only show minutes into making a cluster.

use super::docker::Facts;
use super::host;
use super::report::{Check, Severity};
use crate::failure::{Family, Plain};
use crate::supply::machine;
use crate::supply::recipe::Book;
use crate::supply::tools::Version;
use bollard::Docker;
use std::path::Path;

/// The recipe whose version is the Kubernetes release that runs.
const NODE: &str = "node";

/// The Kubernetes release that runs in vadev's clusters.
pub fn kubernetes(book: &Book) -> Option<Version> {
    Version::find(&book.recipe(NODE).ok()?.version)
}

/// Looks over what a cluster that is about to be made needs beside CPU, memory and ports. Those that find nothing wrong are
/// among them.
pub async fn beforehand(docker: &Docker, kubernetes: Version, cache: &Path) -> Vec<Check> {
    let facts = Facts {
        info: docker.info().await.ok(),
        ..Facts::default()
    };
    checks(&facts, machine::is_elsewhere(), kubernetes, cache)
}

/// Of an engine elsewhere this machine's kernel and disks say nothing; only the cache is here.
fn checks(facts: &Facts, elsewhere: bool, kubernetes: Version, cache: &Path) -> Vec<Check> {
    let here = || host::cgroup_version().filter(|_| !elsewhere);
    let groups = facts.cgroup_version().or_else(here);
    let mut checks = vec![host::cgroups(groups, kubernetes)];
    if !elsewhere {
        let root = facts.root();
        checks.extend(root.map(|root| host::disk("disk-docker", "Disk for Docker", &root)));
        checks.extend(host::inotify());
    }
    checks.push(host::disk("disk-cache", "Disk for the cache", cache));
    checks
}

/// What of them to warn of, with hints; an error is a refusal with all of them.
pub fn judged(checks: &[Check]) -> Result<Vec<(String, Option<String>)>, Plain> {
    let of = |severity| {
        checks
            .iter()
            .filter(move |check| check.trouble() == Some(severity))
    };
    let told = |check: &Check| format!("{}: {}", check.title, check.value);
    let errors: Vec<&Check> = of(Severity::Error).collect();
    let Some(first) = errors.first() else {
        return Ok(of(Severity::Warning)
            .map(|check| (told(check), check.hint.clone()))
            .collect());
    };
    let message = format!("no cluster can be made here: {}", told(first));
    let more = errors[1..].iter().map(|check| {
        let hint = check.hint.as_deref().unwrap_or_default();
        format!("{}: {hint}", told(check))
    });
    let refused = Plain::new(Family::Environment, message).with_details(more.collect());
    Err(match &first.hint {
        Some(hint) => refused.with_hint(hint),
        None => refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Diagnose;

    #[test]
    fn errors_refuse_and_warnings_are_told() {
        let fine = Check::ok("a", "A", "fine");
        let low = Check::ok("i", "inotify", "8").problem(Severity::Warning, "raise it");
        let full = Check::ok("d", "Disk", "none").problem(Severity::Error, "free some");
        let old = Check::ok("c", "Groups", "v1").problem(Severity::Error, "boot anew");
        assert_eq!(
            judged(&[fine.clone(), low.clone()]).expect("goes on"),
            [("inotify: 8".to_owned(), Some("raise it".to_owned()))]
        );
        let refused = judged(&[fine, low, full, old]).expect_err("refused");
        assert_eq!(refused.to_string(), "no cluster can be made here: Disk: none");
        assert_eq!(refused.hint().as_deref(), Some("free some"));
        assert_eq!(refused.details(), ["Groups: v1: boot anew"]);
        assert_eq!(refused.family(), Family::Environment);
    }

    #[test]
    fn of_an_engine_elsewhere_only_its_own_word_counts() {
        let ids = |elsewhere| {
            let folder = tempfile::tempdir().expect("folder");
            let found = checks(
                &Facts::default(),
                elsewhere,
                Version::new(1, 34, 4),
                folder.path(),
            );
            found.into_iter().map(|check| check.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(true), ["cgroups", "disk-cache"]);
        #[cfg(target_os = "linux")]
        assert!(ids(false).iter().any(|id| id == "inotify-watches"));
    }

    #[test]
    fn the_release_is_the_node_images() {
        let book = Book::embedded().expect("recipes");
        assert!(kubernetes(&book) >= Some(Version::new(1, 34, 0)));
    }
}
