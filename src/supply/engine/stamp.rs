//! Remembers that privileged containers were seen to work, so that the proof costs its half second only once for a state of the
//! engine.

use super::error::EngineError;
use bollard::Docker;
use std::path::{Path, PathBuf};

/// What the proof depends on; another value of any of them asks for a new one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    engine: String,
    version: String,
    runtime: String,
    runtime_commit: String,
    kernel: String,
    boot: String,
    capabilities: String,
}

impl Stamp {
    /// The engine as it is now.
    pub async fn take(docker: &Docker) -> Result<Self, EngineError> {
        let info = docker.info().await.map_err(|source| EngineError::Api {
            action: "describe itself",
            source,
        })?;
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Ok(Self {
            engine: info.id.unwrap_or_default(),
            version: info.server_version.unwrap_or_default(),
            runtime: info.default_runtime.unwrap_or_default(),
            runtime_commit: info.runc_commit.and_then(|commit| commit.id).unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            capabilities: status
                .lines()
                .find(|line| line.starts_with("CapBnd"))
                .unwrap_or_default()
                .to_owned(),
        })
    }

    /// Whether the proof was made for just this.
    pub fn holds(&self, state: &Path) -> bool {
        let kept = std::fs::read(file(state))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        kept.as_ref() == Some(self)
    }

    /// Remembers it. Where that fails the next run proves it again.
    pub fn keep(&self, state: &Path) {
        if let Ok(text) = serde_json::to_vec(self) {
            let _ = std::fs::create_dir_all(state).and_then(|()| std::fs::write(file(state), text));
        }
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("privileged.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_for_the_same_engine_only() {
        let state = tempfile::tempdir().unwrap();
        let text = r#"{"engine":"a","version":"1","runtime":"r","runtime_commit":"c","kernel":"k","boot":"b","capabilities":"f"}"#;
        let stamp: Stamp = serde_json::from_str(text).unwrap();
        assert!(!stamp.holds(state.path()));
        stamp.keep(state.path());
        assert!(stamp.holds(state.path()));
        assert!(
            !Stamp {
                runtime: "vadev".into(),
                ..stamp
            }
            .holds(state.path())
        );
    }
}
