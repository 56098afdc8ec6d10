//! `up`, `down`, `ps`, `logs` and `config` of the platform without Kubernetes.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use indexmap::IndexMap;
use serde::Serialize;

use super::containers::{self, ContainerStatus};
use super::folder::{Folder, Kept};
use super::project;
use crate::engine::checked::CheckResult;
use crate::engine::images::{self, Images};
use crate::engine::ingress::poll;
use crate::engine::platform::Platform;
use crate::engine::secrets::{self, Secrets};
use crate::failure::{Failure, Family, Plain};
use crate::profile::stack::LeftOut;
use crate::render::compose::{self, GATEWAY};
use crate::report::Step;
use crate::supply::compose::Compose;
use crate::supply::doctor::{self, Holder};
use crate::supply::process::Command;

/// How an `up` goes about it.
#[derive(Debug, Clone, Copy)]
pub struct ComposeOptions {
    /// Longest wait until everything is healthy.
    pub timeout: Duration,
    /// The gateway's port on 127.0.0.1.
    pub http_port: u16,
}

/// What `compose up -o json` prints.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComposeReport {
    /// Compose's name of the whole.
    pub project: String,
    /// The profile.
    pub profile: String,
    /// The Compose file that runs.
    pub file: String,
    /// Its containers.
    pub containers: Vec<ContainerStatus>,
    /// What was asked through the gateway.
    pub checks: Vec<CheckResult>,
    /// What the platform has and this has not.
    pub missing: Vec<String>,
    /// Components whose image cannot be had.
    pub left_out: Vec<LeftOut>,
    /// Where to look.
    pub url: String,
    /// Wall-clock seconds of all of it.
    pub seconds: f64,
}

/// Brings it up and waits until it is healthy. The container engine answers already.
pub async fn up(
    platform: &Platform,
    tool: &Compose,
    options: ComposeOptions,
) -> Result<ComposeReport, Failure> {
    let begun = Instant::now();
    let stack = platform.stack();
    let project = project(&stack.workspace);
    let folder = Folder::of(&platform.options.state);
    check_port(platform, &project, options.http_port).await?;
    let (images, helpers) = images::resolve_without_cluster(platform).await?;
    for left in &images.left_out {
        platform
            .reporter
            .note(format!("{} is left out: {}", left.name, left.reason));
    }
    supply(platform, &images).await?;
    let equivalent = compose::render(stack, &images.deployed, &helpers)
        .map_err(|error| Plain::new(Family::Internal, format!("can't write the Compose file: {error}")))?;
    let kept = Kept {
        profile: stack.profile.clone(),
        http_port: options.http_port,
    };
    folder.write(
        &kept,
        &equivalent,
        &variables(platform, &folder, options.http_port)?,
    )?;
    let step = platform.reporter.step("compose", "Compose", None);
    let end = begun + options.timeout;
    let started = command(platform, tool, &folder, &kept)
        .args(["up", "--detach", "--remove-orphans"])
        .deadline(options.timeout)
        .run_in(&step)
        .await;
    if let Err(error) = started {
        let details = evidence(platform, tool, &folder, &kept).await;
        step.failed(&error);
        return Err(Plain::new(Family::Cluster, error.to_string())
            .with_details(details)
            .with_hint("vadev compose logs")
            .into());
    }
    let expected = names(&equivalent.file);
    let containers = match healthy(platform, &project, &expected, end, &step).await? {
        Ok(containers) => containers,
        Err(waiting) => {
            let details = evidence(platform, tool, &folder, &kept).await;
            let error = Plain::new(
                Family::Timeout,
                format!("{waiting} within {} s", options.timeout.as_secs()),
            );
            step.failed(&error);
            return Err(error
                .with_details(details)
                .with_hint("vadev compose logs SERVICE")
                .into());
        }
    };
    step.done(format!("{} containers are healthy", containers.len()));
    let url = format!("http://127.0.0.1:{}", options.http_port);
    let checks = through_gateway(platform, &url, options.timeout).await?;
    Ok(ComposeReport {
        project,
        profile: kept.profile.clone(),
        file: folder.file(&kept.profile).display().to_string(),
        containers,
        checks,
        missing: equivalent.missing,
        left_out: images.left_out,
        url,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Stops and removes the containers and networks, with `volumes` also the data.
pub async fn down(platform: &Platform, tool: &Compose, volumes: bool) -> Result<(), Failure> {
    let folder = Folder::of(&platform.options.state);
    let kept = running(&folder)?;
    let step = platform.reporter.step("compose", "Compose", None);
    let mut command = command(platform, tool, &folder, &kept).args(["down", "--remove-orphans"]);
    if volumes {
        command = command.arg("--volumes");
    }
    command.run_in(&step).await?;
    step.done("removed");
    folder.forget()
}

/// The containers of the workspace's project.
pub async fn services(platform: &Platform) -> Result<Vec<ContainerStatus>, Failure> {
    let docker = platform.supply.docker().await?;
    Ok(containers::list(docker, &project(&platform.stack().workspace)).await?)
}

/// Hands the log lines on as they come. `arguments`: the tool's own, and names of services.
pub async fn logs(
    platform: &Platform,
    tool: &Compose,
    arguments: &[String],
    mut line: impl FnMut(&str),
) -> Result<(), Failure> {
    let folder = Folder::of(&platform.options.state);
    let kept = running(&folder)?;
    let command = command(platform, tool, &folder, &kept)
        .args(["logs", "--no-color"])
        .args(arguments);
    command.run(|_, text| line(text)).await?;
    Ok(())
}

/// The Compose file as the tool understands it. Where a password belongs it says `<NAME>`: what the environment says goes
/// before the file of variables.
pub async fn merged(platform: &Platform, tool: &Compose) -> Result<String, Failure> {
    let folder = Folder::of(&platform.options.state);
    let kept = running(&folder)?;
    let base = command(platform, tool, &folder, &kept).arg("config");
    let names = compose::variables(platform.stack());
    let names = names.values().flat_map(IndexMap::values);
    let command = names.fold(base, |command, name| command.env(name, format!("<{name}>")));
    Ok(command.output().await?.text() + "\n")
}

fn running(folder: &Folder) -> Result<Kept, Failure> {
    let none = || {
        Plain::new(
            Family::Usage,
            "nothing was brought up with Compose in this workspace",
        )
        .with_hint("vadev compose up")
    };
    Ok(folder.kept()?.ok_or_else(none)?)
}

/// What the shell has set must not get in the way of what the file says.
fn command(platform: &Platform, tool: &Compose, folder: &Folder, kept: &Kept) -> Command {
    let base = tool.command(
        &project(&platform.stack().workspace),
        &folder.file(&kept.profile),
        &folder.variables(),
    );
    let names = compose::variables(platform.stack());
    let command = names
        .values()
        .flat_map(IndexMap::values)
        .fold(base, Command::env_remove);
    command.env_remove("VADEV_HTTP_PORT")
}

/// Secrets of its own: those of a cluster belong to the databases that were made with them.
fn variables(platform: &Platform, folder: &Folder, http_port: u16) -> Result<Vec<(String, String)>, Failure> {
    let stack = platform.stack();
    let values = secrets::ensure(folder.path(), stack, &Secrets::new()).map_err(|error| {
        let path = folder.path().display();
        Plain::new(
            Family::Environment,
            format!("can't keep the development secrets in {path}: {error}"),
        )
    })?;
    let names = compose::variables(stack);
    let mut all = vec![("VADEV_HTTP_PORT".to_owned(), http_port.to_string())];
    for (component, keys) in &names {
        for (key, name) in keys {
            let value = values.get(component).and_then(|values| values.get(key));
            all.extend(value.map(|value| (name.clone(), value.clone())));
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Every image that the engine lacks, side by side as far as the supply allows.
async fn supply(platform: &Platform, images: &Images) -> Result<(), Failure> {
    let wanted = images
        .to_supply
        .iter()
        .filter_map(|(reference, cause)| Some((reference, cause, images.requests.get(reference)?)));
    let get = wanted.map(|(reference, cause, request)| async move {
        let step = platform.reporter.step(
            format!("image/{reference}"),
            format!("Image {reference}"),
            Some(cause.clone()),
        );
        match platform.supply.image(request, &step).await {
            Ok(supplied) => {
                step.done(format!("{} MB", supplied.size / 1_000_000));
                Ok(())
            }
            Err(error) => {
                step.failed(&error);
                Err(error)
            }
        }
    });
    try_join_all(get).await?;
    Ok(())
}

async fn check_port(platform: &Platform, project: &str, port: u16) -> Result<(), Failure> {
    let docker = platform.supply.docker().await?;
    let own = containers::list(docker, project).await?;
    if own
        .iter()
        .any(|one| one.service == GATEWAY && one.state == "running")
    {
        return Ok(());
    }
    if doctor::port_holder(port, &[]) == Holder::Free {
        return Ok(());
    }
    let publishers = doctor::publishers(docker).await?;
    let holder = match doctor::port_holder(port, &publishers) {
        Holder::Free => return Ok(()),
        Holder::Process(name) => format!("is held by {name}"),
        Holder::Container(one) => format!("is held by the container {}", one.container),
        Holder::Forbidden => "may not be opened by this user".to_owned(),
    };
    let hint = format!(
        "choose another one: vadev compose up --http-port {}",
        port.saturating_add(1000)
    );
    Err(
        Plain::new(Family::Environment, format!("port {port} on 127.0.0.1 {holder}"))
            .with_hint(hint)
            .into(),
    )
}

/// The services of the file.
fn names(file: &str) -> Vec<String> {
    let value: serde_json::Value = serde_saphyr::from_str(file).unwrap_or_default();
    value["services"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// Waits until every container is good; what is not, once the time is over.
async fn healthy(
    platform: &Platform,
    project: &str,
    expected: &[String],
    end: Instant,
    step: &Step,
) -> Result<Result<Vec<ContainerStatus>, String>, Failure> {
    let docker = platform.supply.docker().await?;
    loop {
        let all = containers::list(docker, project).await?;
        let waiting = containers::waiting(&all, expected);
        if waiting.is_empty() {
            return Ok(Ok(all));
        }
        let words: Vec<String> = waiting
            .into_iter()
            .map(|(name, state)| format!("{name} is {state}"))
            .collect();
        step.progress(words.join(", "));
        if Instant::now() >= end {
            return Ok(Err(words.join(", ")));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The last log lines of what is not good.
async fn evidence(platform: &Platform, tool: &Compose, folder: &Folder, kept: &Kept) -> Vec<String> {
    let Ok(all) = services(platform).await else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for one in all.iter().filter(|one| !one.is_good()).take(5) {
        lines.push(format!("{}: {}", one.service, one.spoken()));
        let last = command(platform, tool, folder, kept)
            .args(["logs", "--no-color", "--tail", "5", &one.service])
            .deadline(Duration::from_secs(30))
            .finish(|_, line| lines.push(format!("  {line}")))
            .await;
        if let Err(error) = last {
            lines.push(format!("  its log can't be read: {error}"));
        }
    }
    lines
}

/// `/health` and `/api/v1/health`, the way a user asks.
async fn through_gateway(
    platform: &Platform,
    url: &str,
    within: Duration,
) -> Result<Vec<CheckResult>, Failure> {
    if platform.stack().mesh.is_none() || platform.stack().services.is_empty() {
        return Ok(Vec::new());
    }
    let step = platform.reporter.step("verify", "Verify", None);
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build()
        .map_err(|error| Plain::new(Family::Internal, format!("can't make an HTTP client: {error}")))?;
    let mut checks = Vec::new();
    for path in ["/health", "/api/v1/health"] {
        let answer = poll(
            &client,
            &format!("{url}{path}"),
            within.min(Duration::from_mins(1)),
        )
        .await;
        checks.push(CheckResult::of("ingress", format!("{url}{path}"), &answer));
    }
    match checks.iter().find(|check| !check.ok) {
        None => {
            step.done(format!("{} checks passed", checks.len()));
            Ok(checks)
        }
        Some(failed) => {
            let error = Plain::new(Family::Unhealthy, format!("{}: {}", failed.name, failed.detail));
            step.failed(&error);
            Err(error.with_hint(format!("vadev compose logs {GATEWAY}")).into())
        }
    }
}
