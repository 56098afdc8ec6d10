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

# The platform on this machine, and away again
up *ARGS:
    cargo run --release -- up {{ARGS}}
down *ARGS:
    cargo run --release -- down {{ARGS}}

# Accept changed snapshots after looking at `git diff`
snapshots:
    INSTA_UPDATE=always cargo test --test cli

# Licences, advisories, banned crates (needs cargo-deny)
licenses:
    cargo deny check

# P4, P5, P7, P10 against kind, istioctl and kubectl in the same run; needs kubectl on PATH
bench-up:
    cargo build --release
    tests/bench/up.sh
