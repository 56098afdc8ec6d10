//! Flags that every verb takes.

use std::path::PathBuf;

use clap::ArgAction;
use clap::builder::FalseyValueParser;
use clap_complete::engine::ArgValueCompleter;

use super::complete;
use crate::report::{Color, Progress};

/// The global flags, each with its environment variable.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Workspace file; default: `vadev.yaml` here or in a folder above
    #[arg(
        short,
        long,
        global = true,
        env = "VADEV_FILE",
        hide_env = true,
        value_name = "FILE"
    )]
    pub file: Option<PathBuf>,
    /// Profile: minimal, dev, demo, full, prod, or one of your own
    #[arg(
        short, long, global = true, env = "VADEV_PROFILE", hide_env = true, value_name = "PROFILE",
        add = ArgValueCompleter::new(complete::profiles)
    )]
    pub profile: Option<String>,
    /// Use this cluster of your kubeconfig instead of one that vadev makes
    #[arg(
        long,
        global = true,
        env = "VADEV_CONTEXT",
        hide_env = true,
        value_name = "NAME",
        add = ArgValueCompleter::new(complete::contexts)
    )]
    pub context: Option<String>,
    /// With --context: put this before the namespaces, so that several people share the cluster
    #[arg(
        long,
        global = true,
        env = "VADEV_NAMESPACE_PREFIX",
        hide_env = true,
        value_name = "PREFIX",
        value_parser = super::place::prefix
    )]
    pub namespace_prefix: Option<String>,
    /// Answer every question with yes
    #[arg(
        short, long, global = true, env = "VADEV_YES", hide_env = true,
        action = ArgAction::SetTrue, value_parser = FalseyValueParser::new()
    )]
    pub yes: bool,
    /// Show warnings and errors only
    #[arg(
        short, long, global = true, env = "VADEV_QUIET", hide_env = true, conflicts_with = "verbose",
        action = ArgAction::SetTrue, value_parser = FalseyValueParser::new()
    )]
    pub quiet: bool,
    /// Show every progress line, log line and unchanged step
    #[arg(
        short, long, global = true, env = "VADEV_VERBOSE", hide_env = true,
        action = ArgAction::SetTrue, value_parser = FalseyValueParser::new()
    )]
    pub verbose: bool,
    /// How progress is shown on stderr
    #[arg(
        long,
        global = true,
        env = "VADEV_PROGRESS",
        hide_env = true,
        value_name = "HOW",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help = "How progress is shown on stderr: auto, tty, plain, json, quiet"
    )]
    pub progress: Progress,
    /// When to colour
    #[arg(
        long,
        global = true,
        env = "VADEV_COLOR",
        hide_env = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        hide_possible_values = true,
        help = "When to colour: auto, always, never; NO_COLOR is respected"
    )]
    pub color: Color,
}
