//! The crate's build script.

fn main() {}
