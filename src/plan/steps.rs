//! The steps of an `up`, as a graph: whatever does not need another runs beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use indexmap::IndexMap;
use serde::Serialize;

use super::observed::{ClusterState, MeshState, Observed};
use super::reconcile::{Change, reconcile};
use crate::profile::Stack;
use crate::render::{Object, ObjectId};

/// Everything that is wanted, as values.
#[derive(Debug, Clone)]
pub struct Desired<'a> {
    /// The resolved platform.
    pub stack: &'a Stack,
    /// Its objects.
    pub objects: &'a [Object],
    /// Images that a component's pods need: component → references. `mesh` and `cluster` are components too.
    pub images: &'a IndexMap<String, Vec<String>>,
    /// Digest of Istio's installation file; `None` where there is no mesh or it is left alone (`--skip-istio`).
    pub mesh_digest: Option<&'a str>,
    /// Whether the stack is the whole profile: only then is what is not in it pruned.
    pub whole: bool,
}

/// What a step does. The engine carries it out and decides nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Have the image in the Docker engine.
    SupplyImage(String),
    /// Remove what is left of a cluster whose creation never ended.
    RemoveBroken,
    /// Make the cluster.
    CreateCluster,
    /// Wait until its nodes take images, which they do long before the API server answers.
    WaitNodes,
    /// Wait until its API server answers, which it does before kind has come to its end.
    WaitApi,
    /// Start or unpause its nodes and wait for the API server.
    StartCluster,
    /// Have the images in every node.
    ShipImages(Vec<String>),
    /// Install Istio and wait until it injects.
    InstallMesh,
    /// Apply objects.
    Apply(Vec<Change>),
    /// Wait until the component's workloads are ready.
    Wait(String),
    /// Remove objects.
    Prune(Vec<ObjectId>),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanStep {
    /// Unique: `image/…`, `remove`, `cluster`, `nodes`, `api`, `ship/…`, `mesh`, `apply/…`, `ready/…`, `prune`.
    pub id: String,
    /// For people.
    pub title: String,
    /// Why.
    pub cause: String,
    /// Ids of steps that must have ended well before.
    pub needs: Vec<String>,
    /// What it does.
    pub action: Action,
}

/// The steps, each after those it needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// In a valid order.
    pub steps: Vec<PlanStep>,
}

/// A step as JSON and in `--dry-run`.
#[derive(Debug, Clone, Serialize)]
pub struct StepView<'a> {
    /// Id.
    pub id: &'a str,
    /// Title.
    pub title: &'a str,
    /// Cause.
    pub cause: &'a str,
    /// What it waits for.
    pub needs: &'a [String],
    /// Objects that it applies or removes.
    pub objects: Vec<String>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
    /// For `--dry-run -o json`.
    pub fn view(&self) -> Vec<StepView<'_>> {
        let objects = |action: &Action| match action {
            Action::Apply(changes) => changes
                .iter()
                .map(|change| format!("{} ({})", change.object.id(), change.cause))
                .collect(),
            Action::Prune(ids) => ids.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        self.steps
            .iter()
            .map(|step| StepView {
                id: &step.id,
                title: &step.title,
                cause: &step.cause,
                needs: &step.needs,
                objects: objects(&step.action),
            })
            .collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            let after = if step.needs.is_empty() {
                String::new()
            } else {
                format!("  [after {}]", step.needs.join(", "))
            };
            writeln!(f, "{}: {} ({}){after}", step.id, step.title, step.cause)?;
        }
        Ok(())
    }
}

/// Name under which cluster-wide images stand in [`Desired::images`].
pub const CLUSTER: &str = "cluster";
/// Name of the mesh as a component.
pub const MESH: &str = "mesh";
/// Name of the namespaces as a component.
const NAMESPACES: &str = "namespaces";

/// Decides what has to be done.
pub fn plan(desired: &Desired<'_>, observed: &Observed) -> Plan {
    let mut draft = Draft {
        desired,
        observed,
        steps: Vec::new(),
        ids: BTreeSet::new(),
    };
    draft.images();
    draft.cluster();
    draft.ship();
    draft.mesh();
    let (changes, gone) = reconcile(desired.objects, &observed.objects, desired.whole);
    draft.objects(changes);
    draft.prune(gone);
    Plan { steps: draft.steps }
}

struct Draft<'a> {
    desired: &'a Desired<'a>,
    observed: &'a Observed,
    steps: Vec<PlanStep>,
    ids: BTreeSet<String>,
}

impl Draft<'_> {
    /// Adds a step; of the needs only those that are in the plan stay.
    fn add(&mut self, id: String, title: String, cause: String, needs: Vec<String>, action: Action) {
        let needs = needs.into_iter().filter(|need| self.ids.contains(need)).collect();
        self.ids.insert(id.clone());
        self.steps.push(PlanStep {
            id,
            title,
            cause,
            needs,
            action,
        });
    }

    fn images(&mut self) {
        for (reference, cause) in &self.observed.images_to_supply {
            let title = format!("Get image {reference}");
            self.add(
                format!("image/{reference}"),
                title,
                cause.clone(),
                vec![],
                Action::SupplyImage(reference.clone()),
            );
        }
    }

    fn cluster(&mut self) {
        let node_images = self.desired.images.get(CLUSTER).into_iter().flatten();
        let needs: Vec<String> = node_images
            .map(|reference| format!("image/{reference}"))
            .collect();
        let id = "cluster".to_owned();
        let (title, cause, action) = match &self.observed.cluster {
            ClusterState::Running => return,
            ClusterState::Missing => {
                self.create_cluster("missing", &needs);
                return;
            }
            ClusterState::Broken(why) => {
                // First, or its old nodes would be taken for the new ones.
                let title = "Remove the unfinished cluster".to_owned();
                self.add(
                    "remove".to_owned(),
                    title,
                    why.clone(),
                    needs,
                    Action::RemoveBroken,
                );
                self.create_cluster(why, &["remove".to_owned()]);
                return;
            }
            ClusterState::Stopped => ("Start the cluster", "stopped", Action::StartCluster),
            ClusterState::Paused => ("Resume the cluster", "paused", Action::StartCluster),
        };
        self.add(id, title.into(), cause.into(), needs, action);
    }

    /// Two steps look on while the cluster is made, so they need what its creation needs and not its end.
    fn create_cluster(&mut self, cause: &str, needs: &[String]) {
        let steps = [
            ("cluster", "Create the kind cluster", Action::CreateCluster),
            ("nodes", "Wait for the nodes", Action::WaitNodes),
            ("api", "Wait for the API server", Action::WaitApi),
        ];
        for (id, title, action) in steps {
            self.add(id.into(), title.into(), cause.to_owned(), needs.to_vec(), action);
        }
    }

    /// One step a component, so that the first to be had is the first to be shipped. An image that several need goes
    /// with the first of them.
    fn ship(&mut self) {
        let all_missing = matches!(
            self.observed.cluster,
            ClusterState::Missing | ClusterState::Broken(_)
        );
        let mut planned = BTreeSet::new();
        for (component, references) in self.desired.images {
            if component == CLUSTER {
                continue;
            }
            let missing = |reference: &&String| {
                all_missing
                    || self.observed.images_to_ship.contains(*reference)
                    || self.observed.images_to_supply.contains_key(*reference)
            };
            let lacking: Vec<String> = references
                .iter()
                .filter(missing)
                .filter(|r| planned.insert((*r).clone()))
                .cloned()
                .collect();
            if lacking.is_empty() {
                continue;
            }
            let mut needs = vec!["nodes".to_owned()];
            needs.extend(lacking.iter().map(|reference| format!("image/{reference}")));
            let title = format!("Load into the nodes: {}", lacking.join(", "));
            self.add(
                format!("ship/{component}"),
                title,
                "not in the nodes".into(),
                needs,
                Action::ShipImages(lacking),
            );
        }
    }

    fn mesh(&mut self) {
        let Some(digest) = self.desired.mesh_digest else {
            return;
        };
        let cause = match &self.observed.mesh {
            MeshState::Missing => "missing",
            MeshState::Installed(there) if there != digest => "installation changed",
            MeshState::Installed(_) | MeshState::Foreign => return,
        };
        let needs = vec!["api".to_owned(), format!("ship/{MESH}")];
        self.add(
            "mesh".into(),
            "Install Istio".into(),
            cause.into(),
            needs,
            Action::InstallMesh,
        );
    }

    fn objects(&mut self, changes: Vec<Change>) {
        let mut by_component: IndexMap<String, Vec<Change>> = IndexMap::new();
        for change in changes {
            by_component
                .entry(change.object.component().to_owned())
                .or_default()
                .push(change);
        }
        let shipped_by = self.shippers();
        for (component, changes) in by_component {
            let id = format!("apply/{component}");
            let mut needs = vec!["api".to_owned()];
            if component != NAMESPACES {
                needs.push(format!("apply/{NAMESPACES}"));
            }
            // Istio's kinds exist only once it is installed, and a pod made before it injects has no sidecar.
            if component == MESH
                || self
                    .desired
                    .stack
                    .services
                    .iter()
                    .any(|sized| sized.service.name == component)
            {
                needs.push("mesh".to_owned());
            }
            needs.extend(shipped_by.get(&component).cloned().unwrap_or_default());
            let cause = summary(&changes);
            let workloads = changes
                .iter()
                .any(|change| matches!(change.object.id().kind.as_str(), "Deployment" | "StatefulSet"));
            self.add(
                id.clone(),
                format!("Apply {component}"),
                cause.clone(),
                needs,
                Action::Apply(changes),
            );
            if workloads {
                let title = format!("Wait for {component}");
                self.add(
                    format!("ready/{component}"),
                    title,
                    cause,
                    // A pod that waits for what kind brings last, the storage class, is no reason to worry.
                    vec![id, "cluster".to_owned()],
                    Action::Wait(component),
                );
            }
        }
    }

    /// Which ship steps bring a component's images.
    fn shippers(&self) -> BTreeMap<String, Vec<String>> {
        let steps_of = |reference: &String| {
            self.steps
                .iter()
                .find(|step| matches!(&step.action, Action::ShipImages(images) if images.contains(reference)))
        };
        let of_component = |references: &Vec<String>| {
            references
                .iter()
                .filter_map(steps_of)
                .map(|step| step.id.clone())
                .collect()
        };
        self.desired
            .images
            .iter()
            .map(|(component, references)| (component.clone(), of_component(references)))
            .collect()
    }

    fn prune(&mut self, gone: Vec<ObjectId>) {
        if gone.is_empty() {
            return;
        }
        let cause = "no longer in the profile".to_owned();
        self.add(
            "prune".into(),
            format!("Remove objects: {}", gone.len()),
            cause,
            vec!["api".into()],
            Action::Prune(gone),
        );
    }
}

/// One cause for several objects: `missing`, or the first drift with its object.
fn summary(changes: &[Change]) -> String {
    if changes.iter().all(|change| change.cause == "missing") && changes.len() > 1 {
        return "missing".to_owned();
    }
    match changes {
        [only] => format!("{}: {}", only.object.id(), only.cause),
        [first, rest @ ..] => format!("{}: {} and {} more", first.object.id(), first.cause, rest.len()),
        [] => String::new(),
    }
}
