//! Putting the runtime wrapper to work: a copy of vadev at a place that stays, registered with the engine.

use super::error::EngineError;
use super::privilege::Privilege;
use super::{runtime, settings, start};
use crate::report::Step;
use bollard::Docker;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Part of the copy's path. Raise it when the wrapper's behaviour changes: a copy is never replaced, because containers may be
/// using it.
const REVISION: &str = "oci-runtime-1";

/// The engine rereads its settings within milliseconds.
const RELOAD: Duration = Duration::from_secs(30);

/// Where the copy lives below vadev's data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join(REVISION).join(runtime::FILE_NAME)
}

/// The registered wrapper whose program is gone: then no container starts at all.
pub fn broken() -> Option<String> {
    let registered = settings::registered_wrapper(&current().ok()?)?;
    (!Path::new(&registered).exists()).then_some(registered)
}

/// Copies vadev, registers the copy and makes the engine take it over. Consent was given before.
pub async fn register(
    privilege: &Privilege,
    data: &Path,
    docker: &Docker,
    step: &Step,
) -> Result<(), EngineError> {
    let wrapper = path(data);
    copy_to(&wrapper)?;
    step.progress(format!("registering {} in {}", wrapper.display(), settings::PATH));
    let merged = settings::with_wrapper(&current()?, &wrapper.to_string_lossy());
    if let Some(text) = merged.map_err(|source| EngineError::Settings { source })? {
        privilege.put(Path::new(settings::PATH), &text).await?;
    }
    reload(privilege).await?;
    taken_over(docker).await
}

fn current() -> Result<String, EngineError> {
    let path = Path::new(settings::PATH);
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(EngineError::File {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Copies this program, unless it was copied before. The copy appears at once and whole.
fn copy_to(wrapper: &Path) -> Result<(), EngineError> {
    if wrapper.exists() {
        return Ok(());
    }
    let failed = |action| {
        move |source| EngineError::File {
            action,
            path: wrapper.to_owned(),
            source,
        }
    };
    let folder = wrapper.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(failed("create"))?;
    let temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed("write"))?;
    // Through /proc: the file may have been replaced by a newer build since this process began.
    let program = Path::new("/proc/self/exe");
    std::fs::copy(program, temporary.path()).map_err(failed("write"))?;
    // copy() takes the mode along, so that it is executable; and closed before anyone runs it.
    temporary
        .into_temp_path()
        .persist(wrapper)
        .map_err(|e| failed("write")(e.error))
}

/// SIGHUP makes dockerd read its settings again; containers go on running. The shell's own `kill` is always there, the program of
/// that name is not.
async fn reload(privilege: &Privilege) -> Result<(), EngineError> {
    let command = match start::running() {
        Some(pid) => privilege.command("sh").args(["-c", &format!("kill -HUP {pid}")]),
        None => privilege.command("systemctl").args(["reload", "docker"]),
    };
    let done = command.deadline(RELOAD).output().await;
    done.map(drop).map_err(|source| EngineError::Tool {
        action: "reloading Docker's settings",
        source,
    })
}

async fn taken_over(docker: &Docker) -> Result<(), EngineError> {
    let late = Instant::now() + RELOAD;
    loop {
        let info = docker.info().await.map_err(|source| EngineError::Api {
            action: "tell its settings",
            source,
        })?;
        if info.default_runtime.as_deref() == Some(settings::RUNTIME) {
            return Ok(());
        }
        if Instant::now() > late {
            return Err(EngineError::NotReloaded {
                seconds: RELOAD.as_secs(),
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_copy_is_whole_executable_and_made_once() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let wrapper = path(folder.path());
        copy_to(&wrapper).unwrap();
        let meta = std::fs::metadata(&wrapper).unwrap();
        assert_eq!(meta.len(), std::fs::metadata("/proc/self/exe").unwrap().len());
        assert_ne!(meta.permissions().mode() & 0o111, 0);
        std::fs::write(&wrapper, "in use").unwrap();
        copy_to(&wrapper).unwrap();
        assert_eq!(std::fs::read(&wrapper).unwrap(), b"in use");
    }
}
