//! The steps of an `up`, as a graph: whatever does not need another runs beside it.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::observed::{ClusterState, MeshState, Observed};
use super::reconcile::{Change, reconcile};
use super::step::{Action, Plan, PlanStep};
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
    /// Whether the nodes pull from a registry, to which images are pushed, instead of being given them.
    pub pushes: bool,
    /// Whether the stack is the whole profile: only then is what is not in it pruned.
    pub whole: bool,
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
    let (live, scaled) = (&observed.objects, &observed.scaled);
    let (changes, gone) = reconcile(desired.objects, live, scaled, desired.whole);
    draft.objects(changes);
    draft.unready();
    draft.swap();
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

    fn creates_cluster(&self) -> bool {
        matches!(
            self.observed.cluster,
            ClusterState::Missing | ClusterState::Broken(_)
        )
    }

    fn images(&mut self) {
        // A cluster that is there has its nodes; a newer node image is for the next one.
        let nodes = self
            .desired
            .images
            .get(CLUSTER)
            .filter(|_| !self.creates_cluster());
        for (reference, cause) in &self.observed.images_to_supply {
            if nodes.is_some_and(|images| images.contains(reference)) {
                continue;
            }
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
        let mut needs: Vec<String> = node_images
            .map(|reference| format!("image/{reference}"))
            .collect();
        if self.creates_cluster() {
            needs.extend(self.tool("kind"));
        }
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

    /// A step of its own, so that a tool is compiled while there is still something else to wait for.
    fn tool(&mut self, name: &str) -> Option<String> {
        let cause = self.observed.tools_to_supply.get(name)?.clone();
        let id = format!("tool/{name}");
        let action = Action::SupplyTool(name.to_owned());
        self.add(id.clone(), format!("Get {name}"), cause, vec![], action);
        Some(id)
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
        let all_missing = self.creates_cluster();
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
            let (title, cause) = if self.desired.pushes {
                ("Push to the registry", "not in the registry")
            } else {
                ("Load into the nodes", "not in the nodes")
            };
            self.add(
                format!("ship/{component}"),
                format!("{title}: {}", lacking.join(", ")),
                cause.into(),
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
            // Who shares a cluster shares its Istio: what one of them has installed, another does not install anew.
            MeshState::Installed(there) if there != digest && !self.desired.pushes => "installation changed",
            MeshState::Damaged(what) => what,
            MeshState::Installed(_) => {
                self.certificate();
                return;
            }
            MeshState::Foreign => return,
        };
        let mut needs = vec!["api".to_owned(), format!("ship/{MESH}")];
        needs.extend(self.tool("istioctl"));
        self.add(
            "mesh".into(),
            "Install Istio".into(),
            cause.into(),
            needs,
            Action::InstallMesh,
        );
        // Services need what injects their sidecars; the gateway they need not wait for.
        self.add(
            "gateway".into(),
            "Wait for the ingress gateway".into(),
            cause.into(),
            vec!["mesh".into()],
            Action::WaitGateway,
        );
    }

    /// Installing Istio brings one; here it was lost since, or never came to be.
    fn certificate(&mut self) {
        if let Some(secret) = &self.observed.certificate_missing {
            self.add(
                "certificate".into(),
                "Give the ingress gateway a certificate".into(),
                format!("{secret} missing"),
                vec!["api".into()],
                Action::ServeCertificate,
            );
        }
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

    /// What an interrupted run has applied, or what a started node has not brought back yet, is waited for as well.
    fn unready(&mut self) {
        let desired = self.desired;
        for object in desired.objects {
            let (id, component) = (object.id(), object.component().to_owned());
            let step = format!("ready/{component}");
            let waits = matches!(id.kind.as_str(), "Deployment" | "StatefulSet") && !self.ids.contains(&step);
            let live = self.observed.objects.get(&id);
            if waits && live.is_some_and(unready) {
                let title = format!("Wait for {component}");
                let needs = vec![
                    "cluster".to_owned(),
                    "mesh".to_owned(),
                    format!("apply/{component}"),
                ];
                self.add(
                    step,
                    title,
                    "not ready yet".into(),
                    needs,
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

    /// The Deployment's template names a moving tag and does not change with it, so no rollout follows from a new image.
    fn swap(&mut self) {
        for (service, cause) in &self.observed.stale {
            if !self.desired.images.contains_key(service) {
                continue;
            }
            let needs = ["ship", "apply", "ready"].map(|step| format!("{step}/{service}"));
            self.add(
                format!("swap/{service}"),
                format!("Start the new {service}"),
                cause.clone(),
                needs.to_vec(),
                Action::Swap(service.clone()),
            );
        }
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

/// Whether a workload's status says that replicas are missing. One without a status says nothing.
fn unready(live: &serde_json::Value) -> bool {
    let number = |pointer: &str| live.pointer(pointer).and_then(serde_json::Value::as_u64);
    live.get("status").is_some()
        && number("/status/readyReplicas").unwrap_or(0) < number("/spec/replicas").unwrap_or(1)
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
