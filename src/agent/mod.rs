//! What the CLI and `vadev-agent` share, and the agent itself. Compiled without the `cli` feature too: the agent is built
//! that way, so that its static binary stays a few MB.

pub(crate) mod base64;
mod client;
pub mod command;
pub mod digest;
#[cfg(feature = "cli")]
pub mod embedded;
mod hold;
mod log;
#[cfg(feature = "cli")]
pub mod outgoing;
mod prepare;
pub mod protocol;
#[cfg(feature = "cli")]
pub mod remote;
mod scram;
pub mod serve;
pub mod sync;

#[cfg(feature = "cli")]
pub(crate) use log::rfc3339;
#[cfg(feature = "cli")]
pub(crate) use scram::hmac_sha256;
