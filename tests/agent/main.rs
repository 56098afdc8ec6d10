//! The sync agent as a real process: sessions, changes, restarts, replays, upgrades.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod changes;
mod harness;
mod hold;
mod latency;
mod service;
