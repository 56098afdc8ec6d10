//! The program that runs inside containers: a stand-in service, and the sync agent.

fn main() -> std::process::ExitCode {
    vadev::agent::command::main(std::env::args_os().skip(1).collect())
}
