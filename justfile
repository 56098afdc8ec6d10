# Chores. `just` lists them.

_list:
    @just --list --unsorted

# Format every source file, also the verbs, which a macro declares and `cargo fmt` therefore does not find
format:
    cargo fmt
    rustfmt --edition 2024 src/cli/*.rs

# What is quick: format, lints, tests without a cluster
check:
    cargo fmt --check
    rustfmt --edition 2024 --check src/cli/*.rs
    cargo clippy --all-targets -- -D warnings
    cargo test

# Everything, with the tests on a real cluster
test:
    cargo test && cargo test --test e2e -- --include-ignored --test-threads=1

# The end-to-end tests that need more images, a cluster that is not vadev's, or the container engine for themselves
test-slow:
    cargo test --features slow --lib toolchain
    cargo test --test e2e --features slow -- --include-ignored --test-threads=1 applied:: compose:: elsewhere:: monitoring:: reload_engine::

# The platform on this machine, and away again
up *ARGS:
    cargo run --release -- up {{ARGS}}
down *ARGS:
    cargo run --release -- down {{ARGS}}

# Accept changed snapshots after looking at `git diff`
snapshots:
    INSTA_UPDATE=always cargo test --test cli

# Write the Compose files of every profile anew
compose:
    cargo run -- compose render --out compose-equivalents

# Licences, advisories, banned crates (needs cargo-deny)
licenses:
    cargo deny check

# P4, P5, P7, P10 against kind, istioctl and kubectl in the same run; needs kubectl on PATH
bench-up:
    cargo build --release
    tests/bench/up.sh

# P9: from an empty machine to the verified platform; refuses a machine that is not empty
bench-cold:
    tests/bench/cold.sh

# P1 and P8 on a cluster of their own: save to served, beside Tilt and Skaffold where they are here, and 100,000 watched files
bench-reload:
    cargo build --release
    tests/bench/reload.py target/release/vadev

# Verbs that read against kubectl doing the same, in the workspace's folder WORKSPACE, whose platform has to run
bench-verbs WORKSPACE=".":
    cargo build --release
    cd {{WORKSPACE}} && {{justfile_directory()}}/tests/bench/verbs.sh "${CARGO_TARGET_DIR:-{{justfile_directory()}}/target}/release/vadev"

# P2 and P3: rebuilt images to served, beside Tilt and Skaffold if here, and images into nodes against kind; needs python3, kubectl
bench-images:
    cargo build --release
    tests/bench/images.sh
    tests/bench/swap.py target/release/vadev
    tests/bench/swap.py target/release/vadev --skip-istio
