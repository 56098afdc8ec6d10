//! What `.vadev/compose/` holds: the Compose file that runs, the files it mounts, its secrets, and which profile it is.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Family, Plain};
use crate::render::compose::{Equivalent, file_name};

/// What is remembered from one command to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The profile that runs.
    pub profile: String,
    /// The gateway's port on 127.0.0.1.
    pub http_port: u16,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

const KEPT: &str = "compose.json";

impl Folder {
    /// Within the workspace's state folder.
    pub fn of(state: &Path) -> Self {
        Self(state.join("compose"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The Compose file of a profile.
    pub fn file(&self, profile: &str) -> PathBuf {
        self.0.join(file_name(profile))
    }

    /// The file with the variables, its owner's alone.
    pub fn variables(&self) -> PathBuf {
        self.0.join("variables.env")
    }

    /// What the last `up` started; `None` before the first one and after `down`.
    pub fn kept(&self) -> Result<Option<Kept>, Failure> {
        let path = self.0.join(KEPT);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(trouble("read", &path, &error)),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| trouble("understand", &path, &error.into())),
        }
    }

    /// Forgets it.
    pub fn forget(&self) -> Result<(), Failure> {
        let path = self.0.join(KEPT);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(trouble("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    /// Writes everything that the compose tool reads.
    pub fn write(
        &self,
        kept: &Kept,
        equivalent: &Equivalent,
        variables: &[(String, String)],
    ) -> Result<(), Failure> {
        for (name, content) in &equivalent.files {
            self.put(&self.0.join(name), content, 0o644)?;
        }
        self.put(&self.file(&kept.profile), &equivalent.file, 0o644)?;
        let lines = variables.iter().map(|(name, value)| format!("{name}={value}\n"));
        self.put(&self.variables(), &lines.collect::<String>(), 0o600)?;
        let kept = serde_json::to_string(kept).map_err(|error| trouble("write", &self.0, &error.into()))?;
        self.put(&self.0.join(KEPT), &kept, 0o644)
    }

    /// Containers of other users read the mounted files, whatever this user's umask is. Written in place: a file that is
    /// mounted stays the same one.
    fn put(&self, path: &Path, content: &str, mode: u32) -> Result<(), Failure> {
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.0))?;
            let mut file = OpenOptions::new()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(mode)
                .open(path)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(content.as_bytes())
        };
        write().map_err(|error| trouble("write", path, &error))
    }
}

fn trouble(action: &str, path: &Path, error: &io::Error) -> Failure {
    Plain::new(
        Family::Environment,
        format!("can't {action} {}: {error}", path.display()),
    )
    .with_hint("give yourself write access to the workspace, or choose another with --file")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_their_owners_and_configuration_is_everybodys() {
        let state = tempfile::tempdir().expect("folder");
        let folder = Folder::of(state.path());
        assert_eq!(folder.kept().expect("none yet"), None);
        let kept = Kept {
            profile: "minimal".into(),
            http_port: 8080,
        };
        let equivalent = Equivalent {
            file: "services: {}\n".into(),
            files: [(
                "minimal.files/gateway/envoy.yaml".to_owned(),
                "admin: {}\n".to_owned(),
            )]
            .into(),
            missing: Vec::new(),
        };
        folder
            .write(&kept, &equivalent, &[("A".into(), "b".into())])
            .expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("file").permissions().mode() & 0o777;
        assert_eq!(mode(&folder.variables()), 0o600);
        assert_eq!(
            mode(&folder.path().join("minimal.files/gateway/envoy.yaml")),
            0o644
        );
        assert_eq!(fs::read_to_string(folder.variables()).expect("file"), "A=b\n");
        assert_eq!(folder.kept().expect("kept"), Some(kept));
        folder.forget().expect("forgotten");
        assert_eq!(folder.kept().expect("none"), None);
    }
}
