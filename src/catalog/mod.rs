//! The catalog: what the platform consists of, one YAML file a component, with its production facts. Pure: text comes in
//! as values, problems go out with file, line and column.

pub mod infrastructure;
pub mod quantity;
pub mod service;

pub use infrastructure::{Group, Infrastructure, Workload, WorkloadKind};
pub use quantity::{Bytes, MilliCpu};
pub use service::Service;
