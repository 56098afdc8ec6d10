//! `up`: look, plan, carry out, verify.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::OnceCell;

use super::actions::Run;
use super::builds;
use super::checked::VerifyReport;
use super::develop::{self, Develop};
use super::execute::carry_out;
use super::gateway_tls;
use super::images::{self, Images};
use super::journal::{Entry, Journal};
use super::look::{Look, look};
use super::mesh;
use super::platform::Platform;
use super::secrets;
use super::seed::seed;
use super::status::{StatusReport, status};
use super::tokens::{self, TokenKey};
use super::turn::{self, urls};
use super::verify::{verify, verify_now};
use crate::cluster::{cluster_target, merge_into_user_file};
use crate::failure::{Diagnose, Failure, Family, Plain};
use crate::plan::{self, Action, ClusterState, Desired, MeshState, Observed, Plan};
use crate::profile::stack::LeftOut;
use crate::render::mesh::IstioApi;
use crate::render::{self, Object, Setting};
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
    /// Make the cluster's context the current one of the user's kubeconfig.
    pub use_context: bool,
    /// Services that get the parts that development needs; others lose them.
    pub develop: Develop,
}

/// What `up -o json` prints.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
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
    /// The context of the cluster, in `.vadev/` and in the user's kubeconfig.
    pub context: String,
    /// Addresses on this machine, or under `host`.
    pub urls: Vec<String>,
    /// The host name under which a shared ingress gateway knows the platform; `None` where it has a gateway for itself.
    pub host: Option<String>,
    /// Wall-clock seconds of all of it.
    pub seconds: f64,
}

/// A step of the plan.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
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
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// Id.
    pub id: String,
    /// Why.
    pub cause: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Brings the platform up. The engine (Docker) answers already, and unless nothing is to be carried out the caller holds the
/// workspace's [lock](super::lock): two runs would undo each other's half-done steps.
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
    // What another run has begun and not ended, it is still at.
    let begun_earlier = if options.goal == Goal::Planned && turn::is_locked(state) {
        platform
            .reporter
            .note("another vadev is working on this workspace: what it has not done yet is in the plan");
        Vec::new()
    } else {
        Journal::interrupted(state).map_err(|error| journal_trouble(&error))?
    };
    for step in begun_earlier {
        platform.reporter.note(format!(
            "an earlier run was interrupted in `{step}`; going on from what is there"
        ));
    }
    let mut steps = Vec::new();
    let mut planned = Vec::new();
    let mut known = None;
    let mut rounds = 0;
    // A stopped cluster is started first; only then can what it holds be compared. For a registry, images are had first:
    // only then is it known what they are called there.
    let (objects, images) = loop {
        rounds += 1;
        let Look {
            images,
            prepared,
            supplied_first,
            mesh_digest,
            observed,
            cluster,
        } = look(platform, options, known.take(), rounds).await?;
        refuse_foreign_mesh(platform, &observed.mesh, mesh_digest.as_deref())?;
        let api = mesh::api(platform, cluster.as_ref()).await?;
        let objects = objects(platform, &images, &observed, &prepared, api)?;
        let stopped = matches!(observed.cluster, ClusterState::Stopped | ClusterState::Paused);
        let desired = Desired {
            stack: platform.stack(),
            objects: &objects,
            images: &images.by_component,
            mesh_digest: mesh_digest.as_deref(),
            pushes: platform.options.place.existing().is_some(),
            whole: !platform.stack().partial,
        };
        let mut plan = plan::plan(&desired, &observed);
        if stopped {
            plan.steps.retain(|step| step.action == Action::StartCluster);
        }
        if supplied_first {
            plan.steps
                .retain(|step| matches!(step.action, Action::SupplyImage(_)));
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
            lacking: OnceCell::new(),
            creation_failed: CancellationToken::new(),
            failed: CancellationToken::new(),
        };
        steps.extend(execute(platform, &plan, &run).await?);
        if supplied_first {
            known = Some((images::resolve(platform).await?, prepared));
        } else if stopped {
            known = Some((images, prepared));
        } else {
            break (objects, images);
        }
    };
    let mut report = report(platform, &images, planned, steps, begun);
    let cluster = platform.connect(options.timeout).await?;
    let offered = offer_context(platform, options.use_context).await;
    gateway_tls::serve_elsewhere(platform, &cluster).await?;
    if options.goal == Goal::Verified {
        report.verify = Some(verify(platform, &cluster, &objects, options.timeout).await?);
        seed(platform, &cluster, &objects).await?;
    }
    // Only now: the platform is up, whatever is wrong with a file of the user's.
    match offered {
        Err(error) if !options.use_context => not_offered(platform, error.as_ref()),
        offered => offered?,
    }
    report.status = Some(status(platform, &cluster).await?);
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Everything that is to be in the cluster, with the secrets that it has already.
fn objects(
    platform: &Platform,
    images: &Images,
    observed: &Observed,
    prepared: &develop::AllPrepared,
    api: IstioApi,
) -> Result<Vec<Object>, Failure> {
    let state = &platform.options.state;
    let amid = platform.amid(&observed.objects);
    let live = secrets::live(&observed.objects);
    let secrets = secrets::ensure(state, &amid, &live).map_err(|error| {
        let message = format!(
            "can't keep the development secrets in {}: {error}",
            state.display()
        );
        Plain::new(Family::Environment, message)
    })?;
    let development = develop::complete(prepared, &observed.objects).map_err(|error| {
        Plain::new(
            Family::Environment,
            format!("can't make a session's token: {error}"),
        )
    })?;
    let setting = Setting {
        images: images.deployed.clone(),
        secrets,
        development,
        mesh: tokens::mesh_setting(
            platform.stack(),
            builds::among(platform, &amid),
            Some(&TokenKey::ensure(state)?),
            images.proxies(),
            api,
        ),
        ..Setting::default()
    };
    Ok(render::part(platform.stack(), &amid, &setting))
}

async fn execute(platform: &Platform, plan: &Plan, run: &Run<'_>) -> Result<Vec<StepReport>, Failure> {
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let journal = Journal::begin(&platform.options.state, &platform.stack().profile)
        .map_err(|error| journal_trouble(&error))?;
    let ended = carry_out(plan, &run.failed, |step| async {
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

/// Puts the cluster's context into the user's kubeconfig, so that any Kubernetes tool can be used on it. The current
/// context stays what it was, unless it was asked for.
async fn offer_context(platform: &Platform, make_current: bool) -> Result<(), Failure> {
    let Some(user) = platform
        .options
        .kubeconfig
        .as_ref()
        .filter(|_| platform.options.place.existing().is_none())
    else {
        return Ok(());
    };
    let own = platform.kind().await?.kubeconfig(&platform.cluster_name());
    merge_into_user_file(&own, user, make_current).await?;
    Ok(())
}

/// The user's kubeconfig is a convenience: that it can't be written is no failure unless it was asked for.
fn not_offered(platform: &Platform, error: &dyn Diagnose) {
    let own = cluster_target(&platform.options.state, &platform.cluster_name()).kubeconfig;
    let meanwhile = format!("export KUBECONFIG={}", own.display());
    let hint = match error.hint() {
        Some(hint) => format!("{hint}; until then: {meanwhile}"),
        None => meanwhile,
    };
    let message = format!("the context {} is not offered: {error}", platform.context());
    platform.reporter.warn(message, Some(hint));
}

/// An Istio that vadev did not install is used as it is, and never changed. A cluster that is not vadev's own must have one.
fn refuse_foreign_mesh(platform: &Platform, mesh: &MeshState, wanted: Option<&str>) -> Result<(), Failure> {
    if platform.stack().mesh.is_some()
        && !platform.options.place.may_install_mesh()
        && *mesh == MeshState::Missing
    {
        let message = format!("{} has no Istio", platform.cluster_name());
        return Err(Plain::new(Family::Refused, message)
            .with_hint("have vadev install it: --install-istio; or go without: --skip-istio")
            .into());
    }
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
    let owned = |step: plan::StepView<'_>| PlannedStep {
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
        context: platform.context(),
        urls: urls(platform),
        host: platform.stack().host.clone(),
        seconds: begun.elapsed().as_secs_f64(),
    }
}

fn journal_trouble(error: &std::io::Error) -> Plain {
    Plain::new(
        Family::Environment,
        format!("can't use the journal in the state folder: {error}"),
    )
    .with_hint("check the permissions of .vadev in the workspace")
}
