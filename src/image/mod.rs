//! Images on their way into nodes: as streams, to all nodes at once, and only the layers that a node lacks.
//!
//! [`missing`] says what is not there (one cheap command per node), [`ship`] brings it.

mod assemble;
mod error;
mod export;
mod inventory;
mod layout;
mod local_store;
mod node;
mod reference;
mod ship;
mod source;

pub use error::ImageError;
pub use layout::chain_ids;
pub use node::node_output;
pub use reference::full_name;
pub use ship::{Missing, Shipped, missing, ship};
