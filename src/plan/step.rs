//! A plan as values: steps, what each does, why, and what it waits for.

use std::fmt;

use serde::Serialize;

use super::reconcile::Change;
use crate::render::ObjectId;

/// What a step does. The engine carries it out and decides nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Have the image in the Docker engine.
    SupplyImage(String),
    /// Have the tool in the cache.
    SupplyTool(String),
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
    /// Give the ingress gateway a certificate.
    ServeCertificate,
    /// Wait until the ingress gateway is ready.
    WaitGateway,
    /// Apply objects.
    Apply(Vec<Change>),
    /// Wait until the component's workloads are ready.
    Wait(String),
    /// Have the service's live pods run the newest image, one after the other.
    Swap(String),
    /// Remove objects.
    Prune(Vec<ObjectId>),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanStep {
    /// Unique: `image/…`, `tool/…`, `remove`, `cluster`, `nodes`, `api`, `ship/…`, `mesh`,
    /// `certificate`, `gateway`, `apply/…`, `ready/…`, `swap/…`, `prune`.
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
#[serde(rename_all = "camelCase")]
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
