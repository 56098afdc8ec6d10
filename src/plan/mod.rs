//! From what is wanted and what was observed to an ordered list of steps, each with its cause. Pure: the plan decides, the
//! engine obeys.

pub mod drift;
pub mod observed;
pub mod reconcile;
pub mod step;
pub mod steps;

pub use observed::{ClusterState, MeshState, Observed, scaled};
pub use reconcile::{Change, reconcile};
pub use step::{Action, Plan, PlanStep, StepView};
pub use steps::{Desired, MESH, plan};

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
