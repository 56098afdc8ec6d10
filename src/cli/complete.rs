//! Names that a shell completes: services, systems, groups and profiles. They are read from names of embedded files, and from
//! single lines of them, not by parsing, because a completion has ten milliseconds.

use std::ffi::OsStr;
use std::path::Path;

use clap::ValueEnum as _;
use clap_complete::engine::CompletionCandidate;

use super::nearby;
use crate::catalog::{Group, NamedText, embedded_files, embedded_profiles};
use crate::cluster;
use crate::operate::mesh::proxy::Part;
use crate::operate::query::Named;
use crate::render::metrics;
use crate::render::operator::GATEWAY;

/// Profiles beginning with what was typed.
pub fn profiles(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, stems(embedded_profiles(), ""))
}

/// Services beginning with what was typed, the workspace's own among them.
pub fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, stems(files(), "/services/"))
}

/// The catalog's files, those of the workspace beside and over the built-in ones.
fn files() -> Vec<NamedText> {
    let mut files = embedded_files();
    files.extend(nearby::catalog());
    files
}

/// Tools and images that are made from packages, beginning with what was typed.
pub fn recipes(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, crate::supply::recipe_names())
}

/// Contexts of the user's kubeconfig beginning with what was typed.
pub fn contexts(typed: &OsStr) -> Vec<CompletionCandidate> {
    let home = etcetera::home_dir().unwrap_or_default();
    let files = cluster::user_kubeconfigs(std::env::var_os("KUBECONFIG").as_deref(), &home);
    beginning(typed, cluster::contexts(&files))
}

/// The named questions to Prometheus.
pub fn questions(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names = Named::ALL.iter().map(|(name, _)| (*name).to_owned());
    beginning(typed, names.collect())
}

/// The parts of a proxy's configuration.
pub fn parts_of_proxy(typed: &OsStr) -> Vec<CompletionCandidate> {
    let parts = Part::value_variants().iter().filter_map(Part::to_possible_value);
    beginning(typed, parts.map(|part| part.get_name().to_owned()).collect())
}

/// Keys of the configuration of the service that stands on the command line already.
pub fn config_keys(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, keys_of_service("config"))
}

/// As [`config_keys`], with the `=` that a value follows.
pub fn config_pairs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let keys = keys_of_service("config").into_iter();
    beginning(typed, keys.map(|key| format!("{key}=")).collect())
}

/// Keys of the Secret of the service that stands on the command line already.
pub fn secret_keys(typed: &OsStr) -> Vec<CompletionCandidate> {
    beginning(typed, keys_of_service("secrets"))
}

fn keys_of_service(section: &str) -> Vec<String> {
    let words: Vec<String> = std::env::args().skip_while(|word| word != "--").collect();
    let mut keys = Vec::new();
    for (name, text) in files().iter().filter(|(name, _)| name.contains("/services/")) {
        let service = Path::new(name).file_stem().and_then(OsStr::to_str);
        if words.iter().any(|word| Some(word.as_str()) == service) {
            keys.extend(nearby::keys(text, section));
        }
    }
    keys
}

/// Services, systems and the systems' parts beginning with what was typed: what verbs that operate know by name.
pub fn workloads(typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut names = stems(files(), "/services/");
    names.extend(stems(files(), "/infrastructure/"));
    let systems = files().into_iter();
    let systems = systems.filter(|(name, _)| name.contains("/infrastructure/"));
    names.extend(systems.flat_map(|(_, text)| parts(&text)));
    // What is in the cluster without being in the catalog.
    names.extend(["istiod", GATEWAY, metrics::NAME].map(str::to_owned));
    beginning(typed, names)
}

/// The names of a system's workloads, from the lines that give them: parsing the file would take too long here.
fn parts(text: &str) -> Vec<String> {
    let lines = text.lines().skip_while(|line| *line != "workloads:").skip(1);
    let inside = lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    inside
        .filter_map(|line| Some(line.strip_prefix("  - name: ")?.trim().to_owned()))
        .collect()
}

/// Services, systems and groups beginning with what was typed.
pub fn components(typed: &OsStr) -> Vec<CompletionCandidate> {
    let groups = [
        Group::CoreStorage,
        Group::SearchAnalytics,
        Group::Messaging,
        Group::ObjectStorage,
        Group::Monitoring,
    ];
    let mut names = stems(files(), "/services/");
    names.extend(stems(files(), "/infrastructure/"));
    names.extend(groups.iter().map(|group| group.name().to_owned()));
    names.extend(["services", "infrastructure"].map(str::to_owned));
    beginning(typed, names)
}

/// Backups in the folder where they are made by default.
pub fn backups(typed: &OsStr) -> Vec<CompletionCandidate> {
    let entries = std::fs::read_dir("backups").into_iter().flatten();
    let names = entries.filter_map(|entry| Some(format!("backups/{}", entry.ok()?.file_name().to_str()?)));
    let ours = |name: &String| name.ends_with(".sql.gz") || name.ends_with(".rdb.gz");
    beginning(typed, names.filter(ours).collect())
}

fn stems(files: Vec<NamedText>, folder: &str) -> Vec<String> {
    let names = files
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.contains(folder));
    names
        .filter_map(|name| Some(Path::new(&name).file_stem()?.to_str()?.to_owned()))
        .collect()
}

fn beginning(typed: &OsStr, mut names: Vec<String>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| name.starts_with(typed.as_ref()))
        .map(CompletionCandidate::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(candidates: &[CompletionCandidate]) -> Vec<&str> {
        candidates
            .iter()
            .filter_map(|candidate| candidate.get_value().to_str())
            .collect()
    }

    #[test]
    fn completes_what_the_catalog_has() {
        assert_eq!(names(&services(OsStr::new("agent"))), ["agent-engine"]);
        assert_eq!(services(OsStr::new("")).len(), 14);
        assert_eq!(
            names(&workloads(OsStr::new("postg"))),
            ["postgres", "postgres-exporter"]
        );
        assert_eq!(
            names(&workloads(OsStr::new("minio"))),
            ["minio", "minio-standalone"]
        );
        assert_eq!(names(&components(OsStr::new("mes"))), ["messaging"]);
        assert!(names(&profiles(OsStr::new(""))).contains(&"dev"));
    }

    #[test]
    fn the_parts_are_those_of_the_catalog() {
        let catalog = crate::catalog::load(&embedded_files()).unwrap();
        let mut parsed: Vec<&str> = Vec::new();
        for system in catalog.infrastructure.values() {
            parsed.extend(system.workloads.iter().map(|workload| workload.name.as_str()));
        }
        parsed.sort_unstable();
        let systems = embedded_files().into_iter();
        let systems = systems.filter(|(name, _)| name.contains("/infrastructure/"));
        let mut read: Vec<String> = systems.flat_map(|(_, text)| parts(&text)).collect();
        read.sort_unstable();
        assert_eq!(read, parsed);
    }
}
