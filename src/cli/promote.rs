use std::path::{Path, PathBuf};
use std::time::Duration;

use super::output::{Format, OutputArgs};
use super::promotion::{Report, refusal, refused, verdict};
use super::{Context, Run, place, promotion, timeout, workspace};
use crate::engine::promote as engine;
use crate::engine::promote::{Applied, ApplyTo, Digests, Written};
use crate::failure::{Failure, Family, Plain};
use crate::k8s::Cluster;
use crate::profile::Stack;
use crate::promote::check::{Finding, Known, check, check_beside};
use crate::promote::images::all_pinned;
use crate::promote::target::{OLDEST_ISTIO, OLDEST_KUBERNETES};
use crate::promote::{
    Difference, Environment, Target, Tree, Version, production_stack, stack, tree as rendered,
};

/// Write production manifests of a profile, check and compare them, and apply them to a cluster
///
/// The tree comes from the same catalog and workspace that run here, in production's sizes. Nothing secret is in it, and
/// the same input gives the same bytes. Images without a digest get the one that their registry tells. Without --check,
/// --diff or --apply the tree is written to --out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev promote -p prod --env prod.yaml --out k8s\n  \
    vadev promote -p prod --env prod.yaml --check -o json\n  \
    vadev promote --check k8s                                       what is in a folder, edited by hand or not\n  \
    vadev promote -p prod --env prod.yaml --diff                    against the platform that runs here\n  \
    vadev promote -p prod --env prod.yaml --diff k8s                against a folder\n  \
    vadev promote -p prod --env prod.yaml --diff --context prod     against a cluster\n  \
    vadev promote -p prod --env prod.yaml --registry registry.example.com/team --out k8s\n  \
    vadev promote -p prod --env prod.yaml --apply --context prod")]
pub struct Promote {
    /// The environment: token issuer, hosts, secrets, images, overrides (vadev schema environment)
    #[arg(long, value_name = "FILE", env = "VADEV_ENV", hide_env = true)]
    env: Option<PathBuf>,
    /// Folder of the tree; `k8s` beside the workspace file unless told
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Look for what must not reach production, and write nothing; with DIR in the manifests there, as they are on disk
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with_all = ["diff", "apply", "out"])]
    #[expect(clippy::option_option, reason = "as for `--diff`, below")]
    check: Option<Option<PathBuf>>,
    /// Show what differs: from the folder DIR, from the cluster of --context, or else from the platform that runs here
    #[arg(long, value_name = "DIR", num_args = 0..=1, conflicts_with = "apply")]
    #[expect(
        clippy::option_option,
        reason = "this is how clap tells `--diff` from `--diff DIR`"
    )]
    diff: Option<Option<PathBuf>>,
    /// Apply to the cluster of --context: dry run of everything, what changes, a question, then wave by wave
    #[arg(long)]
    apply: bool,
    /// Oldest Kubernetes that is to take the tree
    #[arg(long, value_name = "VERSION", value_parser = Version::parse, default_value_t = OLDEST_KUBERNETES, env = "VADEV_KUBE_VERSION", hide_env = true)]
    kube_version: Version,
    /// Oldest Istio that is to take the tree
    #[arg(long, value_name = "VERSION", value_parser = Version::parse, default_value_t = OLDEST_ISTIO, env = "VADEV_ISTIO_VERSION", hide_env = true)]
    istio_version: Version,
    /// Push locally built images there, and pin them by digest; with --check and --diff only look for them there
    #[arg(long, value_name = "HOST/PATH", env = "VADEV_REGISTRY", hide_env = true)]
    registry: Option<String>,
    /// Replace one figure, for instance agent-engine.replicas=4
    #[arg(long, value_name = "NAME.FIELD=VALUE")]
    set: Vec<String>,
    /// Longest wait for one workload
    #[arg(long, value_name = "TIME", default_value = "600s", value_parser = timeout::parse, env = "VADEV_TIMEOUT", hide_env = true)]
    timeout: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Promote {
    fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(Some(folder)) = &self.check {
            return self.check_folder(context, folder);
        }
        let job = Job::prepare(self, context)?;
        let mut report = job.report();
        let refused = refused(&report.findings);
        if refused && job.args.writes() {
            return Err(refusal(&report.findings));
        }
        if job.args.diff.is_some() {
            report.differences = Some(job.differences(context)?);
        } else if job.args.apply {
            report.applied = Some(job.apply(context)?);
        } else if job.args.check.is_none() {
            let folder = job.folder(context)?;
            let texts = job
                .tree
                .texts()
                .map_err(|error| Plain::new(Family::Internal, format!("can't write YAML: {error}")))?;
            let written = engine::write(&folder, &texts)?;
            report.findings.extend(job.beside(&written));
            report.written = Some(written);
        }
        let reporter = context.reporter();
        job.raised.iter().for_each(|note| reporter.note(note.clone()));
        let palette = context.stdout_palette();
        context.print(&job.args.output.output.text(&report, |wide| {
            promotion::text(
                &report.findings,
                report.differences.as_deref(),
                report.written.as_ref(),
                report.applied.as_ref(),
                &report.notes,
                wide,
                palette,
            )
        })?)?;
        if job.args.check.is_some() {
            return verdict(&report.findings);
        }
        Ok(())
    }

    fn machine_readable(&self) -> bool {
        self.output.output != Format::Table && self.output.output != Format::Wide
    }
}

impl Promote {
    /// Whether the tree is to go somewhere, and not only to be looked at.
    const fn writes(&self) -> bool {
        self.check.is_none() && self.diff.is_none()
    }

    /// Checks the manifests of a folder: no profile and no environment, only what is there.
    fn check_folder(&self, context: &Context, folder: &Path) -> Result<(), Failure> {
        if !folder.is_dir() {
            let message = format!("there is no folder {}", folder.display());
            return Err(Plain::new(Family::Usage, message)
                .with_hint(
                    "write one with vadev promote --out DIR, or leave it out to check what would be written",
                )
                .into());
        }
        let tree = engine::manifests(folder)?;
        if tree.objects().next().is_none() {
            let message = format!("there are no manifests in {}", folder.display());
            return Err(Plain::new(Family::Usage, message)
                .with_hint("name a folder with .yaml files, such as one that vadev promote --out wrote")
                .into());
        }
        let loaded = context.loaded()?;
        let issuer = &loaded.catalog.mesh.policy.tokens.issuer;
        let known = engine::known(&loaded.state(), issuer, self.registry.as_deref())?;
        let findings = check(&tree, &known);
        let report = Report {
            ok: !refused(&findings),
            folder: Some(folder.to_owned()),
            findings,
            ..Report::default()
        };
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&report, |wide| {
            promotion::text(&report.findings, None, None, None, &[], wide, palette)
        })?)?;
        verdict(&report.findings)
    }

    /// What can't be meant is told before anything is looked up or pushed.
    fn refuse_what_means_nothing(&self, context: &Context) -> Result<(), Failure> {
        if context.globals().namespace_prefix.is_some() {
            let message = "--namespace-prefix is for clusters that developers share, and production has its namespaces to itself";
            return Err(Plain::new(Family::Usage, message)
                .with_hint("leave it away, or unset VADEV_NAMESPACE_PREFIX")
                .into());
        }
        if self.apply && context.globals().context.is_none() {
            return Err(nowhere());
        }
        Ok(())
    }
}

fn nowhere() -> Failure {
    Plain::new(Family::Usage, "--apply needs the cluster's name")
        .with_hint("name it: vadev promote --apply --context NAME")
        .into()
}

/// Everything that does not depend on what is asked of the tree.
struct Job {
    args: Promote,
    environment: Environment,
    stack: Stack,
    target: Target,
    tree: Tree,
    findings: Vec<Finding>,
    known: Known,
    /// What the stack has beyond what was asked for.
    raised: Vec<String>,
}

impl Job {
    fn prepare(args: Promote, context: &Context) -> Result<Self, Failure> {
        args.refuse_what_means_nothing(context)?;
        let loaded = context.loaded()?;
        let profile = context.profile(None)?;
        let environment = match &args.env {
            Some(file) => Environment::read(&workspace::text_of(file)?, &loaded.catalog)?,
            None => Environment::unnamed(),
        };
        let target = Target::new(args.kube_version, args.istio_version)?;
        let stack = production_stack(
            &loaded.catalog,
            profile,
            &loaded.workspace,
            &environment,
            &args.set,
        )?;
        let registry = args.registry.as_deref();
        let mut digests = Digests::default();
        let mut workshop = None;
        if !all_pinned(&stack) {
            let workshop = workshop.insert(context.workshop(&stack)?);
            digests = context.block_on(engine::digests(workshop, registry, args.writes()))?;
        }
        let issuer = &loaded.catalog.mesh.policy.tokens.issuer;
        let known = engine::known(&loaded.state(), issuer, registry)?;
        let mut tree = rendered(&stack, &environment, target, &digests.rehearsed());
        let mut findings = check(&tree, &known);
        // A push can't be taken back: nothing leaves this machine for a tree that is refused.
        if let Some(workshop) = &workshop
            && !digests.pushes.is_empty()
            && !refused(&findings)
        {
            let pinned = context.block_on(engine::push(&workshop.supply, &digests, &workshop.reporter))?;
            tree = rendered(&stack, &environment, target, &pinned);
            findings = check(&tree, &known);
        }
        let raised = stack::notes(&loaded.catalog, &stack);
        Ok(Self {
            args,
            environment,
            stack,
            target,
            tree,
            findings,
            known,
            raised,
        })
    }

    fn report(&self) -> Report {
        Report {
            profile: Some(self.stack.profile.clone()),
            environment: Some(self.environment.name.clone()),
            target: Some(self.target),
            folder: None,
            notes: [self.raised.clone(), self.target.notes(self.stack.mesh.is_some())].concat(),
            ok: !refused(&self.findings),
            findings: self.findings.clone(),
            differences: None,
            written: None,
            applied: None,
        }
    }

    /// What is in the folder beside the tree would be applied with it, and so is looked at with it.
    fn beside(&self, written: &Written) -> Vec<Finding> {
        let mut beside = Tree::default();
        for name in written.foreign.iter().filter(|name| engine::is_manifest(name)) {
            // What can't be read is nothing that kubectl could apply; it is named among what was left alone.
            if let Ok(objects) = engine::objects(&written.folder.join(name)) {
                beside.files.insert(name.clone(), objects);
            }
        }
        check_beside(&self.tree, &beside, &self.known)
    }

    fn folder(&self, context: &Context) -> Result<PathBuf, Failure> {
        Ok(match &self.args.out {
            Some(folder) => folder.clone(),
            None => context.loaded()?.root.join("k8s"),
        })
    }

    /// The cluster of `--context`, by the user's own kubeconfig.
    async fn connect(name: &str) -> Result<Cluster, Failure> {
        let target = place::foreign(name)?;
        Ok(Cluster::connect(&target, Duration::from_secs(20)).await?)
    }

    fn differences(&self, context: &Context) -> Result<Vec<Difference>, Failure> {
        if let Some(Some(folder)) = &self.args.diff {
            return engine::compare_folder(&self.tree, folder);
        }
        if let Some(name) = &context.globals().context {
            return context.block_on(async {
                let cluster = Self::connect(name).await?;
                engine::compare_cluster(&cluster, &self.tree).await
            });
        }
        let platform = context.running()?;
        context.block_on(async {
            let cluster = platform.running(Duration::from_secs(20)).await?;
            engine::compare_development(&platform, &cluster, &self.tree, &self.environment).await
        })
    }

    fn apply(&self, context: &Context) -> Result<Applied, Failure> {
        let Some(name) = context.globals().context.as_deref() else {
            return Err(nowhere());
        };
        let state = context.loaded()?.make_state()?;
        context.block_on(async {
            let cluster = Self::connect(name).await?;
            let reporter = context.reporter();
            let to = ApplyTo {
                cluster: &cluster,
                tree: &self.tree,
                stack: &self.stack,
                target: self.target,
                state: &state,
                timeout: self.args.timeout,
                reporter: &reporter,
            };
            to.rehearse().await?;
            let differences = engine::compare_cluster(&cluster, &self.tree).await?;
            if !self.machine_readable() {
                context.print(&promotion::differences(
                    &differences,
                    false,
                    context.stdout_palette(),
                ))?;
            }
            let (gone, other): (Vec<_>, Vec<_>) = differences
                .into_iter()
                .partition(|one| one.change == crate::promote::diff::Change::Removed);
            let stay = gone.into_iter().map(|one| one.object).collect();
            if other.is_empty() {
                let confirmed = engine::confirm(&to).await?;
                return Ok(Applied { stay, ..confirmed });
            }
            context.insist(&format!(
                "Apply {} objects to the cluster {name} at {}?",
                self.tree.objects().count(),
                cluster.server()
            ))?;
            let applied = engine::apply(&to).await?;
            Ok(Applied { stay, ..applied })
        })
    }

    fn machine_readable(&self) -> bool {
        self.args.machine_readable()
    }
}
