//! The compose tool of this machine: Docker's plugin, or `docker-compose` by itself.

use std::path::{Path, PathBuf};

use super::engine::install;
use super::engine::privilege::Privilege;
use super::error::SupplyError;
use super::process::Command;
use super::tools::{self, Range, Tool, ToolError, Version};
use crate::report::Step;

/// The Debian package that brings it.
const PACKAGE: &str = "docker-compose";

/// The command that brings it, for people.
pub const FIX: &str = "apt-get install -y --no-install-recommends docker-compose";

const PURPOSE: &str = "run the platform without Kubernetes";

/// `docker compose`. Every release of the plugin knows what is used here.
const PLUGIN: Tool = Tool {
    name: "docker",
    version_args: &["compose", "version", "--short"],
    supported: Range::from(Version::new(2, 0, 0)),
    purpose: PURPOSE,
    debian: None,
    fix: FIX,
};

/// `docker-compose`, of either generation. 1.29 is the first one that can wait for a service that runs to its end.
const STANDALONE: Tool = Tool {
    name: "docker-compose",
    version_args: &["version", "--short"],
    supported: Range::from(Version::new(1, 29, 0)),
    purpose: PURPOSE,
    debian: Some(PACKAGE),
    fix: FIX,
};

/// A compose tool that was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compose {
    /// The program.
    pub program: PathBuf,
    /// What comes before its own arguments.
    first: &'static [&'static str],
    /// The version it told.
    pub version: Version,
}

impl Compose {
    /// Its command for one project. `variables`: a file with what the Compose file refers to, which no argument shows.
    pub fn command(&self, project: &str, file: &Path, variables: &Path) -> Command {
        Command::new(&self.program)
            .args(self.first)
            .args(["--project-name", project, "--env-file"])
            .arg(variables)
            .arg("--file")
            .arg(file)
            // The first generation gives up after a minute otherwise, which a busy disk needs for a container.
            .env("COMPOSE_HTTP_TIMEOUT", "600")
            .env("COMPOSE_ANSI", "never")
            .env_remove("COMPOSE_PROFILES")
    }

    /// How a person calls it.
    pub fn spoken(&self) -> String {
        let words = std::iter::once(self.program.display().to_string())
            .chain(self.first.iter().map(|&word| word.to_owned()));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Looks for the plugin, then for the program by itself.
pub async fn find() -> Result<Compose, ToolError> {
    if let Ok(found) = tools::check(&PLUGIN).await {
        return Ok(Compose {
            program: found.path,
            first: &["compose"],
            version: found.version,
        });
    }
    let found = tools::check(&STANDALONE).await?;
    Ok(Compose {
        program: found.path,
        first: &[],
        version: found.version,
    })
}

/// As [`find`]; where there is none it is installed from Debian's packages, if `agree` says yes.
pub async fn ensure(
    agree: &(dyn Fn(&str) -> bool + Send + Sync),
    step: &Step,
) -> Result<Compose, SupplyError> {
    let error = match find().await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    if !install::possible() {
        return Err(error.into());
    }
    let host = |refused: bool, fix: &str| SupplyError::Host {
        reason: error.to_string(),
        fix: fix.to_owned(),
        refused,
    };
    if !agree(&format!("{error}. Install {PACKAGE} with apt-get?")) {
        return Err(host(true, "run the command again with --yes to agree"));
    }
    let privilege = Privilege::find("installing packages").map_err(|_| host(false, FIX))?;
    install::run(&privilege, &[PACKAGE], step).await?;
    Ok(find().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_in_no_argument() {
        let tool = Compose {
            program: "/usr/bin/docker".into(),
            first: &["compose"],
            version: Version::new(2, 30, 0),
        };
        let command = tool.command("vadev-shop", Path::new("a.yaml"), Path::new("a.env"));
        assert_eq!(
            command.arg("up").argv(),
            "/usr/bin/docker compose --project-name vadev-shop --env-file a.env --file a.yaml up"
        );
        assert_eq!(tool.spoken(), "/usr/bin/docker compose");
    }

    #[tokio::test]
    async fn without_consent_nothing_is_installed() {
        let step = crate::report::Reporter::silent().step("s", "s", None);
        match (find().await, ensure(&|_| false, &step).await) {
            (Ok(found), again) => assert_eq!(again.expect("the same"), found),
            // On a busy machine what is installed may not say its version in time.
            (Err(_), again) => assert!(again.is_err() || find().await.is_ok()),
        }
    }
}
