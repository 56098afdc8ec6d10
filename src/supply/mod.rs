//! Where tools and images come from: the cache, a container registry, a bundle file, or packages.

pub mod docker;
pub mod doctor;
pub mod engine;
pub mod process;
pub mod pulse;
pub mod tools;
