//! The containers of a project, as the engine sees them. Both generations of the tool label them alike.

use std::collections::{BTreeMap, HashMap};

use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use serde::Serialize;

use crate::supply::SupplyError;

/// Compose's label for the project.
const PROJECT: &str = "com.docker.compose.project";
/// Compose's label for the service.
const SERVICE: &str = "com.docker.compose.service";
/// Compose's label for a container that a `run` made.
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// The service it belongs to.
    pub service: String,
    /// Its own name.
    pub container: String,
    /// `running`, `exited`, `restarting` …
    pub state: String,
    /// `healthy`, `starting`, `unhealthy`; `None` where it is not asked.
    pub health: Option<String>,
    /// Exit code, where it has ended.
    pub exit_code: Option<i64>,
    /// The image.
    pub image: String,
}

impl ContainerStatus {
    /// Runs and is healthy, or has done what it was there for.
    pub fn is_good(&self) -> bool {
        match self.state.as_str() {
            "running" => self.health.as_deref().is_none_or(|health| health == "healthy"),
            "exited" => self.exit_code == Some(0),
            _ => false,
        }
    }

    /// In words.
    pub fn spoken(&self) -> String {
        match (&self.health, self.exit_code) {
            (Some(health), _) => format!("{} ({health})", self.state),
            (None, Some(code)) => format!("{} with {code}", self.state),
            (None, None) => self.state.clone(),
        }
    }
}

/// The containers of a project, by service.
pub async fn list(docker: &Docker, project: &str) -> Result<Vec<ContainerStatus>, SupplyError> {
    let filters = HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let listed = docker.list_containers(Some(options)).await;
    let listed = listed.map_err(SupplyError::engine(format!("list the containers of {project}")))?;
    let mut all: Vec<ContainerStatus> = listed.iter().filter_map(status).collect();
    all.sort_by(|a, b| (&a.service, &a.container).cmp(&(&b.service, &b.container)));
    Ok(all)
}

fn status(container: &ContainerSummary) -> Option<ContainerStatus> {
    let labels = container.labels.as_ref()?;
    if labels
        .get(ONE_OFF)
        .is_some_and(|one_off| one_off.eq_ignore_ascii_case("true"))
    {
        return None;
    }
    let name = container
        .names
        .as_ref()?
        .first()?
        .trim_start_matches('/')
        .to_owned();
    let words = container.status.clone().unwrap_or_default();
    Some(ContainerStatus {
        service: labels.get(SERVICE)?.clone(),
        container: name,
        state: container
            .state
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        health: health(&words),
        exit_code: exit_code(&words),
        image: container.image.clone().unwrap_or_default(),
    })
}

/// From `Up 5 seconds (health: starting)`: engines before 2025 tell it in words only.
fn health(words: &str) -> Option<String> {
    let inner = words.rsplit_once('(')?.1.trim_end_matches(')');
    let inner = inner.strip_prefix("health: ").unwrap_or(inner);
    ["healthy", "unhealthy", "starting"]
        .contains(&inner)
        .then(|| inner.to_owned())
}

/// From `Exited (137) 2 minutes ago`.
fn exit_code(words: &str) -> Option<i64> {
    words.strip_prefix("Exited (")?.split_once(')')?.0.parse().ok()
}

/// What is not good yet, in words: service → state.
pub fn waiting(all: &[ContainerStatus], expected: &[String]) -> BTreeMap<String, String> {
    let absent = expected
        .iter()
        .filter(|name| all.iter().all(|one| one.service != **name));
    let absent = absent.map(|name| (name.clone(), "not there".to_owned()));
    let bad = all
        .iter()
        .filter(|one| !one.is_good())
        .map(|one| (one.service.clone(), one.spoken()));
    absent.chain(bad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_words_are_understood() {
        assert_eq!(
            health("Up 5 seconds (health: starting)").as_deref(),
            Some("starting")
        );
        assert_eq!(health("Up 2 minutes (healthy)").as_deref(), Some("healthy"));
        assert_eq!(health("Up 2 minutes"), None);
        assert_eq!(health("Exited (0) 3 seconds ago"), None);
        assert_eq!(exit_code("Exited (137) 3 seconds ago"), Some(137));
    }

    #[test]
    fn what_is_missing_is_waited_for_too() {
        let one = |state: &str, health: Option<&str>, exit_code| ContainerStatus {
            service: "redis".into(),
            container: "vadev-x-redis-1".into(),
            state: state.into(),
            health: health.map(str::to_owned),
            exit_code,
            image: "redis".into(),
        };
        assert!(one("exited", None, Some(0)).is_good() && !one("exited", None, Some(1)).is_good());
        assert!(one("running", Some("healthy"), None).is_good());
        let all = [one("running", Some("starting"), None)];
        let expected = ["redis".to_owned(), "nacos".to_owned()];
        assert_eq!(
            waiting(&all, &expected),
            BTreeMap::from([
                ("nacos".into(), "not there".into()),
                ("redis".into(), "running (starting)".into())
            ])
        );
    }
}
