//! The agent's command line. Written by hand: so few verbs need no parser, and the program is to stay small.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::{hold, prepare, serve, sync};

const USAGE: &str = "\
vadev-agent runs inside containers that vadev makes.

  vadev-agent serve       answer as a stand-in for a service (configured by VADEV_* variables)
  vadev-agent check [URL] exit 0 when the service in this container answers (http://…, tcp://HOST:PORT); for probes
  vadev-agent reach URL... ask each address and print what it answers, one JSON object a line
  vadev-agent hold SECONDS wait so long, or until SIGTERM: while it waits, others can be run in its container
  vadev-agent run --listen ADDRESS --token-file FILE --state DIR --root PATH... [--wait-for-session SECONDS]
                  [--user UID:GID] -- COMMAND ARGUMENT...
                          run the container's command and keep its files in step with a workspace
  vadev-agent install DIR put this program into a folder
  vadev-agent prepare DIR [UID:PATH]...
                          put this program into a folder, and give volumes to the users who write to them
  vadev-agent --version
";

/// Why the agent stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line made no sense.
    #[error("{0} (vadev-agent --help shows how it is called)")]
    Usage(String),
    /// The stand-in service could not run.
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// The sync agent could not run.
    #[error(transparent)]
    Sync(#[from] sync::Error),
    /// The runtime, standard output or a signal handler could not be had.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}

/// Runs the agent with the arguments after the program's name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            // Standard error gone is no reason to lose the exit code.
            let _ = writeln!(std::io::stderr(), "vadev-agent: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run(arguments: Vec<OsString>) -> Result<ExitCode, Error> {
    let mut words = arguments.into_iter();
    let verb = words.next().unwrap_or_default();
    match verb.to_string_lossy().as_ref() {
        "serve" => {
            complete(serve::run(&|name| std::env::var(name).ok()))??;
            Ok(ExitCode::SUCCESS)
        }
        "check" => {
            let url = words.next().map(|word| word.to_string_lossy().into_owned());
            complete(serve::check(url, &|name| std::env::var(name).ok()))??;
            Ok(ExitCode::SUCCESS)
        }
        "reach" => {
            let urls = words.map(|word| word.to_string_lossy().into_owned()).collect();
            for reached in complete(serve::reach(urls))? {
                writeln!(
                    std::io::stdout(),
                    "{}",
                    serde_json::to_string(&reached).map_err(std::io::Error::from)?
                )?;
            }
            Ok(ExitCode::SUCCESS)
        }
        "hold" => {
            let seconds = words.next().and_then(|word| word.to_str()?.parse().ok());
            let seconds = seconds.ok_or_else(|| Error::Usage("hold: for how many seconds?".into()))?;
            complete(hold::hold(Duration::from_secs(seconds)))??;
            Ok(ExitCode::SUCCESS)
        }
        "run" => {
            let options = sync::Options::parse(words).map_err(Error::Usage)?;
            Ok(complete(sync::run(options))??.into())
        }
        "install" => {
            let folder = words
                .next()
                .ok_or_else(|| Error::Usage("install: into which folder?".into()))?;
            let program = sync::install(folder.as_ref())?;
            writeln!(std::io::stdout(), "{}", program.display())?;
            Ok(ExitCode::SUCCESS)
        }
        "prepare" => {
            let mut words = words.map(|word| word.to_string_lossy().into_owned());
            let folder = words
                .next()
                .ok_or_else(|| Error::Usage("prepare: into which folder?".into()))?;
            let owned: Result<Vec<_>, _> = words.map(|word| prepare::Owned::parse(&word)).collect();
            for line in prepare::run(&folder, &owned.map_err(Error::Usage)?)? {
                writeln!(std::io::stdout(), "{line}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        "--version" | "-V" => {
            writeln!(std::io::stdout(), "vadev-agent {}", env!("CARGO_PKG_VERSION"))?;
            Ok(ExitCode::SUCCESS)
        }
        "--help" | "-h" => {
            write!(std::io::stdout(), "{USAGE}")?;
            Ok(ExitCode::SUCCESS)
        }
        "" => Err(Error::Usage("which command?".into())),
        other => Err(Error::Usage(format!("unknown command {other:?}"))),
    }
}

/// Runs on one thread: the agent waits far more than it computes, and shares its container's CPU limit with the service.
fn complete<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    // A name lookup that still runs must not delay the end.
    runtime.shutdown_background();
    Ok(outcome)
}
