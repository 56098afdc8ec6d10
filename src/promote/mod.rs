//! From a profile to production manifests: the k8s/ tree of platform.md, its checks, and semantic differences. Pure: the
//! engine writes files, asks clusters and pushes images.

pub mod base;
pub mod check;
pub mod diff;
pub mod environment;
mod equal;
pub mod harden;
pub mod images;
mod readme;
pub mod reasons;
pub mod secrets;
pub mod stack;
pub mod target;
pub mod tree;

pub use check::{Finding, Severity, check};
pub use diff::{Difference, Explanation, differences};
pub use environment::Environment;
pub use reasons::Reasons;
pub use stack::production_stack;
pub use target::{Target, Version};
pub use tree::{Tree, tree};

#[cfg(test)]
mod parity_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod stated_tests;
#[cfg(test)]
mod tests;
