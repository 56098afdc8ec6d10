//! `-f` as everybody knows it from log commands. The workspace file is then named by `--file` alone.

use std::path::PathBuf;

use clap::ArgAction;

/// Flags of verbs that can go on for ever.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Following {
    /// Go on with what comes from now on
    #[arg(short = 'f', long, action = ArgAction::SetTrue)]
    pub follow: bool,
    /// Workspace file; default: `vadev.yaml` here or in a folder above
    // Of the same id as the global flag, whose short form it gives up; clap hands the value on to the global one.
    #[arg(
        id = "file",
        long,
        env = "VADEV_FILE",
        hide_env = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    _file: Option<PathBuf>,
}
