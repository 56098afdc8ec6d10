//! The container engine: reachable, new enough, able to run privileged containers; and what was left in it.

use super::ports::Publisher;
use super::report::{Check, Severity};
use crate::supply::SupplyError;
use crate::supply::docker::{self, DockerError};
use crate::supply::engine::probe::{self, Privileged};
use crate::supply::engine::stamp::Stamp;
use crate::supply::engine::{install, privilege, start, wrapper};
use crate::supply::tools::{Range, Version};
use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, SystemInfo};
use bollard::query_parameters::{ListContainersOptions, ListContainersOptionsBuilder};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Docker 20.10 (API 1.41) is the oldest that was tried.
pub const SUPPORTED: Range = Range::from(Version::new(20, 10, 0));

/// The label by which kind marks its nodes.
const KIND_LABEL: &str = "io.x-k8s.kind.cluster";

/// How long the doctor waits for a privileged container.
const PROBE: Duration = Duration::from_secs(10);

/// What the engine told.
#[derive(Debug, Default)]
pub struct Facts {
    /// Where it is, and who said so.
    pub endpoint: String,
    /// Why it does not answer.
    pub absent: Option<String>,
    /// What it says of itself.
    pub info: Option<SystemInfo>,
    /// All containers, stopped ones too.
    pub containers: Vec<ContainerSummary>,
    /// Whether privileged containers work; `None` if that could not be found out.
    pub privileged: Option<Privileged>,
}

/// Asks the engine. `state` is vadev's state folder.
pub async fn facts(state: &Path) -> Facts {
    let endpoint =
        docker::endpoint().map_or_else(|e| e.to_string(), |e| format!("{} ({})", e.host, e.origin));
    let docker = match docker::connect().await {
        Ok(docker) => docker,
        Err(error) => {
            return Facts {
                endpoint,
                absent: Some(reason(error)),
                ..Facts::default()
            };
        }
    };
    let all = ListContainersOptionsBuilder::default().all(true).build();
    let listed = docker.list_containers(Some(all));
    let (info, containers, privileged) = tokio::join!(docker.info(), listed, privileged(&docker, state));
    Facts {
        endpoint,
        absent: None,
        info: info.ok(),
        containers: containers.unwrap_or_default(),
        privileged,
    }
}

fn reason(error: DockerError) -> String {
    match error {
        DockerError::Unreachable { reason, .. } => reason,
        other @ DockerError::Context { .. } => other.to_string(),
    }
}

async fn privileged(docker: &Docker, state: &Path) -> Option<Privileged> {
    if let Some(path) = wrapper::broken() {
        return Some(Privileged::Refused(format!(
            "the registered runtime {path} is gone"
        )));
    }
    let stamp = Stamp::take(docker).await.ok()?;
    if stamp.holds(state) {
        return Some(Privileged::Works);
    }
    let answer = tokio::time::timeout(PROBE, probe::privileged(docker))
        .await
        .ok()?
        .ok()?;
    if answer == Privileged::Works {
        stamp.keep(state);
    }
    Some(answer)
}

impl Facts {
    /// Running containers that publish ports.
    pub fn publishers(&self) -> Vec<Publisher> {
        self.containers
            .iter()
            .filter(|container| is(container, ContainerSummaryStateEnum::RUNNING))
            .map(publisher)
            .collect()
    }

    /// The engine's own folder, where it is this machine's.
    pub fn root(&self) -> Option<PathBuf> {
        let root = PathBuf::from(self.info.as_ref()?.docker_root_dir.as_ref()?);
        root.is_dir().then_some(root)
    }

    /// The engine's memory in bytes.
    pub fn memory(&self) -> Option<u64> {
        u64::try_from(self.info.as_ref()?.mem_total?).ok()
    }

    /// The engine's CPUs.
    pub fn cpus(&self) -> Option<u64> {
        u64::try_from(self.info.as_ref()?.ncpu?).ok()
    }

    /// The version of the engine's control groups.
    pub fn cgroup_version(&self) -> Option<u8> {
        self.info
            .as_ref()?
            .cgroup_version
            .as_ref()?
            .to_string()
            .parse()
            .ok()
    }

    /// The checks of the engine; `cluster` is the name of vadev's own kind cluster.
    pub fn checks(&self, cluster: &str) -> Vec<Check> {
        if let Some(reason) = &self.absent {
            return vec![self.absence(reason)];
        }
        let mut checks = vec![self.version()];
        checks.push(privileged_check(self.privileged.as_ref()));
        checks.push(leftovers(&self.containers, cluster));
        checks
    }

    fn absence(&self, reason: &str) -> Check {
        let check = |value: &str| Check::ok("docker", "Docker engine", value);
        let installed = privilege::find_program("dockerd").is_some();
        if !self.endpoint.starts_with(docker::DEFAULT_SOCKET) || cfg!(not(target_os = "linux")) {
            return check(&format!("{} does not answer: {reason}", self.endpoint)).problem(
                Severity::Error,
                "start it, or choose another with `docker context use` or DOCKER_HOST",
            );
        }
        if reason.contains("ermission denied") {
            return check("this user may not use its socket").problem(
                Severity::Error,
                "sudo usermod -aG docker \"$USER\" && newgrp docker",
            );
        }
        if installed {
            let hint = if start::under_systemd() {
                "sudo systemctl start docker"
            } else {
                "vadev doctor --fix"
            };
            return check("installed, but not running")
                .problem(Severity::Error, hint)
                .fixable();
        }
        let absent = check("not installed");
        if install::possible() {
            let hint = format!(
                "sudo apt-get install --no-install-recommends {}",
                install::PACKAGES.join(" ")
            );
            return absent.problem(Severity::Error, hint).fixable();
        }
        absent.problem(
            Severity::Error,
            "install Docker: https://docs.docker.com/engine/install",
        )
    }

    fn version(&self) -> Check {
        let text = self
            .info
            .as_ref()
            .and_then(|info| info.server_version.clone())
            .unwrap_or_default();
        let value = format!("{text} at {}", self.endpoint);
        let check = Check::ok("docker", "Docker engine", value.clone());
        match Version::find(&text) {
            Some(version) if SUPPORTED.contains(version) => check,
            Some(_) => Check {
                value: format!("{value}; {SUPPORTED} needed"),
                ..check
            }
            .problem(
                Severity::Error,
                "upgrade Docker: https://docs.docker.com/engine/install",
            ),
            // Podman and development builds name versions of their own.
            None => check.unknown(),
        }
    }
}

fn privileged_check(answer: Option<&Privileged>) -> Check {
    let check = |value: &str| Check::ok("privileged", "Privileged containers", value);
    match answer {
        Some(Privileged::Works) => check("work"),
        Some(Privileged::Refused(reason)) => {
            let check = check(&format!("refused: {}", reason.trim()));
            let mend = check.problem(
                Severity::Error,
                "use an engine that may start privileged containers",
            );
            if start::running().is_some() {
                mend.fixable()
            } else {
                mend
            }
        }
        None => check("could not be tried").unknown(),
    }
}

fn leftovers(containers: &[ContainerSummary], cluster: &str) -> Check {
    let (id, title) = ("leftovers", "Left over in Docker");
    let ours = |container: &&ContainerSummary| {
        label(container, "app.kubernetes.io/managed-by").as_deref() == Some("vadev")
            && !is(container, ContainerSummaryStateEnum::RUNNING)
    };
    let probes = containers.iter().filter(ours).count();
    if probes > 0 {
        return Check::ok(id, title, format!("{probes} ended containers of vadev's own"))
            .problem(
                Severity::Info,
                "docker container prune --filter label=app.kubernetes.io/managed-by=vadev",
            )
            .fixable();
    }
    let node = containers
        .iter()
        .find(|container| label(container, KIND_LABEL).as_deref() == Some(cluster));
    match node {
        None => Check::ok(id, title, "nothing"),
        Some(node) if is(node, ContainerSummaryStateEnum::RUNNING) => {
            Check::ok(id, title, format!("nothing; cluster {cluster} is running"))
        }
        Some(_) => Check::ok(id, title, format!("cluster {cluster} is stopped"))
            .problem(Severity::Info, "vadev up starts it again, vadev down removes it"),
    }
}

fn is(container: &ContainerSummary, state: ContainerSummaryStateEnum) -> bool {
    container.state == Some(state)
}

fn label(container: &ContainerSummary, name: &str) -> Option<String> {
    container.labels.as_ref()?.get(name).cloned()
}

/// The running containers that publish ports.
pub async fn publishers(docker: &Docker) -> Result<Vec<Publisher>, SupplyError> {
    // Stopped containers are not listed unless asked for.
    let listed = docker.list_containers(None::<ListContainersOptions>).await;
    let listed = listed.map_err(SupplyError::engine("list containers"))?;
    Ok(listed.iter().map(publisher).collect())
}

fn publisher(container: &ContainerSummary) -> Publisher {
    let name = container
        .names
        .iter()
        .flatten()
        .next()
        .map_or("", |name| name.trim_start_matches('/'));
    let ports = container
        .ports
        .iter()
        .flatten()
        .filter_map(|port| port.public_port);
    Publisher {
        container: name.to_owned(),
        cluster: label(container, KIND_LABEL),
        ports: ports.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(state: ContainerSummaryStateEnum, key: &str, value: &str) -> ContainerSummary {
        ContainerSummary {
            names: Some(vec!["/x-control-plane".into()]),
            state: Some(state),
            labels: Some([(key.to_owned(), value.to_owned())].into()),
            ports: Some(vec![bollard::models::PortSummary {
                public_port: Some(8080),
                ..Default::default()
            }]),
            ..Default::default()
        }
    }

    #[test]
    fn a_stopped_cluster_is_told_and_a_foreign_one_is_not() {
        let stopped = [container(ContainerSummaryStateEnum::EXITED, KIND_LABEL, "vadev")];
        assert_eq!(leftovers(&stopped, "vadev").value, "cluster vadev is stopped");
        assert_eq!(leftovers(&stopped, "other").value, "nothing");
        let probe = [container(
            ContainerSummaryStateEnum::EXITED,
            "app.kubernetes.io/managed-by",
            "vadev",
        )];
        assert!(leftovers(&probe, "vadev").fixable);
    }

    #[test]
    fn only_running_containers_hold_ports() {
        let containers = vec![
            container(ContainerSummaryStateEnum::EXITED, KIND_LABEL, "vadev"),
            container(ContainerSummaryStateEnum::RUNNING, KIND_LABEL, "vadev"),
        ];
        let facts = Facts {
            containers,
            ..Facts::default()
        };
        let expected = Publisher {
            container: "x-control-plane".into(),
            cluster: Some("vadev".into()),
            ports: vec![8080],
        };
        assert_eq!(facts.publishers(), [expected]);
    }

    #[test]
    fn versions_are_held_against_the_range() {
        let facts = |version: &str| {
            let info = SystemInfo {
                server_version: Some(version.to_owned()),
                ..Default::default()
            };
            Facts {
                info: Some(info),
                ..Facts::default()
            }
            .version()
        };
        assert_eq!(facts("20.10.24+dfsg1").trouble(), None);
        assert_eq!(facts("28.2.2").trouble(), None);
        assert_eq!(facts("19.03.15").trouble(), Some(Severity::Error));
    }

    #[test]
    fn a_foreign_engine_is_not_ours_to_start() {
        let facts = Facts {
            endpoint: "tcp://far:2375 (DOCKER_HOST)".into(),
            ..Facts::default()
        };
        let check = facts.absence("connection refused");
        assert_eq!((check.trouble(), check.fixable), (Some(Severity::Error), false));
    }
}
