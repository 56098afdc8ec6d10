//! Whether the engine can really start a privileged container. Asked with an image of its own: one program of about 130
//! bytes that ends at once, so that no registry is needed.

use super::error::EngineError;
use crate::supply::docker::archive_of;
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions,
};
use futures::TryStreamExt as _;
use std::collections::HashMap;
use std::time::Duration;

/// The probe's image; it stays, being smaller than its own metadata.
pub const IMAGE: &str = "vadev.local/probe:1";

/// How long one container may take on a busy machine; half a second is usual.
const DEADLINE: Duration = Duration::from_mins(1);

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Privileged {
    /// A privileged container ran and ended well.
    Works,
    /// It did not start; the engine's words.
    Refused(String),
}

/// Runs a privileged container that ends at once.
pub async fn privileged(docker: &Docker) -> Result<Privileged, EngineError> {
    let attempt = async {
        ensure_image(docker).await?;
        run(docker).await
    };
    let late = || EngineError::Privileged {
        reason: format!("no answer within {} s", DEADLINE.as_secs()),
    };
    tokio::time::timeout(DEADLINE, attempt)
        .await
        .map_err(|_| late())?
}

async fn ensure_image(docker: &Docker) -> Result<(), EngineError> {
    if docker.inspect_image(IMAGE).await.is_ok() {
        return Ok(());
    }
    let (repository, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, "latest"));
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(repository)
        .tag(tag)
        .changes(vec!["LABEL app.kubernetes.io/managed-by=vadev".to_owned()])
        .build();
    let root = root_tar().map_err(|source| EngineError::File {
        action: "pack",
        path: IMAGE.into(),
        source,
    })?;
    let made = docker.create_image(Some(options), Some(bollard::body_full(root.into())), None);
    made.try_for_each(|_| async { Ok(()) })
        .await
        .map_err(|source| EngineError::Api {
            action: "import the probe image",
            source,
        })
}

async fn run(docker: &Docker) -> Result<Privileged, EngineError> {
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["/probe".to_owned()]),
        labels: Some(HashMap::from([(
            "app.kubernetes.io/managed-by".to_owned(),
            "vadev".to_owned(),
        )])),
        host_config: Some(HostConfig {
            privileged: Some(true),
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let api = |action| move |source| EngineError::Api { action, source };
    let created = docker
        .create_container(None, body)
        .await
        .map_err(api("create the probe container"))?;
    let answer = start_and_wait(docker, &created.id).await;
    let force = RemoveContainerOptionsBuilder::default()
        .force(true)
        .v(true)
        .build();
    let removed = docker.remove_container(&created.id, Some(force)).await;
    let answer = answer?;
    removed.map_err(api("remove the probe container"))?;
    Ok(answer)
}

async fn start_and_wait(docker: &Docker, id: &str) -> Result<Privileged, EngineError> {
    use bollard::errors::Error::{DockerContainerWaitError, DockerResponseServerError};
    match docker.start_container(id, None).await {
        Ok(()) => {}
        Err(DockerResponseServerError { message, .. }) => return Ok(Privileged::Refused(message)),
        Err(source) => {
            return Err(EngineError::Api {
                action: "start the probe container",
                source,
            });
        }
    }
    let waited: Result<Vec<_>, _> = docker
        .wait_container(id, None::<WaitContainerOptions>)
        .try_collect()
        .await;
    match waited {
        Ok(_) => Ok(Privileged::Works),
        Err(DockerContainerWaitError { code, .. }) => Ok(Privileged::Refused(format!(
            "the probe ended with exit code {code}"
        ))),
        Err(source) => Err(EngineError::Api {
            action: "wait for the probe container",
            source,
        }),
    }
}

/// An archive of a root file system that holds nothing but the program `/probe`.
fn root_tar() -> std::io::Result<Vec<u8>> {
    archive_of("probe", 0o755, &exit_zero())
}

/// A complete ELF executable that calls `exit(0)`, for the architecture vadev itself was built for. The layout is that of
/// the System V ABI: a 64-byte file header, one 56-byte program header, the code.
fn exit_zero() -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    const BASE: u64 = 0x40_0000;
    // e_machine, and the instructions for exit(0).
    let (machine, code): (u16, &[u8]) = if cfg!(target_arch = "aarch64") {
        // mov x8, #93 (exit); mov x0, #0; svc #0
        (
            183,
            &[
                0xa8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4,
            ],
        )
    } else {
        // mov eax, 60 (exit); xor edi, edi; syscall
        (62, &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05])
    };
    let size = HEADERS + code.len() as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |words: &[u16], out: &mut Vec<u8>| words.iter().for_each(|w| out.extend(w.to_le_bytes()));
    let word = |words: &[u32], out: &mut Vec<u8>| words.iter().for_each(|w| out.extend(w.to_le_bytes()));
    let long = |words: &[u64], out: &mut Vec<u8>| words.iter().for_each(|w| out.extend(w.to_le_bytes()));
    half(&[2, machine], &mut elf); // an executable
    word(&[1], &mut elf);
    long(&[BASE + HEADERS, 64, 0], &mut elf); // entry, program headers, no sections
    word(&[0], &mut elf);
    half(&[64, 56, 1, 64, 0, 0], &mut elf);
    word(&[1, 5], &mut elf); // PT_LOAD, readable and executable
    long(&[0, BASE, BASE, size, size, 0x1000], &mut elf);
    elf.extend_from_slice(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_program_runs_and_ends_with_zero() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("probe");
        std::fs::write(&file, exit_zero()).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(
            std::process::Command::new(&file).status().unwrap().code(),
            Some(0)
        );
    }

    #[test]
    fn the_archive_holds_just_that() {
        let archive = root_tar().unwrap();
        let mut archive = tar::Archive::new(archive.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|e| e.unwrap().path().unwrap().into_owned())
            .collect();
        assert_eq!(names, [std::path::Path::new("probe")]);
    }
}
