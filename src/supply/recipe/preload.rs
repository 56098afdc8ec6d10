//! The step `preload`: images loaded into the image that was just built, by a container of it.

use std::pin::pin;
use std::time::Duration;

use bollard::Docker;
use bollard::container::AttachContainerResults;
use bollard::models::{ContainerConfig, ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptions, CommitContainerOptions, CreateContainerOptions, RemoveContainerOptions,
    RemoveVolumeOptions, StartContainerOptions, WaitContainerOptions,
};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;

use super::super::docker::reason;
use super::images;
use super::job::{Job, Trouble};
use super::model::Preload;

/// How long the container may take after its last output to end.
const ENDING: Duration = Duration::from_mins(10);

/// Loads the images and commits the result over `reference`.
pub async fn preload(job: &Job<'_>, step: &Preload, reference: &str) -> Result<(), Trouble> {
    let docker = job.docker()?;
    let name = format!("vadev-preload-{}", job.recipe.name);
    // One that was left by a killed vadev; the recipe's lock is ours.
    remove(docker, &name).await?;
    let result = load(job, docker, step, reference, &name).await;
    let removed = remove(docker, &name).await;
    result.and(removed)
}

// One container's life from its making to its commit: split, it would only pass its state around.
#[allow(clippy::too_many_lines)]
async fn load(
    job: &Job<'_>,
    docker: &Docker,
    step: &Preload,
    reference: &str,
    name: &str,
) -> Result<(), Trouble> {
    let refused = |error: bollard::errors::Error| Trouble(reason(&error));
    let body = ContainerCreateBody {
        image: Some(reference.to_owned()),
        cmd: Some(step.command.clone()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        host_config: Some(HostConfig {
            privileged: Some(true),
            binds: Some(vec![format!("{name}:{}", step.volume)]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptions {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    docker
        .create_container(Some(options), body)
        .await
        .map_err(refused)?;
    let attach = AttachContainerOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    let AttachContainerResults {
        mut output,
        mut input,
    } = docker
        .attach_container(name, Some(attach))
        .await
        .map_err(refused)?;
    docker
        .start_container(name, None::<StartContainerOptions>)
        .await
        .map_err(refused)?;

    let names: Vec<&str> = step.images.iter().map(String::as_str).collect();
    let writing = async {
        let mut bytes = 0_u64;
        let mut archive = pin!(docker.export_images(&names));
        while let Some(chunk) = archive.next().await {
            let chunk = chunk.map_err(|error| Trouble(reason(&error)))?;
            input
                .write_all(&chunk)
                .await
                .map_err(|error| Trouble(format!("the container stopped reading: {error}")))?;
            bytes += chunk.len() as u64;
            job.show(&format!("loading images · {} MB", bytes / 1_000_000));
        }
        input
            .shutdown()
            .await
            .map_err(|error| Trouble(error.to_string()))?;
        Ok::<(), Trouble>(())
    };
    let listening = async {
        while let Some(message) = output.next().await {
            match message {
                Ok(message) => String::from_utf8_lossy(&message.into_bytes())
                    .lines()
                    .for_each(|line| job.say(line)),
                Err(error) => return Err(Trouble(reason(&error))),
            }
        }
        Ok(())
    };
    // A container that ends early never reads the rest: the writer would wait for ever.
    let mut fed = Ok(());
    job.during(async {
        let (mut writing, mut listening) = (pin!(writing), pin!(listening));
        tokio::select! {
            result = &mut writing => { fed = result; listening.await }
            result = &mut listening => result,
        }
    })
    .await?;
    let code = job
        .during(tokio::time::timeout(ENDING, exit_code(docker, name)))
        .await;
    let code =
        code.map_err(|_| Trouble(format!("the container did not end within {} s", ENDING.as_secs())))??;
    if code != 0 {
        return Err(Trouble(format!(
            "`{}` ended with exit code {code}",
            step.command.join(" ")
        )));
    }
    fed?;
    let (repo, tag) = images::split(reference);
    let commit = CommitContainerOptions {
        container: Some(name.to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        pause: false,
        changes: Some("CMD []".to_owned()),
        ..Default::default()
    };
    job.say("committing");
    let committed = job
        .during(docker.commit_container(commit, ContainerConfig::default()))
        .await;
    committed.map(drop).map_err(refused)
}

async fn exit_code(docker: &Docker, name: &str) -> Result<i64, Trouble> {
    let mut ended = docker.wait_container(name, None::<WaitContainerOptions>);
    match ended.next().await {
        Some(Ok(answer)) => Ok(answer.status_code),
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
        Some(Err(error)) => Err(Trouble(reason(&error))),
        None => Err(Trouble::new("the engine did not say how the container ended")),
    }
}

/// Removes the container and its volume, where they are.
async fn remove(docker: &Docker, name: &str) -> Result<(), Trouble> {
    let gone = |result: Result<(), bollard::errors::Error>| match result {
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(Trouble(reason(&error))),
    };
    let container = RemoveContainerOptions {
        force: true,
        v: true,
        ..Default::default()
    };
    gone(docker.remove_container(name, Some(container)).await)?;
    gone(docker.remove_volume(name, None::<RemoveVolumeOptions>).await)
}
