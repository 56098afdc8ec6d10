use clap::CommandFactory as _;
use clap_complete::env::Shells;

use super::{Context, Run};
use crate::failure::{Failure, Family, Plain};

/// Print the script that completes verbs, flags, services and profiles in your shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    source <(vadev completions bash)                  in ~/.bashrc\n  \
    source <(vadev completions zsh)                   in ~/.zshrc\n  \
    vadev completions fish > ~/.config/fish/completions/vadev.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_parser = ["bash", "zsh", "fish", "elvish", "powershell"])]
    shell: String,
}

impl Run for Completions {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let command = super::Cli::command();
        let name = command.get_name();
        let mut script = Vec::new();
        let failed = |error: &dyn std::fmt::Display| -> Failure {
            Plain::new(
                Family::Internal,
                format!("cannot write the script for {}: {error}", self.shell),
            )
            .into()
        };
        let shells = Shells::builtins();
        let shell = shells
            .completer(&self.shell)
            .ok_or_else(|| failed(&"not supported"))?;
        // The script calls `vadev` by name, so that it stays right when the binary moves.
        shell
            .write_registration("COMPLETE", name, name, name, &mut script)
            .map_err(|error| failed(&error))?;
        context.print(&String::from_utf8_lossy(&script))
    }
}
