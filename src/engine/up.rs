//! `up`: look, plan, carry out, verify.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::OnceCell;

use super::actions::Run;
use super::execute::carry_out;
use super::images::{self, Images};
use super::journal::{Entry, Journal};
use super::mesh;
use super::observe::observe;
use super::platform::Platform;
use super::secrets;
use super::status::{StatusReport, status};
use super::verify::{VerifyReport, verify, verify_now};
use crate::failure::{Failure, Family, Plain};
use crate::plan::{self, Action, ClusterState, Desired, MeshState, Plan};
use crate::profile::stack::LeftOut;
use crate::render::{self, Setting};
use tokio_util::sync::CancellationToken;

/// How far an `up` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Everything: deploy, wait, verify.
    Verified,
    /// Deploy, without waiting until workloads are ready.
    Applied,
    /// Stop after planning.
    Planned,
    /// Carry nothing out: verify what runs.
    VerifyOnly,
}

/// How an `up` goes about it.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Longest wait for one thing.
    pub timeout: Duration,
    /// How far it goes.
    pub goal: Goal,
    /// Leave Istio's installation as it is.
    pub skip_istio: bool,
}

/// What `up -o json` prints.
#[derive(Debug, Serialize)]
pub struct UpReport {
    /// The profile.
    pub profile: String,
    /// kind's name of the cluster.
    pub cluster: String,
    /// Whether anything had to be done.
    pub changed: bool,
    /// The plan, as it was decided.
    pub plan: Vec<PlannedStep>,
    /// What was done, in the order in which it ended. Empty after `--dry-run`.
    pub steps: Vec<StepReport>,
    /// What is deployed; `None` after `--dry-run`.
    pub status: Option<StatusReport>,
    /// What was checked; `None` after `--dry-run` and `--no-wait`.
    pub verify: Option<VerifyReport>,
    /// What is not deployed, and why.
    pub left_out: Vec<LeftOut>,
    /// Addresses on this machine.
    pub urls: Vec<String>,
    /// Wall-clock seconds of all of it.
    pub seconds: f64,
}

/// A step of the plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    /// Id.
    pub id: String,
    /// Title.
    pub title: String,
    /// Why.
    pub cause: String,
    /// What it waits for.
    pub needs: Vec<String>,
    /// Objects it applies or removes, with the cause of each.
    pub objects: Vec<String>,
}

/// A step that was carried out.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Id.
    pub id: String,
    /// Why.
    pub cause: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Brings the platform up. The engine (Docker) answers already.
///
/// # Errors
/// Any layer's failure; the first one, while steps under way are brought to their end.
pub async fn up(platform: &Platform, options: &UpOptions) -> Result<UpReport, Failure> {
    let begun = Instant::now();
    let state = &platform.options.state;
    if options.goal == Goal::VerifyOnly {
        let cluster = platform.running(options.timeout).await?;
        let mut report = report(platform, &Images::default(), Vec::new(), Vec::new(), begun);
        report.verify = Some(verify_now(platform, &cluster, options.timeout).await?);
        report.status = Some(status(platform, &cluster).await?);
        return Ok(report);
    }
    for step in Journal::interrupted(state).map_err(|error| journal_trouble(&error))? {
        platform.reporter.note(format!(
            "an earlier run was interrupted in `{step}`; going on from what is there"
        ));
    }
    let images = images::resolve(platform).await?;
    for left in &images.left_out {
        platform
            .reporter
            .note(format!("{} is left out: {}", left.name, left.reason));
    }
    let mesh_digest = if options.skip_istio {
        None
    } else {
        mesh::digest(platform, &images)
    };
    // Held until the end: two runs would undo each other's half-done steps.
    let _turn = if options.goal == Goal::Planned {
        None
    } else {
        Some(lock(state)?)
    };
    let mut steps = Vec::new();
    let mut planned = Vec::new();
    // A stopped cluster is started first; only then can what it holds be compared.
    let objects = loop {
        let (observed, cluster) = observe(platform, &images).await?;
        refuse_foreign_mesh(platform, &observed.mesh, mesh_digest.as_deref())?;
        let secrets =
            secrets::ensure(state, platform.stack(), &secrets::live(&observed.objects)).map_err(|error| {
                Plain::new(
                    Family::Environment,
                    format!(
                        "can't keep the development secrets in {}: {error}",
                        state.display()
                    ),
                )
            })?;
        let setting = Setting {
            images: images.deployed.clone(),
            secrets,
        };
        let objects = render::objects(platform.stack(), &setting);
        let stopped = matches!(observed.cluster, ClusterState::Stopped | ClusterState::Paused);
        let desired = Desired {
            stack: platform.stack(),
            objects: &objects,
            images: &images.by_component,
            mesh_digest: mesh_digest.as_deref(),
            whole: !platform.stack().partial,
        };
        let mut plan = plan::plan(&desired, &observed);
        if stopped {
            plan.steps.retain(|step| step.action == Action::StartCluster);
        }
        planned.extend(view(&plan));
        if options.goal == Goal::Planned {
            return Ok(report(platform, &images, planned, steps, begun));
        }
        let run = Run {
            platform,
            images: &images,
            objects: &objects,
            timeout: options.timeout,
            wait: options.goal == Goal::Verified,
            cluster: cluster.map_or_else(OnceCell::new, |cluster| OnceCell::new_with(Some(cluster))),
            view: OnceCell::new(),
            creation_failed: CancellationToken::new(),
        };
        steps.extend(execute(platform, &plan, &run).await?);
        if !stopped {
            break objects;
        }
    };
    let mut report = report(platform, &images, planned, steps, begun);
    let cluster = platform.connect(options.timeout).await?;
    if options.goal == Goal::Verified {
        report.verify = Some(verify(platform, &cluster, &objects, options.timeout).await?);
    }
    report.status = Some(status(platform, &cluster).await?);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

async fn execute(platform: &Platform, plan: &Plan, run: &Run<'_>) -> Result<Vec<StepReport>, Failure> {
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let journal = Journal::begin(&platform.options.state, &platform.stack().profile)
        .map_err(|error| journal_trouble(&error))?;
    let ended = carry_out(plan, |step| async {
        let note = |entry| journal.write(&entry).map_err(|error| journal_trouble(&error));
        note(Entry::Begun {
            step: step.id.clone(),
            cause: step.cause.clone(),
        })?;
        let result = run.carry_out(step).await;
        let seconds = result.as_ref().copied().unwrap_or_default();
        note(Entry::Ended {
            step: step.id.clone(),
            ok: result.is_ok(),
            seconds,
        })?;
        result
    })
    .await;
    journal
        .write(&Entry::Closed { ok: ended.is_ok() })
        .map_err(|error| journal_trouble(&error))?;
    let report = |one: super::execute::Ended| StepReport {
        id: one.id,
        cause: one.cause,
        seconds: one.seconds,
    };
    Ok(ended?.into_iter().map(report).collect())
}

/// An Istio that vadev did not install is used as it is, and never changed.
fn refuse_foreign_mesh(platform: &Platform, mesh: &MeshState, wanted: Option<&str>) -> Result<(), Failure> {
    if wanted.is_some() && *mesh == MeshState::Foreign {
        let message = format!(
            "the Istio in {} was not installed by vadev",
            platform.cluster_name()
        );
        return Err(Plain::new(Family::Refused, message)
            .with_hint("use it as it is: vadev up --skip-istio")
            .into());
    }
    Ok(())
}

fn view(plan: &Plan) -> Vec<PlannedStep> {
    let owned = |step: plan::steps::StepView<'_>| PlannedStep {
        id: step.id.to_owned(),
        title: step.title.to_owned(),
        cause: step.cause.to_owned(),
        needs: step.needs.to_vec(),
        objects: step.objects,
    };
    plan.view().into_iter().map(owned).collect()
}

fn report(
    platform: &Platform,
    images: &Images,
    plan: Vec<PlannedStep>,
    steps: Vec<StepReport>,
    begun: Instant,
) -> UpReport {
    let mut left_out = platform.stack().left_out.clone();
    left_out.extend(images.left_out.iter().cloned());
    UpReport {
        profile: platform.stack().profile.clone(),
        cluster: platform.cluster_name(),
        changed: !plan.is_empty(),
        plan,
        steps,
        status: None,
        verify: None,
        left_out,
        urls: urls(platform),
        seconds: begun.elapsed().as_secs_f64(),
    }
}

/// Where to look: the platform's health and every prefix, through the ingress gateway.
fn urls(platform: &Platform) -> Vec<String> {
    if platform.stack().mesh.is_none() {
        return Vec::new();
    }
    let base = format!("http://127.0.0.1:{}", platform.options.http_port);
    let prefixes = platform
        .stack()
        .services
        .iter()
        .flat_map(|sized| &sized.service.prefixes);
    ["/health", "/api/v1/health"]
        .into_iter()
        .map(str::to_owned)
        .chain(prefixes.cloned())
        .map(|path| format!("{base}{path}"))
        .collect()
}

/// The workspace's lock; the operating system frees it when the process ends, however it ends.
fn lock(state: &std::path::Path) -> Result<std::fs::File, Failure> {
    let trouble = |error: std::io::Error| {
        Plain::new(
            Family::Environment,
            format!("can't lock the state folder {}: {error}", state.display()),
        )
        .with_hint("check its permissions")
    };
    std::fs::create_dir_all(state).map_err(trouble)?;
    let file = std::fs::File::create(state.join("lock")).map_err(trouble)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            let message = format!("another vadev is working on {}", state.display());
            Err(Plain::new(Family::Refused, message)
                .with_hint("wait for it to end, or stop it with Ctrl+C")
                .into())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(trouble(error).into()),
    }
}

fn journal_trouble(error: &std::io::Error) -> Plain {
    Plain::new(
        Family::Environment,
        format!("can't use the journal in the state folder: {error}"),
    )
    .with_hint("check the permissions of .vadev in the workspace")
}
