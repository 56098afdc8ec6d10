//! Looking the machine over before anything is started. All checks run side by side and take well under two seconds; what needs
//! an answer from outside has a deadline of its own.

mod beforehand;
mod cache;
mod docker;
mod files;
mod fix;
mod host;
mod network;
mod ports;
mod proc;
mod programs;
mod report;
mod table;

pub use beforehand::{beforehand, judged, kubernetes};
pub use docker::publishers;
pub use files::{default_kubeconfig, stale as lock_is_stale};
pub use fix::{Fix, fix};
pub use ports::{Holder, Publisher, holder as port_holder};
pub use report::{Check, Report, Severity, State};
pub use table::table;

use crate::supply::cache::Cache;
use crate::supply::tools::Version;
use std::path::PathBuf;
use std::time::Instant;

/// What the machine is looked over for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of vadev's own kind cluster, which may hold the ports.
    pub cluster: String,
    /// The ingress ports, http and https.
    pub ports: Vec<u16>,
    /// The Kubernetes release that is to run.
    pub kubernetes: Version,
    /// vadev's cache folder.
    pub cache: PathBuf,
    /// vadev's state folder.
    pub state: PathBuf,
    /// The kubeconfig that kind writes to.
    pub kubeconfig: PathBuf,
}

/// Runs every check.
pub async fn run(options: &Options) -> Report {
    let begun = Instant::now();
    let cache = Cache::at(&options.cache);
    let tools = async {
        match &cache {
            Ok(cache) => programs::probe(cache).await,
            // The check of the cache tells why.
            Err(_) => Vec::new(),
        }
    };
    let (docker, reached, tools, compose, brought) = tokio::join!(
        docker::facts(&options.state),
        network::probe(),
        tools,
        programs::compose(),
        programs::brought()
    );
    let mut checks = docker.checks(&options.cluster);
    checks.push(host::cgroups(
        docker.cgroup_version().or_else(host::cgroup_version),
        options.kubernetes,
    ));
    checks.push(host::cpus(docker.cpus()));
    checks.push(host::memory(docker.memory()));
    checks.extend(
        docker
            .root()
            .map(|root| host::disk("disk-docker", "Disk for Docker", &root)),
    );
    checks.push(host::disk("disk-cache", "Disk for the cache", &options.cache));
    checks.push(cache::check(cache.as_ref()));
    checks.extend(host::inotify());
    let publishers = docker.publishers();
    checks.extend(
        options
            .ports
            .iter()
            .map(|port| ports::check(*port, &ports::holder(*port, &publishers), &options.cluster)),
    );
    checks.push(files::kubeconfig(&options.kubeconfig));
    checks.extend(network::checks(&reached));
    checks.extend(brought);
    checks.extend(programs::checks(&tools, network::packages_needed(&reached)));
    checks.push(compose);
    Report::new(checks, begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_check_has_a_name_of_its_own_and_a_hint_where_needed() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            cluster: "no-such-cluster".into(),
            ports: vec![0],
            kubernetes: Version::new(1, 34, 4),
            cache: folder.path().join("cache"),
            state: folder.path().join("state"),
            kubeconfig: folder.path().join("config"),
        };
        let report = run(&options).await;
        let mut ids: Vec<&str> = report.checks.iter().map(|check| check.id.as_str()).collect();
        assert!(ids.len() >= 15, "{ids:?}");
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
        for check in &report.checks {
            assert!(!check.value.is_empty(), "{check:?}");
            assert_eq!(check.state == State::Problem, check.hint.is_some(), "{check:?}");
        }
    }
}
