//! Acting as root: directly, or through sudo.

use super::error::EngineError;
use crate::supply::process::Command;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How root's rights are had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Privilege {
    /// This process has them.
    Root,
    /// By this sudo.
    Sudo(PathBuf),
}

impl Privilege {
    /// How they can be had here; `action` is for the message if they cannot.
    pub fn find(action: &str) -> Result<Self, EngineError> {
        if is_root() {
            return Ok(Self::Root);
        }
        let needs = |_| EngineError::NeedsRoot {
            action: action.to_owned(),
        };
        which::which("sudo").map(Self::Sudo).map_err(needs)
    }

    /// A command with these rights.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let path = search_path();
        match self {
            Self::Root => Command::new(program).env("PATH", path),
            Self::Sudo(sudo) => Command::new(sudo).arg("-n").arg("--").arg(program),
        }
    }

    /// Replaces a file as a whole, with mode 0644, and makes its folder. The old content is kept beside it under the same
    /// name with `.vadev-backup` the first time.
    pub async fn put(&self, path: &Path, content: &str) -> Result<(), EngineError> {
        let file = |action| {
            move |source| EngineError::File {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let mut temporary = tempfile::NamedTempFile::new().map_err(file("write"))?;
        std::io::Write::write_all(&mut temporary, content.as_bytes()).map_err(file("write"))?;
        let backup = PathBuf::from(format!("{}.vadev-backup", path.display()));
        if path.exists() && !backup.exists() {
            self.install(path, &backup).await?;
        }
        self.install(temporary.path(), path).await
    }

    /// install(1) unlinks the target first, so that a reader sees the old file or the new one.
    async fn install(&self, from: &Path, to: &Path) -> Result<(), EngineError> {
        let command = self
            .command("install")
            .args(["-D", "-m", "0644"])
            .arg(from)
            .arg(to);
        let result = command.deadline(Duration::from_secs(30)).output().await;
        result.map(drop).map_err(|source| EngineError::Tool {
            action: "writing a system file",
            source,
        })
    }
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `PATH` with the system's own folders behind it: dockerd and iptables live in sbin folders, which users rarely have.
pub fn search_path() -> OsString {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    for folder in [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ] {
        let folder = PathBuf::from(folder);
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    std::env::join_paths(folders).unwrap_or_default()
}

/// Finds a program on [`search_path`].
pub fn find_program(name: &str) -> Option<PathBuf> {
    which::which_in(name, Some(search_path()), "/").ok()
}
