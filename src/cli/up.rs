use std::time::Duration;

use clap::ArgAction;
use clap::builder::FalseyValueParser;

use super::output::OutputArgs;
use super::place::Elsewhere;
use super::platform::{Sources, Wanted};
use super::ports::{Ports, Shape};
use super::selecting::Selecting;
use super::{Context, Run, status, timeout, verify};
use crate::engine::develop::Develop;
use crate::engine::{self, ClusterPorts, Existing, Goal, Platform, UpOptions, UpReport};
use crate::failure::Failure;
use crate::plan::ClusterState;
use crate::profile::{Capacity, Selection, available, resolve};
use crate::report::{Palette, text};
use crate::supply::engine::{EngineOptions, ensure};

/// Bring the platform up: container engine, tools, images, cluster, Istio, infrastructure, services; and verify it
///
/// A second `up` changes nothing where nothing has changed, mends what has drifted, and goes on where an earlier one was
/// interrupted.
// Each flag is one of the command line's own; they exclude each other where that makes sense.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev up                                          the workspace's profile, or dev\n  \
    vadev up -p minimal\n  \
    vadev up agent-engine                             one service, with what it needs\n  \
    vadev up --dry-run                                the plan, with the cause of each step\n  \
    vadev up --yes -o json | jq .seconds              no questions, and a report")]
pub struct Up {
    #[command(flatten)]
    selecting: Selecting,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Nodes of a cluster that has to be made; default: 1, or what the cluster has
    #[arg(long, value_name = "COUNT", env = "VADEV_NODES", hide_env = true,
          value_parser = clap::value_parser!(u32).range(1..=9), help_heading = "Cluster")]
    nodes: Option<u32>,
    /// Change nothing: check that what runs works
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "dry_run")]
    verify_only: bool,
    /// Change nothing: show the plan
    #[arg(long, action = ArgAction::SetTrue)]
    dry_run: bool,
    /// Wait until everything is ready and verified; the default
    #[arg(long, action = ArgAction::SetTrue, overrides_with = "no_wait")]
    wait: bool,
    /// Do not wait until workloads are ready, and do not verify
    #[arg(long, action = ArgAction::SetTrue, overrides_with = "wait")]
    no_wait: bool,
    /// Make the cluster's context the current one for kubectl and its like; by default the current one stays
    #[arg(long, action = ArgAction::SetTrue, env = "VADEV_USE_CONTEXT", hide_env = true,
          value_parser = FalseyValueParser::new(), help_heading = "Cluster")]
    use_context: bool,
    /// Longest wait for one thing, for instance 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
    /// Without `-p`, the profile that runs: for verbs that go on with it.
    #[arg(skip)]
    deployed: bool,
}

impl Run for Up {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = self.platform(context)?;
        self.check_capacity(context, &platform)?;
        let report = context.block_on(self.carry_out(context, &platform, Develop::new()))?;
        let palette = context.stdout_palette();
        context.print(
            &self
                .output
                .output
                .text(&report, |_| told(&report, self.dry_run, palette))?,
        )?;
        report.verify.as_ref().map_or(Ok(()), verify::failed)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

impl Up {
    /// An `up` that another verb begins with.
    pub(super) fn of(selecting: Selecting, sources: Sources, ports: Ports, timeout: Duration) -> Self {
        Self {
            selecting,
            sources,
            ports,
            elsewhere: Elsewhere::default(),
            nodes: None,
            verify_only: false,
            dry_run: false,
            wait: true,
            no_wait: false,
            use_context: false,
            timeout,
            output: OutputArgs::default(),
            deployed: false,
        }
    }

    /// The same for services of a platform that runs, and for nothing beside them.
    pub(super) fn beside(services: Vec<String>, timeout: Duration) -> Self {
        let selecting = Selecting {
            only: services,
            skip_istio: true,
            ..Selecting::default()
        };
        let up = Self::of(selecting, Sources::default(), Ports::default(), timeout);
        Self { deployed: true, ..up }
    }

    /// The platform that these flags mean.
    pub(super) fn platform(&self, context: &Context) -> Result<Platform, Failure> {
        context.platform(&Wanted {
            selection: self.selecting.selection(),
            sources: self.sources.clone(),
            ports: self.ports,
            nodes: self.nodes,
            elsewhere: self.elsewhere.clone(),
            deployed: self.verify_only || self.deployed,
        })
    }

    /// Refuses a platform that is larger than there is room for.
    pub(super) fn check_capacity(&self, context: &Context, platform: &Platform) -> Result<(), Failure> {
        check_capacity(context, platform, &self.selecting.selection())
    }

    /// The flags exclude each other, but for `--dry-run --no-wait`, where planning comes first.
    fn goal(&self) -> Goal {
        match (self.dry_run, self.verify_only, self.no_wait) {
            (true, ..) => Goal::Planned,
            (_, true, _) => Goal::VerifyOnly,
            (.., true) => Goal::Applied,
            _ => Goal::Verified,
        }
    }

    pub(super) async fn carry_out(
        &self,
        context: &Context,
        platform: &Platform,
        develop: Develop,
    ) -> Result<UpReport, Failure> {
        let options = UpOptions {
            timeout: self.timeout,
            goal: self.goal(),
            skip_istio: self.selecting.skip_istio,
            use_context: self.use_context,
            develop,
        };
        let mut _hold = None;
        if !self.dry_run && !self.verify_only {
            let consent = |question: &str| context.agrees(question);
            let step = context.reporter().step("engine", "Container engine", None);
            match ensure(&EngineOptions::new(&consent), &step).await {
                Ok(engine) => step.done(engine.done.join(", ")),
                Err(error) => {
                    step.failed(&error);
                    return Err(error.into());
                }
            };
            context.loaded()?.make_state()?;
            // Before anything is remembered, and until the end.
            _hold = Some(engine::lock(&platform.options.state)?);
            if let Some(existing) = platform.options.place.existing() {
                self.agreed(context, platform, existing).await?;
            } else {
                self.check_ports(platform).await?;
            }
        }
        engine::up(platform, &options).await
    }

    /// Nothing is brought to a cluster that vadev did not make before a person has seen which one it is.
    async fn agreed(
        &self,
        context: &Context,
        platform: &Platform,
        existing: &Existing,
    ) -> Result<(), Failure> {
        let cluster = platform.connect(self.timeout).await?;
        let there = engine::status(platform, &cluster).await?;
        if there.components.is_empty() {
            let free = engine::free(&cluster).await?;
            let most = available(&self.selecting.selection(), Some(free)).unwrap_or(free);
            Capacity::of(platform.stack(), most, true).check(&platform.stack().profile, &[])?;
        }
        let namespaces = &platform.stack().namespaces;
        context.insist(&format!(
            "Bring the profile {} to the cluster {} at {}, into the namespaces {} and {}?",
            platform.stack().profile,
            existing.target.context,
            cluster.server(),
            namespaces.apps,
            namespaces.infra
        ))?;
        let state = &platform.options.state;
        let kept = Shape::remembered(state)?.filter(|_| !there.components.is_empty());
        let mut shape = Shape::default();
        shape.brings(platform.stack(), kept.as_ref());
        shape.remember(state)
    }

    /// What the machine must have for a cluster that is to be made, and its ports. They are fixed when it is made; before that, and before a stopped one takes them again, whoever holds one
    /// is named. What was remembered of a cluster that is to be made binds nobody.
    async fn check_ports(&self, platform: &Platform) -> Result<(), Failure> {
        let state = &platform.options.state;
        let mut shape = Shape {
            http_port: platform.options.http_port,
            https_port: platform.options.https_port,
            nodes: platform.options.nodes,
            ..Shape::default()
        };
        let there = platform.state().await?;
        if matches!(there, ClusterState::Missing | ClusterState::Broken(_)) {
            engine::ready(platform).await?;
            engine::free_ports(platform, ClusterPorts::Free).await?;
            shape.brings(platform.stack(), None);
            return shape.remember(state);
        }
        let kept = Shape::remembered(state)?;
        if let Some(kept) = &kept {
            shape.must_be(kept, &platform.cluster_name())?;
        }
        shape.brings(platform.stack(), kept.as_ref());
        if there == ClusterState::Stopped {
            engine::free_ports(platform, ClusterPorts::Fixed).await?;
        }
        shape.remember(state)
    }
}

/// Refuses what this machine cannot hold, or what the selection's bounds do not allow, before anything is started.
pub fn check_capacity(context: &Context, platform: &Platform, selection: &Selection) -> Result<(), Failure> {
    let host = context.machine();
    let own = platform.options.place.existing().is_none();
    let Some(most) = available(selection, host).filter(|_| own) else {
        return Ok(());
    };
    let loaded = context.loaded()?;
    let capacity = Capacity::of(platform.stack(), most, false);
    if capacity.fits() {
        return Ok(());
    }
    let mut others = Vec::new();
    for profile in loaded
        .profiles
        .values()
        .filter(|profile| profile.name != platform.stack().profile)
    {
        // A profile without what is asked for is none to take instead.
        if let Ok(stack) = resolve(&loaded.catalog, profile, &loaded.workspace, selection, host) {
            others.push((profile.name.clone(), Capacity::of(&stack, most, false)));
        }
    }
    capacity.check(&platform.stack().profile, &others)?;
    Ok(())
}

/// What a person reads at the end: the plan, or the platform and where to look.
fn told(report: &UpReport, dry_run: bool, palette: Palette) -> String {
    if dry_run {
        return plan(report, palette).join("\n") + "\n";
    }
    let table = report
        .status
        .as_ref()
        .map(|status| status::table(status, false, palette));
    let time = text::seconds(report.seconds);
    let mut lines = vec![String::new()];
    lines.push(if report.changed {
        format!("{} is up: {} steps in {time}", report.cluster, report.steps.len())
    } else {
        format!("{} is up: nothing had to be changed ({time})", report.cluster)
    });
    if let Some(url) = report.urls.first() {
        lines.push(format!("Look at {}", palette.cyan(url)));
        if let Some(host) = &report.host {
            lines.push(format!(
                "The cluster's ingress gateway knows it by that host: curl -H 'Host: {host}' http://ADDRESS/health"
            ));
        }
    }
    lines.push(format!(
        "kubectl and its like find it as context {}",
        report.context
    ));
    lines.push("Next: vadev status, vadev verify, vadev down".to_owned());
    table.unwrap_or_default() + &lines.join("\n") + "\n"
}

/// The steps with their causes, and below each what it applies or removes.
fn plan(report: &UpReport, palette: Palette) -> Vec<String> {
    if report.plan.is_empty() {
        return vec![format!(
            "nothing to do: {} is as the profile {} says",
            report.cluster, report.profile
        )];
    }
    let step = |step: &engine::PlannedStep| {
        let head = format!("{}  ({})", palette.bold(&step.title), step.cause);
        let objects = step.objects.iter().map(|object| format!("    {object}"));
        std::iter::once(head).chain(objects).collect::<Vec<_>>()
    };
    report.plan.iter().flat_map(step).collect()
}
