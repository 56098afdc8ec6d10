//! The steps that change nothing and only wait: for a cluster that is being made, for workloads, for the gateway. When another
//! step fails they end, for there is nothing left that they could lead to.

use super::actions::{Run, workloads};
use crate::cluster::ClusterError;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{Cause, K8sError, ObjectRef, View, WaitOptions};
use crate::plan::Action;
use crate::render::operator::GATEWAY;
use crate::report::{Outcome, Step};

impl Run<'_> {
    /// Waits for what the action says, or until another step has failed.
    pub async fn wait(&self, action: &Action, step: &Step) -> Result<(Outcome, String), Failure> {
        let targets = match action {
            Action::Wait(component) => workloads(self.objects, component),
            Action::WaitGateway => vec![self.gateway()],
            _ => Vec::new(),
        };
        if !targets.is_empty() && !self.wait {
            return Ok((Outcome::Skipped, "--no-wait".to_owned()));
        }
        let waits = async {
            match action {
                Action::WaitNodes => self.nodes_up(step).await,
                Action::WaitApi => self.api_up(step).await,
                _ => self.ready(&targets, step).await,
            }
        };
        tokio::select! {
            done = waits => Ok((Outcome::Done, done?)),
            () = self.failed.cancelled() => {
                // Whoever mends the first thing wants to know of the second one before the next `up`.
                if let Some(view) = self.view.get() {
                    wrong_by_now(view, &targets).await?;
                }
                Ok((Outcome::Skipped, "another step failed".to_owned()))
            }
        }
    }

    fn gateway(&self) -> ObjectRef {
        ObjectRef::new(
            "apps/v1",
            "Deployment",
            &self.platform.stack().namespaces.mesh,
            GATEWAY,
        )
    }

    async fn ready(&self, targets: &[ObjectRef], step: &Step) -> Result<String, Failure> {
        let options = WaitOptions::within(self.timeout);
        let ready = self.view().await?.wait_all(targets, options, Some(step)).await?;
        let details: Vec<String> = ready.into_iter().map(|(_, detail)| detail).collect();
        Ok(details.join(", "))
    }

    /// While the cluster is made: its nodes take images.
    async fn nodes_up(&self, step: &Step) -> Result<String, Failure> {
        step.progress("waiting for containerd");
        let kind = self.platform.kind().await?;
        let name = self.platform.cluster_name();
        let count = self.platform.options.nodes as usize;
        let nodes = self
            .unless_creation_fails(kind.early_nodes(&name, count, self.timeout))
            .await?;
        Ok(nodes.join(", "))
    }

    /// While the cluster is made: its API server answers.
    async fn api_up(&self, step: &Step) -> Result<String, Failure> {
        step.progress("waiting for its address");
        let kind = self.platform.kind_program(step).await?;
        let name = self.platform.cluster_name();
        self.unless_creation_fails(kind.early_kubeconfig(&name, self.timeout))
            .await?;
        step.progress("waiting for its first answer");
        let cluster = tokio::select! {
            connected = self.connected() => connected?,
            () = self.creation_failed.cancelled() => return Err(not_made().into()),
        };
        Ok(cluster.server().to_owned())
    }

    async fn unless_creation_fails<T>(
        &self,
        work: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done?),
            () = self.creation_failed.cancelled() => Err(not_made().into()),
        }
    }
}

/// Fails with the first of them of which it is plain already that it will not become ready. What may merely be slow, or wait
/// for what failed, is passed over.
async fn wrong_by_now(view: &View, targets: &[ObjectRef]) -> Result<(), K8sError> {
    for target in targets {
        if view.readiness(target).is_ready() {
            continue;
        }
        let diagnosis = Box::new(view.diagnose(target).await);
        if is_plain(diagnosis.cause) {
            return Err(K8sError::NotReady {
                target: Box::new(target.clone()),
                when: "and will not be".to_owned(),
                diagnosis,
            });
        }
    }
    Ok(())
}

const fn is_plain(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ImageMissing
            | Cause::OutOfMemory
            | Cause::Crashing
            | Cause::ConfigMissing
            | Cause::ContainerStart
            | Cause::Unschedulable
            | Cause::Refused
            | Cause::ListenerRejected
    )
}

fn not_made() -> Plain {
    Plain::new(Family::Cluster, "the cluster was not made")
}
