//! Profiles: which part of the platform runs, and how large. Pure: catalog and profile texts in, a sized [`Stack`] out.

pub mod capacity;
mod choose;
pub mod edit;
mod load;
mod misplaced;
mod order;
#[allow(clippy::module_inception)]
pub mod profile;
mod resolve;
mod scale;
mod selection;
mod size;
pub mod stack;
pub mod workspace;

pub use capacity::{Capacity, TooSmall, available};
pub use load::{Loaded, Sources, component_names, load_all, problem_in, read_workspace};
pub use misplaced::{apart, contradictions, unknown_keys, wrong_settings};
pub use profile::Profile;
pub use resolve::{resolve, targets};
pub use selection::{ResolveError, Selection, check_replicas};
pub use stack::Stack;
pub use workspace::Workspace;

#[cfg(test)]
pub(crate) use choose::tests::with_cart;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
pub(crate) mod tests;
