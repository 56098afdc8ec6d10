//! What the CLI and `vadev-agent` share, and the agent itself. Compiled without the `cli` feature too: the agent is built
//! that way, so that its static binary stays a few MB.

pub(crate) mod base64;
mod client;
pub mod command;
pub mod digest;
#[cfg(feature = "cli")]
pub mod embedded;
mod log;
#[cfg(feature = "cli")]
pub mod outgoing;
pub mod protocol;
#[cfg(feature = "cli")]
pub mod remote;
mod scram;
pub mod serve;
pub mod sync;
