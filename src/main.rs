//! The `vadev` command. Everything is in the library; see `src/cli`.

fn main() -> std::process::ExitCode {
    vadev::cli::main()
}
