//! The command line. A verb is one file, with its arguments and a short [`Run::run`], and one line in [`verbs!`].
//!
//! Nothing here starts a runtime, a thread or a connection before a verb asks its [`Context`] for it, so that `--version`
//! and completions answer at once.

mod changed;
mod complete;
mod consent;
mod context;
mod developing;
mod editing;
mod following;
mod globals;
mod matrix;
mod nearby;
mod output;
mod overrides;
mod place;
mod platform;
mod ports;
mod promotion;
mod runtime;
mod selecting;
mod site;
mod timeout;
mod workspace;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};

pub use context::Context;
pub use globals::Globals;

use crate::failure::{Failure, Family, Plain};
use crate::report::error;
use crate::supply::engine::runtime as runtime_wrapper;

/// Local development environment launcher for the VoiceAssistant platform: kind, Istio, infrastructure and 14 services.
#[derive(Debug, Parser)]
#[command(
    name = "vadev",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 internal, 2 usage, 3 environment, 4 supply, 5 cluster, 6 build, 7 timeout, \
                  8 refused, 9 unhealthy, 130 interrupted.\n\
                  Global options can be set in the environment as well, for instance VADEV_PROFILE=minimal."
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// What a verb's arguments implement.
trait Run {
    /// Does what the verb says. Data goes to stdout through the context, everything else to its reporter.
    fn run(self, context: &Context) -> Result<(), Failure>;

    /// Whether the user asked for output that programs read; a failure is then told as JSON too.
    fn machine_readable(&self) -> bool {
        false
    }
}

macro_rules! verbs {
    ($($module:ident :: $arguments:ident,)*) => {
        $(mod $module;)*

        #[derive(Debug, clap::Subcommand)]
        enum Verb {
            $($arguments($module::$arguments),)*
        }

        impl Run for Verb {
            fn run(self, context: &Context) -> Result<(), Failure> {
                match self { $(Self::$arguments(arguments) => arguments.run(context),)* }
            }
            fn machine_readable(&self) -> bool {
                match self { $(Self::$arguments(arguments) => arguments.machine_readable(),)* }
            }
        }
    };
}

// In the order of the help.
verbs! {
    up::Up,
    dev::Dev,
    watch::Watch,
    reload::Reload,
    status::Status,
    verify::Verify,
    logs::Logs,
    describe::Describe,
    exec::Exec,
    top::Top,
    events::Events,
    restart::Restart,
    rollout::Rollout,
    upgrade::Upgrade,
    scale::Scale,
    hpa::Hpa,
    config::Config,
    secret::Secret,
    dashboard::Dashboard,
    query::Query,
    analyze::Analyze,
    proxy_config::ProxyConfig,
    proxy_status::ProxyStatus,
    check::Check,
    audit_log::AuditLog,
    tls::Tls,
    netpol::Netpol,
    pause::Pause,
    resume::Resume,
    token::Token,
    backup::Backup,
    restore::Restore,
    down::Down,
    load::Load,
    doctor::Doctor,
    init::Init,
    render::Render,
    promote::Promote,
    supply::Supply,
    bundle::Bundle,
    compose::Compose,
    profile::Profile,
    schema::Schema,
    completions::Completions,
}

/// Parses the process's arguments, runs the verb, tells a failure, and gives the exit code of its family.
pub fn main() -> ExitCode {
    if let Some(arguments) = runtime_wrapper::requested(std::env::args_os()) {
        return ExitCode::from(runtime_wrapper::run(arguments));
    }
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if matches!(cli.verb, Verb::Dev(_) | Verb::Watch(_)) {
        crate::reload::memory::with_one_pool();
    }
    let context = Context::new(cli.globals);
    let machine_readable = cli.verb.machine_readable();
    let result = cli.verb.run(&context);
    context.close();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = if machine_readable {
                error::json(failure.as_ref())
            } else {
                error::text(failure.as_ref(), context.stderr_palette())
            };
            // Where stderr is gone too, the exit code still tells.
            drop(std::io::stderr().write_all(text.as_bytes()));
            ExitCode::from(
                failure
                    .exit_code()
                    .unwrap_or_else(|| failure.family().exit_code()),
            )
        }
    }
}

/// Help and version go to stdout with code 0, everything else to stderr with code 2, as JSON where that was asked for. A
/// closed pipe is not an error.
fn usage(error: &clap::Error) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if error.use_stderr() && asks_for_data(&arguments) {
        let text = error::json(&plain(&error.to_string()));
        drop(std::io::stderr().write_all(text.as_bytes()));
    } else {
        drop(error.print());
    }
    if error.use_stderr() {
        ExitCode::from(Family::Usage.exit_code())
    } else {
        ExitCode::SUCCESS
    }
}

/// Whether a command line that can't be read as a whole asks for output that programs read.
fn asks_for_data(arguments: &[String]) -> bool {
    let formats = ["json", "yaml"];
    let own = arguments.iter().take_while(|word| *word != "--");
    let own: Vec<&str> = own.map(String::as_str).collect();
    own.windows(2)
        .any(|pair| ["-o", "--output"].contains(&pair[0]) && formats.contains(&pair[1]))
        || own.iter().any(|word| {
            let value = word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o"));
            value.is_some_and(|value| formats.contains(&value.trim_start_matches('=')))
        })
}

/// What clap says, in the parts that every failure has: the message, what else there is to know, the next command.
fn plain(text: &str) -> Plain {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let message = lines.next().unwrap_or_default();
    let (mut details, mut hint) = (Vec::new(), None);
    for line in lines {
        match line.strip_prefix("tip: ") {
            Some(tip) => hint = Some(tip.to_owned()),
            None if line.starts_with("For more information") => {}
            None => details.push(line.to_owned()),
        }
    }
    Plain::new(Family::Usage, message.strip_prefix("error: ").unwrap_or(message))
        .with_details(details)
        .with_hint(hint.unwrap_or_else(|| {
            "vadev --help lists the verbs; --help after a verb shows what it takes".to_owned()
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_global_option_has_a_variable() {
        let command = Cli::command();
        let globals = command
            .get_arguments()
            .filter(|argument| argument.is_global_set());
        for argument in globals {
            let long = argument
                .get_long()
                .expect("a name")
                .to_uppercase()
                .replace('-', "_");
            let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            assert_eq!(variable, Some(format!("VADEV_{long}")));
        }
    }

    #[test]
    fn no_option_stands_under_another_cluster_that_is_not_about_one() {
        let mut command = Cli::command();
        command.build();
        let up = command.find_subcommand("up").expect("up");
        let heading = |id: &str| {
            let argument = up.get_arguments().find(|argument| argument.get_id() == id);
            argument.and_then(clap::Arg::get_help_heading)
        };
        assert_eq!(heading("registry"), Some("Another cluster (--context)"));
        for id in ["dry_run", "verify_only", "wait", "no_wait", "timeout", "output"] {
            assert_eq!(heading(id), None, "{id}");
        }
    }

    #[test]
    fn every_verb_and_flag_is_explained_with_examples() {
        fn check(command: &clap::Command, path: &str) {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {} has no help",
                    argument.get_id()
                );
            }
            for verb in command.get_subcommands() {
                let path = format!("{path} {}", verb.get_name());
                assert!(verb.get_about().is_some(), "{path} has no description");
                let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    verb.has_subcommands() || after.contains("vadev "),
                    "{path} has no example"
                );
                check(verb, &path);
            }
        }
        let mut command = Cli::command();
        command.build();
        check(&command, "vadev");
    }
}
