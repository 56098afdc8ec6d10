//! Applying the tree to a cluster that vadev did not make: everything rehearsed first, then wave by wave, with a way back.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use super::super::checked::VerifyReport;
use super::super::verify::verify_promoted;
use super::compare::there;
use super::fits::fits;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{self, ApplyOptions, Cluster, ObjectRef, Scope, View, WaitOptions};
use crate::operate::enforce::enforcement;
use crate::profile::Stack;
use crate::promote::secrets::needed;
use crate::promote::tree::{WAVES, id};
use crate::promote::{Target, Tree};
use crate::render::mesh::TLS_SECRET;
use crate::render::yaml;
use crate::report::{Outcome, Reporter};

/// What is applied, where, and how patiently.
pub struct ApplyTo<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The tree.
    pub tree: &'a Tree,
    /// What it was rendered from.
    pub stack: &'a Stack,
    /// What it was rendered for.
    pub target: Target,
    /// Folder for what was there before.
    pub state: &'a Path,
    /// Longest wait for one workload.
    pub timeout: Duration,
    /// Where progress goes.
    pub reporter: &'a Reporter,
}

/// What was done.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The context.
    pub context: String,
    /// Objects that are new.
    pub created: usize,
    /// Objects that are different now.
    pub changed: usize,
    /// Objects that were so already.
    pub unchanged: usize,
    /// Manifest of what was there before, where something was.
    pub before: Option<PathBuf>,
    /// Objects of the platform that the tree has not. They stay: nothing is deleted from a cluster that is not vadev's.
    pub stay: Vec<String>,
    /// What the platform answered afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyReport>,
}

/// How long one answer may be waited for when all is applied: pods are ready by then, and routes on their way.
const ANSWER: Duration = Duration::from_mins(1);

impl ApplyTo<'_> {
    /// Whether the cluster can take the tree at all, and what the API server says of each object. Changes nothing.
    pub async fn rehearse(&self) -> Result<(), Failure> {
        let step = self
            .reporter
            .step("rehearse", "Dry run of everything on the server", None);
        let result = self.rehearsed(&step).await;
        match &result {
            Ok(count) => step.done(format!("{count} objects would be accepted")),
            Err(error) => step.finish(Outcome::Failed, error.to_string()),
        };
        result.map(drop)
    }

    async fn rehearsed(&self, step: &crate::report::Step) -> Result<usize, Failure> {
        fits(self.cluster, self.tree, self.target).await?;
        step.progress("asking the API server");
        let objects: Vec<&Value> = self.tree.objects().map(|(_, object)| object).collect();
        k8s::rehearse(self.cluster, &objects).await?;
        let policies = objects.iter().filter(|object| object["kind"] == "NetworkPolicy");
        if let Some(doubt) = enforcement(self.cluster).await?.doubt(policies.count()) {
            let hint = "a network that enforces them is part of the cluster: Calico, Cilium and others";
            self.reporter.warn(doubt, Some(hint.to_owned()));
        }
        Ok(objects.len())
    }

    /// Where the platform's pods are.
    fn scope(&self) -> Scope {
        let namespaces = &self.stack.namespaces;
        Scope::Namespaces(vec![namespaces.apps.clone(), namespaces.infra.clone()])
    }

    /// The four waves. `confirmed` is only ever reached by a person's yes.
    async fn waves(&self, report: &mut Applied) -> Result<(), Failure> {
        let scope = self.scope();
        let mut view = None;
        for (name, prefix) in WAVES {
            let objects: Vec<&Value> = self.tree.wave(prefix).collect();
            let step = self
                .reporter
                .step(format!("wave/{name}"), format!("Apply {name}"), None);
            let wave = self.wave(&objects, &step, report, &mut view, &scope).await;
            match wave {
                Ok(()) => step.done(format!("{} objects", objects.len())),
                Err(error) => {
                    step.finish(Outcome::Failed, error.to_string());
                    return Err(error);
                }
            };
            if name == "base" {
                self.secrets_there().await?;
            }
        }
        Ok(())
    }

    async fn wave(
        &self,
        objects: &[&Value],
        step: &crate::report::Step,
        report: &mut Applied,
        view: &mut Option<View>,
        scope: &Scope,
    ) -> Result<(), Failure> {
        self.cluster.recheck().await?;
        let options = ApplyOptions {
            recreate: false,
            ..ApplyOptions::default()
        };
        let applied = k8s::apply_each(self.cluster, objects.iter().copied(), options, |one| {
            step.progress(one.object.to_string());
        })
        .await?;
        for one in &applied {
            match one.change {
                k8s::Change::Created => report.created += 1,
                k8s::Change::Unchanged => report.unchanged += 1,
                _ => report.changed += 1,
            }
        }
        let workloads = workloads(objects.iter().copied());
        if workloads.is_empty() {
            return Ok(());
        }
        let view = view.get_or_insert_with(|| View::open(self.cluster, scope));
        view.expect_applied(&applied);
        view.wait_all(&workloads, WaitOptions::within(self.timeout), Some(step))
            .await?;
        Ok(())
    }

    /// The Secrets that pods refer to, once their namespaces are there. A pod without one would wait for ever.
    async fn secrets_there(&self) -> Result<(), Failure> {
        let made_by_operator = self
            .tree
            .objects()
            .any(|(_, object)| object["kind"] == "ExternalSecret");
        let mut missing: Vec<String> = Vec::new();
        for key in needed(self.stack) {
            if made_by_operator && key.secret != TLS_SECRET {
                continue;
            }
            let reference = ObjectRef::new("v1", "Secret", &key.namespace, &key.secret);
            let found = k8s::find(self.cluster, &reference).await?;
            let has = found.is_some_and(|secret| {
                key.secret == TLS_SECRET || secret.data["data"].get(&key.key).is_some()
            });
            if !has {
                missing.push(format!("{} in {}: {}", key.secret, key.namespace, key.key));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Plain::new(
            Family::Refused,
            format!("{} keys of Secrets are missing in the cluster", missing.len()),
        )
        .with_details(missing)
        .with_hint("make them as infrastructure/README.md of the tree says, and run the same command again")
        .into())
    }

    /// Keeps what the tree is about to change, as a manifest that can be applied again.
    async fn keep(&self) -> Result<Option<PathBuf>, Failure> {
        let wanted: Vec<ObjectRef> = self
            .tree
            .objects()
            .map(|(_, object)| ObjectRef::from(&id(object)))
            .collect();
        let mut before: Vec<Value> = there(self.cluster, self.tree).await?;
        before.retain(|object| {
            ObjectRef::of(object).is_ok_and(|one| wanted.iter().any(|other| other.same_object(&one)))
        });
        if before.is_empty() {
            return Ok(None);
        }
        before.iter_mut().for_each(bare);
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let folder = self.state.join("promote");
        let path = folder.join(format!(
            "before-{}-{seconds}.yaml",
            self.cluster.id().context.replace(['/', ':'], "-")
        ));
        let text = yaml::values(&before)
            .map_err(|error| Plain::new(Family::Internal, format!("can't write YAML: {error}")))?;
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| {
            Plain::new(
                Family::Environment,
                format!("can't keep what is there before in {}: {error}", path.display()),
            )
        })?;
        Ok(Some(path))
    }
}

/// Applies the tree, whose rehearsal passed and which a person agreed to, and asks the platform whether it works.
pub async fn apply(to: &ApplyTo<'_>) -> Result<Applied, Failure> {
    to.cluster.recheck().await?;
    let mut report = Applied {
        before: to.keep().await?,
        ..nothing(to)
    };
    if let Err(error) = to.waves(&mut report).await {
        return Err(stopped(to, &report, error.as_ref(), "later waves were not begun"));
    }
    match verified(to).await {
        Ok(verified) => report.verify = Some(verified),
        Err(error) => return Err(stopped(to, &report, error.as_ref(), "everything is applied")),
    }
    Ok(report)
}

/// What is left to do where the cluster has the tree already: an earlier run may have ended before all was ready. Waits for
/// every workload, asks the platform whether it works, and changes nothing.
pub async fn confirm(to: &ApplyTo<'_>) -> Result<Applied, Failure> {
    let workloads = workloads(to.tree.objects().map(|(_, object)| object));
    let step = to
        .reporter
        .step("ready", "Nothing to apply; wait for the workloads", None);
    let view = View::open(to.cluster, &to.scope());
    let ready = view.wait_all(&workloads, WaitOptions::within(to.timeout), Some(&step));
    match ready.await {
        Ok(_) => step.done(format!("{} ready", workloads.len())),
        Err(error) => {
            step.finish(Outcome::Failed, error.to_string());
            return Err(error.into());
        }
    };
    Ok(Applied {
        unchanged: to.tree.objects().count(),
        verify: Some(verified(to).await?),
        ..nothing(to)
    })
}

fn nothing(to: &ApplyTo<'_>) -> Applied {
    Applied {
        context: to.cluster.id().context.clone(),
        created: 0,
        changed: 0,
        unchanged: 0,
        before: None,
        stay: Vec::new(),
        verify: None,
    }
}

fn workloads<'a>(objects: impl Iterator<Item = &'a Value>) -> Vec<ObjectRef> {
    objects
        .map(|object| ObjectRef::from(&id(object)))
        .filter(|reference| matches!(reference.kind.as_str(), "Deployment" | "StatefulSet"))
        .collect()
}

async fn verified(to: &ApplyTo<'_>) -> Result<VerifyReport, Failure> {
    let verified =
        verify_promoted(to.stack, to.tree, to.cluster, to.reporter, ANSWER.min(to.timeout)).await?;
    let failures = verified.failures();
    if failures.is_empty() {
        return Ok(verified);
    }
    let message = format!("{} of {} checks failed", failures.len(), verified.checks.len());
    Err(Plain::new(Family::Unhealthy, message)
        .with_details(failures)
        .into())
}

/// The failure with the way back: nothing is undone by itself, because what failed may be mended quicker.
fn stopped(
    to: &ApplyTo<'_>,
    report: &Applied,
    error: &dyn crate::failure::Diagnose,
    how_far: &str,
) -> Failure {
    let context = &to.cluster.id().context;
    let mut details = error.details();
    details.push(format!(
        "stopped after {} created and {} changed objects; {how_far}",
        report.created, report.changed
    ));
    details.extend(error.hint().map(|hint| format!("about this failure: {hint}")));
    let hint = match &report.before {
        Some(path) => format!(
            "mend it and run the same command again, or go back: kubectl --context {context} apply --server-side --force-conflicts -f {}",
            path.display()
        ),
        None => format!(
            "mend it and run the same command again, or go back: kubectl --context {context} delete namespace {} {}",
            to.stack.namespaces.apps, to.stack.namespaces.infra
        ),
    };
    Plain::new(error.family(), error.to_string())
        .with_details(details)
        .with_hint(hint)
        .into()
}

/// Takes away what only the server may say, so that the manifest can be applied again.
fn bare(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "resourceVersion",
            "uid",
            "generation",
            "creationTimestamp",
            "managedFields",
            "selfLink",
            "ownerReferences",
        ] {
            metadata.remove(field);
        }
    }
}
