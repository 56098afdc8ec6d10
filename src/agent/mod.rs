//! What the CLI and `vadev-agent` share, and the agent itself. Compiled without the `cli` feature too: the agent is built
//! that way, so that its static binary stays a few MB.

pub mod command;
pub mod digest;
#[cfg(feature = "cli")]
pub mod embedded;
pub mod serve;
