//! The external programs. vadev brings kind and istioctl itself; the rest is needed only to build from packages.

use super::report::{Check, Severity};
use crate::supply::cache::Cache;
use crate::supply::compose;
use crate::supply::engine::privilege::find_program;
use crate::supply::host::{self, Program};
use crate::supply::tools::{Found, ToolError};
use crate::supply::{brought, tools};

/// Asks every builder for its version, all at once.
pub async fn probe(cache: &Cache) -> Vec<(Program, Result<Found, ToolError>)> {
    let ask = |program| async move { (program, host::look(program, cache).await) };
    futures::future::join_all(Program::ALL.map(ask)).await
}

/// Asks kind and istioctl, and judges them.
pub async fn brought() -> Vec<Check> {
    let ask = |tool: tools::Tool| async move { own(tool.name, &brought::look(&tool).await) };
    futures::future::join_all(brought::ALL.map(ask)).await
}

/// A tool that vadev brings itself: one that is missing or will not do is told, and no trouble.
fn own(name: &str, answer: &Result<Found, ToolError>) -> Check {
    let check = |value: String| Check::ok(format!("tool-{name}"), name, value);
    match answer {
        Ok(found) => check(format!("{} at {}", found.version, found.path.display())),
        Err(ToolError::Missing { .. }) => check("not on PATH; vadev brings its own".to_owned()),
        Err(error) => {
            let reason = match error {
                ToolError::Unsupported {
                    path,
                    version,
                    supported,
                    ..
                } => format!("{version} at {}; {supported} needed", path.display()),
                other => other.to_string(),
            };
            check(format!("{reason}; vadev brings its own"))
                .problem(Severity::Info, format!("vadev supply build {name}"))
        }
    }
}

/// The checks. `needed`: whether anything has to be built from packages here.
pub fn checks(answers: &[(Program, Result<Found, ToolError>)], needed: bool) -> Vec<Check> {
    let builders = answers
        .iter()
        .map(|(program, answer)| builder(*program, answer, needed));
    builders.chain([apt(needed)]).collect()
}

/// The name of a builder's check.
pub fn id(program: Program) -> String {
    format!("tool-{}", program.tool().name)
}

fn builder(program: Program, answer: &Result<Found, ToolError>, needed: bool) -> Check {
    let tool = program.tool();
    let check = |value: String| Check::ok(id(program), tool.name, value);
    let error = match answer {
        // What is asked of Python is the version of its pip.
        Ok(found) if program == Program::Python => {
            return check(format!("pip {} of {}", found.version, found.path.display()));
        }
        Ok(found) => return check(format!("{} at {}", found.version, found.path.display())),
        Err(error) => error,
    };
    let value = match error {
        ToolError::Missing { purpose, .. } => format!("not installed; needed to {purpose}"),
        ToolError::Unsupported {
            version, supported, ..
        } if program == Program::Python => format!("pip {version}; {supported} needed"),
        ToolError::Unsupported {
            version, supported, ..
        } => format!("{version}; {supported} needed"),
        ToolError::Unreadable { reason, .. } => reason.clone(),
    };
    // Not an error even then: `vadev up` installs it on its way, with consent.
    let severity = if needed { Severity::Warning } else { Severity::Info };
    let check = check(value).problem(severity, tool.fix);
    if find_program("apt-get").is_some() {
        check.fixable()
    } else {
        check
    }
}

/// The name of the compose tool's check.
pub const COMPOSE: &str = "tool-compose";

/// The compose tool: only `vadev compose` needs it.
pub async fn compose() -> Check {
    match compose::find().await {
        Ok(found) => Check::ok(
            COMPOSE,
            "compose",
            format!("{} ({})", found.version, found.spoken()),
        ),
        Err(error) => {
            let check = Check::ok(
                COMPOSE,
                "compose",
                format!("{error}; only `vadev compose` needs it"),
            )
            .problem(Severity::Info, compose::FIX);
            if find_program("apt-get").is_some() {
                check.fixable()
            } else {
                check
            }
        }
    }
}

fn apt(needed: bool) -> Check {
    let (id, title) = ("tool-apt", "apt-get");
    match find_program("apt-get") {
        Some(path) => Check::ok(id, title, path.display().to_string()),
        None if needed => Check::ok(
            id,
            title,
            "missing; packages can be built on Debian and Ubuntu only",
        )
        .problem(
            Severity::Error,
            "use a network that reaches a registry, or a bundle: --image-source bundle",
        ),
        None => Check::ok(id, title, "missing, and not needed here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(program: Program) -> Result<Found, ToolError> {
        let tool = program.tool();
        Err(ToolError::Missing {
            name: tool.name,
            purpose: tool.purpose,
            fix: tool.fix.to_owned(),
        })
    }

    #[test]
    fn a_builder_matters_only_where_something_is_built() {
        let go = Program::Go;
        assert_eq!(builder(go, &missing(go), true).trouble(), Some(Severity::Warning));
        assert_eq!(builder(go, &missing(go), false).trouble(), Some(Severity::Info));
        let found = Ok(Found {
            path: "/go".into(),
            version: crate::supply::tools::Version::new(1, 26, 8),
        });
        assert_eq!(builder(go, &found, true).value, "1.26.8 at /go");
        assert_eq!(builder(Program::Python, &found, true).value, "pip 1.26.8 of /go");
    }

    #[test]
    fn a_tool_of_the_wrong_version_is_told_with_what_brings_another() {
        let tool = brought::ALL[0];
        let wrong = own(
            "kind",
            &Err(ToolError::Unsupported {
                path: "/usr/bin/kind".into(),
                version: tools::Version::new(0, 20, 0),
                supported: tool.supported,
                purpose: tool.purpose,
                fix: tool.fix.to_owned(),
            }),
        );
        assert_eq!(wrong.trouble(), Some(Severity::Info));
        assert!(
            wrong
                .value
                .starts_with("0.20.0 at /usr/bin/kind; 0.30.0 or newer"),
            "{}",
            wrong.value
        );
        assert_eq!(wrong.hint.as_deref(), Some("vadev supply build kind"));
    }

    #[test]
    fn every_builder_has_a_check() {
        let answers: Vec<_> = Program::ALL
            .into_iter()
            .map(|program| (program, missing(program)))
            .collect();
        let checks = checks(&answers, false);
        for program in Program::ALL {
            assert!(checks.iter().any(|check| check.id == id(program)), "{program:?}");
        }
    }
}
