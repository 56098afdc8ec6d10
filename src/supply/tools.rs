//! External programs: found on PATH, asked for their version, checked against a supported range, and explained with
//! the command that fixes it when they are missing or wrong.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::process::Command;
use crate::failure::{Diagnose, Family};

/// Long enough for a JVM on a busy laptop.
const ANSWER: Duration = Duration::from_secs(30);

/// A version of up to four numbers; what is not given counts as 0 (`17` is `17.0.0.0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u32; 4]);

impl Version {
    /// A version from its first three numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self([major, minor, patch, 0])
    }

    /// Finds the first version in a program's answer: the first word that starts with a digit (after an optional `v`,
    /// `go` or punctuation) and has a dot, else the first plain number.
    pub fn find(text: &str) -> Option<Self> {
        let words = || {
            text.split(|c: char| c.is_whitespace() || "\",()=/+-~".contains(c))
                .map(|word| word.trim_start_matches(|c: char| !c.is_ascii_digit()))
                .filter(|word| !word.is_empty())
        };
        words()
            .filter(|word| word.contains('.'))
            .find_map(|w| w.parse().ok())
            .or_else(|| words().find_map(|w| w.parse().ok()))
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    /// Reads leading dotted numbers; a trailing pre-release or build part is left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let mut numbers = [0; 4];
        for (slot, part) in numbers
            .iter_mut()
            .zip(text[..end].trim_end_matches('.').split('.'))
        {
            *slot = part.parse()?;
        }
        Ok(Self(numbers))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch, build] = self.0;
        write!(f, "{major}.{minor}.{patch}")?;
        if build != 0 {
            write!(f, ".{build}")?;
        }
        Ok(())
    }
}

/// The versions that are supported: from `least` on, below `below`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The lowest supported version.
    pub least: Version,
    /// The first version that is no longer supported.
    pub below: Option<Version>,
}

impl Range {
    /// Every version from `least` on.
    pub const fn from(least: Version) -> Self {
        Self { least, below: None }
    }
    /// Whether `version` lies within.
    pub fn contains(&self, version: Version) -> bool {
        version >= self.least && self.below.is_none_or(|below| version < below)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or newer", self.least)?;
        match self.below {
            Some(below) => write!(f, ", below {below}"),
            None => Ok(()),
        }
    }
}

/// A program that vadev calls.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Its name on PATH.
    pub name: &'static str,
    /// What makes it tell its version.
    pub version_args: &'static [&'static str],
    /// Supported versions.
    pub supported: Range,
    /// What vadev needs it for.
    pub purpose: &'static str,
    /// The Debian package that brings it, when Debian's version is good enough.
    pub debian: Option<&'static str>,
    /// The command that brings it, for people.
    pub fix: &'static str,
}

/// A program that was found and is supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// The version it told.
    pub version: Version,
}

/// Why a program cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// Not on PATH.
    #[error("`{name}` is not on PATH; it is needed to {purpose}")]
    Missing {
        /// The program.
        name: &'static str,
        /// What for.
        purpose: &'static str,
        /// The command that brings it.
        fix: String,
    },
    /// Too old or too new.
    #[error("`{}` is {version}, but vadev supports {supported}; it is needed to {purpose}", path.display())]
    Unsupported {
        /// Where it was found.
        path: PathBuf,
        /// The version it told.
        version: Version,
        /// What is supported.
        supported: Range,
        /// What for.
        purpose: &'static str,
        /// The command that brings a supported one.
        fix: String,
    },
    /// It runs, but tells no version that can be read, or does not run at all.
    #[error("`{}` tells no version: {reason}", path.display())]
    Unreadable {
        /// Where it was found.
        path: PathBuf,
        /// What it said instead.
        reason: String,
        /// The command that brings a working one.
        fix: String,
    },
}

impl Diagnose for ToolError {
    fn family(&self) -> Family {
        Family::Environment
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { fix, .. } | Self::Unsupported { fix, .. } | Self::Unreadable { fix, .. } => {
                Some(fix.clone())
            }
        }
    }
}

/// Finds the tool on PATH.
pub fn find(tool: &Tool) -> Result<PathBuf, ToolError> {
    which::which(tool.name).map_err(|_| ToolError::Missing {
        name: tool.name,
        purpose: tool.purpose,
        fix: tool.fix.to_owned(),
    })
}

/// Finds the tool on PATH and checks its version.
pub async fn check(tool: &Tool) -> Result<Found, ToolError> {
    check_at(tool, find(tool)?).await
}

/// Asks the tool at `path` for its version; gives its whole answer too.
pub async fn ask(tool: &Tool, path: &Path) -> Result<(Version, String), ToolError> {
    let unreadable = |reason: String| ToolError::Unreadable {
        path: path.to_owned(),
        reason,
        fix: tool.fix.to_owned(),
    };
    let answer = Command::new(path)
        .args(tool.version_args)
        .deadline(ANSWER)
        .output()
        .await;
    let output = match answer {
        Ok(output) => output,
        Err(error) => {
            let last = error.details().pop().map(|line| format!("{error}: {line}"));
            return Err(unreadable(last.unwrap_or(error.to_string())));
        }
    };
    // Java's tools answer on standard error.
    let text = format!("{}\n{}", output.text(), String::from_utf8_lossy(&output.stderr));
    match Version::find(&text) {
        Some(version) => Ok((version, text)),
        None => Err(unreadable(
            text.trim().lines().next().unwrap_or("no answer").to_owned(),
        )),
    }
}

/// Checks the version of the tool at `path`.
pub async fn check_at(tool: &Tool, path: PathBuf) -> Result<Found, ToolError> {
    let (version, _) = ask(tool, &path).await?;
    if tool.supported.contains(version) {
        return Ok(Found { path, version });
    }
    let (supported, purpose) = (tool.supported, tool.purpose);
    Err(ToolError::Unsupported {
        path,
        version,
        supported,
        purpose,
        fix: tool.fix.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_real_answers() {
        for (answer, expected) in [
            ("go version go1.26.8 linux/amd64", Version::new(1, 26, 8)),
            ("Docker version 28.2.2, build e6534b4", Version::new(28, 2, 2)),
            (
                "Apache Maven 3.8.7\nMaven home: /usr/share/maven",
                Version::new(3, 8, 7),
            ),
            ("javac 17.0.17", Version::new(17, 0, 17)),
            ("debootstrap 1.0.128+nmu2+deb12u2", Version::new(1, 0, 128)),
            ("kind v0.33.0 go1.26.8 linux/amd64", Version::new(0, 33, 0)),
            (
                "pip 24.0 from /usr/lib/python3/dist-packages/pip (python 3.11)",
                Version::new(24, 0, 0),
            ),
            ("openjdk 21 2023-09-19", Version::new(21, 0, 0)),
            (
                "client version: 1.31.0\ncontrol plane version: 1.31.0",
                Version::new(1, 31, 0),
            ),
        ] {
            assert_eq!(Version::find(answer), Some(expected), "{answer}");
        }
        assert_eq!(Version::find("no numbers here"), None);
    }

    #[test]
    fn ranges_hold_their_ends() {
        let range = Range {
            least: Version::new(1, 26, 0),
            below: Some(Version::new(2, 0, 0)),
        };
        assert!(range.contains(Version::new(1, 26, 0)) && !range.contains(Version::new(2, 0, 0)));
        assert!(!range.contains(Version::new(1, 9, 9)));
        assert_eq!(range.to_string(), "1.26.0 or newer, below 2.0.0");
    }

    #[tokio::test]
    async fn wrong_tools_are_explained() {
        let tool = Tool {
            name: "sh",
            version_args: &["-c", "echo tool 1.2.3"],
            supported: Range::from(Version::new(2, 0, 0)),
            purpose: "test",
            debian: None,
            fix: "apt-get install tool",
        };
        let error = check(&tool).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("is 1.2.3, but vadev supports 2.0.0 or newer"),
            "{error}"
        );
        assert_eq!(error.hint().as_deref(), Some("apt-get install tool"));
        let missing = Tool {
            name: "no-such-tool-here",
            ..tool
        };
        assert!(matches!(check(&missing).await, Err(ToolError::Missing { .. })));
    }
}
