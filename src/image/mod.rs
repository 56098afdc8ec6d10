//! Images on their way into nodes: as streams, to all nodes at once, and only the layers that a node lacks.
//!
//! [`missing`] says what is not there (one cheap command per node), [`ship`] brings it. [`build`] makes an image from a
//! workspace's source, [`Base::append`] one out of the last build and a few changed files.

mod append;
mod assemble;
mod build;
mod chunks;
mod context;
mod dockerfile;
mod dockerignore;
mod error;
mod export;
mod instructions;
mod inventory;
mod layer;
mod layout;
mod listing;
mod local_store;
mod node;
mod reference;
mod ship;
mod source;
mod surroundings;
mod tags;
mod wanted;

pub use append::{Appended, Base};
pub use build::{BuildRequest, Built, SERVICE_LABEL, build, engine_id, repository_digests};
pub use context::{Context, OUTSIDE, beside, ignore_of, read_dockerfile};
pub use dockerfile::{Base as BaseImage, Dockerfile};
pub use dockerignore::DockerIgnore;
pub use error::ImageError;
pub use instructions::{Instruction, instructions, unquoted, words};
pub use layer::{Overlay, OverlayKind, Overlays};
pub use layout::chain_ids;
pub use listing::Listing;
pub use node::node_output;
pub use reference::{exact, full_name, moving};
pub use ship::{Shipped, ship, ship_appended};
pub use surroundings::package_settings;
pub use tags::{Held, held, prune, retag};
pub use wanted::{Missing, missing};
