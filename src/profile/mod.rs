//! Profiles: which part of the platform runs, and how large. Pure: catalog and profile texts in, a sized [`Stack`] out.

pub mod stack;

pub use stack::Stack;
