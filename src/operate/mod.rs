//! Working with a deployment: looking at it, rolling out, configuring, backing up. Every function takes a [`Site`], a
//! cluster with the platform in it, whoever made that cluster; nothing here knows kind or Docker.

pub mod arrival;
pub mod audit;
pub mod backup;
pub mod changes;
pub mod configure;
pub mod dashboards;
mod der;
pub mod describe;
pub mod enforce;
pub mod error;
pub mod events;
pub mod exec;
pub mod hpa;
pub mod logs;
pub mod mesh;
pub mod netpol;
pub mod query;
mod readable;
pub mod revisions;
pub mod rollout;
mod site;
mod steady;
pub mod terminal;
pub mod tls;
pub mod top;

pub use error::OperateError;
pub use site::{Site, Workload};
pub use steady::Steady;
