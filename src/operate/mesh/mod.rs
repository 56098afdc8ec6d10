//! The mesh as it really is: what a proxy was told, whether it took it, and who can reach whom through it.

pub mod asking;
pub mod connectivity;
pub mod proxy;
pub mod status;
