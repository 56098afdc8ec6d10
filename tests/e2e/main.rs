//! End to end, on a real cluster that vadev makes itself. All tests share it and run one at a time: each begins by asking
//! for a running platform, which costs two seconds where there is one. None asserts times.
//!
//! `cargo test --release --test e2e -- --include-ignored`

mod harness;

mod lifecycle;
mod mesh;
mod platform;
mod recovery;
