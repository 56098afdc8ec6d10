//! End to end, on a real cluster that vadev makes itself. All tests share it and run one at a time: each begins by asking
//! for a running platform, which costs two seconds where there is one. None asserts times.
//!
//! `cargo test --release --test e2e -- --include-ignored`

#![cfg_attr(not(feature = "unproven"), allow(dead_code))]

mod harness;
mod sample;

mod data;
mod lifecycle;
mod mesh;
mod platform;
mod recovery;

// Written and compiled, and not yet seen to pass as a whole: `cargo test --test e2e --features unproven -- --include-ignored
// --test-threads=1`. A module moves up when it has passed.
#[cfg(feature = "unproven")]
mod capacity;
#[cfg(feature = "unproven")]
mod compose;
#[cfg(feature = "unproven")]
mod elsewhere;
#[cfg(feature = "unproven")]
mod images;
#[cfg(feature = "unproven")]
mod monitoring;
#[cfg(feature = "unproven")]
mod nodes;
#[cfg(feature = "unproven")]
mod operate_backup;
#[cfg(feature = "unproven")]
mod operate_context;
#[cfg(feature = "unproven")]
mod operate_look;
#[cfg(feature = "unproven")]
mod operate_mesh;
#[cfg(feature = "unproven")]
mod operate_rollout;
#[cfg(feature = "unproven")]
mod policy;
#[cfg(feature = "unproven")]
mod promote;
#[cfg(feature = "unproven")]
mod reload;
#[cfg(feature = "unproven")]
mod reload_ways;
