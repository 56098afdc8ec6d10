//! End to end, on a real cluster that vadev makes itself. All tests share it and run one at a time: each begins by asking
//! for a running platform, which costs two seconds where there is one. None asserts times.
//!
//! `cargo test --test e2e -- --include-ignored --test-threads=1`, and with `--features slow` the modules that need more images,
//! a cluster that is not vadev's, or the container engine for themselves.

#![cfg_attr(not(feature = "slow"), allow(dead_code))]

mod harness;
mod sample;

mod capacity;
mod data;
mod diagnosis;
mod images;
mod lifecycle;
mod mesh;
mod nodes;
mod operate_backup;
mod operate_context;
mod operate_look;
mod operate_mesh;
mod operate_rollout;
mod own_service;
mod partial;
mod platform;
mod policy;
mod promote;
mod recovery;
mod reload;
mod reload_truth;
mod reload_ways;
mod supply;

#[cfg(feature = "slow")]
mod applied;
#[cfg(feature = "slow")]
mod compose;
#[cfg(feature = "slow")]
mod elsewhere;
#[cfg(feature = "slow")]
mod monitoring;
#[cfg(feature = "slow")]
mod reload_engine;
