//! Saved files on their way into running services.
//!
//! From left to right: [`watch`] says which paths were touched, [`batch`] when a change is over, [`decide`] which way it
//! goes and by which rule, [`machine`] when its turn is; [`apply`] gives it to the [`replicas`] over the connection that a
//! [`link`] keeps to the agent in each pod, [`images`] has them run another image; [`ledger`] remembers how long it took.
//! [`session`] puts it all together for `vadev dev`.

mod apply;
pub mod batch;
mod copied;
mod copy_line;
pub mod decide;
mod dependencies;
pub mod dockerfile;
pub mod draft;
mod error;
pub mod forced;
mod given;
mod go_build;
mod host;
pub mod ignores;
mod images;
pub mod infer;
pub mod inspect;
mod layering;
pub mod ledger;
mod limits;
pub mod link;
mod logs;
pub mod machine;
pub mod memory;
pub mod origin;
mod outcome;
mod patience;
mod pod_state;
pub mod replicas;
mod rounds;
pub mod rules;
mod same;
mod scope;
mod sending;
pub mod service;
pub mod session;
pub mod source;
mod stale;
pub mod swap;
mod telling;
pub mod tree;
#[cfg(test)]
mod tried;
pub mod watch;
mod worker;

pub use error::ReloadError;
pub use ledger::{Ledger, Row, stats};
pub use service::Service;
pub use swap::{Attend, Early, PodSwap, Swap, SwapError};
