//! What each kind of step does.

use std::path::Path;
use std::time::Duration;

use bollard::models::SystemInfoCgroupVersionEnum;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::images::Images;
use super::platform::Platform;
use super::tls;
use crate::cluster::{self, ClusterError, Istio, Mesh};
use crate::failure::{Failure, Family, Plain};
use crate::image;
use crate::k8s::{self, ApplyOptions, Cluster, ObjectRef, Scope, View, WaitOptions};
use crate::plan::{Action, Change, PlanStep};
use crate::render::kind::{AUDIT_POLICY, AUDIT_POLICY_FILE};
use crate::render::mesh::TLS_SECRET;
use crate::render::object::COMPONENT;
use crate::render::{Object, ObjectId};
use crate::report::{Outcome, Step};

/// One run of a plan: the connection and the watches come into being as soon as there is a cluster, and are shared.
pub struct Run<'a> {
    /// The platform.
    pub platform: &'a Platform,
    /// Its images.
    pub images: &'a Images,
    /// Its objects.
    pub objects: &'a [Object],
    /// Longest wait for one thing.
    pub timeout: Duration,
    /// Whether to wait for readiness.
    pub wait: bool,
    /// The connection.
    pub cluster: OnceCell<Cluster>,
    /// The watches.
    pub view: OnceCell<View>,
    /// Set when making the cluster failed: nobody need wait for its nodes any longer.
    pub creation_failed: CancellationToken,
}

impl Run<'_> {
    /// Carries one step out and tells of it.
    pub async fn carry_out(&self, step: &PlanStep) -> Result<f64, Failure> {
        let telling = self
            .platform
            .reporter
            .step(&step.id, &step.title, Some(step.cause.clone()));
        match self.act(&step.action, &telling).await {
            Ok((outcome, detail)) => Ok(telling.finish(outcome, detail)),
            Err(error) => {
                telling.finish(Outcome::Failed, error.to_string());
                Err(error)
            }
        }
    }

    async fn act(&self, action: &Action, step: &Step) -> Result<(Outcome, String), Failure> {
        let detail = match action {
            Action::SupplyImage(reference) => self.supply(reference, step).await?,
            Action::RemoveBroken => self.remove_broken(step).await?,
            Action::CreateCluster => self.create(step).await?,
            Action::WaitNodes => self.nodes_up(step).await?,
            Action::WaitApi => self.api_up(step).await?,
            Action::StartCluster => self.start(step).await?,
            Action::ShipImages(references) => self.ship(references, step).await?,
            Action::InstallMesh => self.install_mesh(step).await?,
            Action::Apply(changes) => self.apply(changes, step).await?,
            Action::Wait(component) if self.wait => self.ready(component, step).await?,
            Action::Wait(_) => return Ok((Outcome::Skipped, "--no-wait".to_owned())),
            Action::Prune(ids) => self.prune(ids).await?,
        };
        Ok((Outcome::Done, detail))
    }

    async fn supply(&self, reference: &str, step: &Step) -> Result<String, Failure> {
        let Some(request) = self.images.requests.get(reference) else {
            return Err(Plain::new(
                Family::Internal,
                format!("no request stands behind image {reference}"),
            )
            .into());
        };
        let supplied = self.platform.supply.image(request, step).await?;
        Ok(format!("{} MB", supplied.size / 1_000_000))
    }

    async fn remove_broken(&self, step: &Step) -> Result<String, Failure> {
        let kind = self.platform.kind_program(step).await?;
        kind.remove_broken(&self.platform.cluster_name(), step).await?;
        Ok("gone".to_owned())
    }

    async fn create(&self, step: &Step) -> Result<String, Failure> {
        let made = self.make_cluster(step).await;
        if made.is_err() {
            self.creation_failed.cancel();
        }
        made
    }

    async fn make_cluster(&self, step: &Step) -> Result<String, Failure> {
        let docker = self.platform.supply.docker().await?;
        let info = docker.info().await.map_err(|error| ClusterError::Docker {
            action: "ask",
            subject: "the engine for its facts".to_owned(),
            source: Box::new(error),
        })?;
        let cgroup_v1 = info.cgroup_version == Some(SystemInfoCgroupVersionEnum::_1);
        let config = self.platform.kind_cluster(self.images.node.clone(), cgroup_v1);
        if let Some(folder) = &config.audit_folder {
            let policy = Path::new(folder).join(AUDIT_POLICY_FILE);
            tokio::fs::create_dir_all(folder)
                .await
                .map_err(|error| unwritable(Path::new(folder), &error))?;
            tokio::fs::write(&policy, AUDIT_POLICY)
                .await
                .map_err(|error| unwritable(&policy, &error))?;
        }
        let kind = self.platform.kind_program(step).await?;
        let owner = self.platform.owner();
        let text = config.render().to_string();
        let create = cluster::Create {
            name: &config.name,
            config: &text,
            owner: &owner,
            within: self.timeout,
        };
        kind.create(&create, step).await?;
        kind.claim(self.connected().await?, &owner).await?;
        let nodes = if config.nodes == 1 {
            "1 node".to_owned()
        } else {
            format!("{} nodes", config.nodes)
        };
        Ok(format!("{nodes}, ingress on 127.0.0.1:{}", config.http_port))
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
        let kind = self.platform.kind().await?;
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

    async fn start(&self, step: &Step) -> Result<String, Failure> {
        let kind = self.platform.kind().await?;
        let cluster = kind
            .start(&self.platform.cluster_name(), self.timeout, step)
            .await?;
        Ok(format!("{} answers", cluster.server()))
    }

    async fn ship(&self, references: &[String], step: &Step) -> Result<String, Failure> {
        let docker = self.platform.supply.docker().await?;
        let nodes = self
            .platform
            .kind()
            .await?
            .nodes(&self.platform.cluster_name())
            .await?;
        let nodes: Vec<String> = nodes.into_iter().map(|node| node.name).collect();
        let shipped = image::ship(docker, &nodes, references, step).await?;
        let megabytes = |bytes: u64| bytes / 1_000_000;
        let sent: u64 = shipped.iter().map(|one| one.sent_bytes).sum();
        let spared: u64 = shipped.iter().map(|one| one.skipped_bytes).sum();
        Ok(format!(
            "{} MB sent, {} MB were there",
            megabytes(sent),
            megabytes(spared)
        ))
    }

    async fn install_mesh(&self, step: &Step) -> Result<String, Failure> {
        let Some(operator) = super::mesh::operator(self.platform, self.images) else {
            return Err(Plain::new(
                Family::Internal,
                "the plan installs a mesh that the stack has not",
            )
            .into());
        };
        // The manifests need no cluster; they are ready when it is.
        let program = self.platform.supply.tool("istioctl", step).await?;
        let istio = Istio::new(program, self.platform.supply.cache().root());
        let plan = istio
            .plan(&operator, &super::mesh::version(self.images), step)
            .await?;
        let cluster = self.connected().await?;
        cluster.recheck().await?;
        Mesh::install(cluster, self.view().await?, &plan, self.timeout, step).await?;
        self.serve_tls(cluster).await?;
        Ok("istiod and the ingress gateway are ready".to_owned())
    }

    /// The gateway's https port needs a certificate; one that is there, whoever made it, stays.
    async fn serve_tls(&self, cluster: &Cluster) -> Result<(), Failure> {
        let namespace = &self.platform.stack().namespaces.mesh;
        if k8s::find(cluster, &ObjectRef::new("v1", "Secret", namespace, TLS_SECRET))
            .await?
            .is_some()
        {
            return Ok(());
        }
        let made = tls::development_certificate().map_err(|error| {
            Plain::new(
                Family::Internal,
                format!("can't make a development certificate: {error}"),
            )
        })?;
        let mut labels = serde_json::Map::new();
        labels.insert(crate::render::object::MANAGED_BY.to_owned(), json!("vadev"));
        labels.insert(COMPONENT.to_owned(), json!("tls"));
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": TLS_SECRET, "namespace": namespace, "labels": labels },
            "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": made.chain, "tls.key": made.key },
        });
        k8s::apply_one(cluster, &secret, self.apply_options()).await?;
        Ok(())
    }

    async fn apply(&self, changes: &[Change], step: &Step) -> Result<String, Failure> {
        let cluster = self.connected().await?;
        cluster.recheck().await?;
        let values: Vec<Value> = changes
            .iter()
            .map(|change| change.object.value().clone())
            .collect();
        let applied = k8s::apply_each(cluster, &values, self.apply_options(), |one| {
            step.progress(one.object.to_string());
        })
        .await?;
        let count = |change: k8s::Change| applied.iter().filter(|one| one.change == change).count();
        let created = count(k8s::Change::Created);
        Ok(format!(
            "{created} created, {} changed",
            applied.len() - created - count(k8s::Change::Unchanged)
        ))
    }

    /// Waits for every workload of a component.
    async fn ready(&self, component: &str, step: &Step) -> Result<String, Failure> {
        let workloads = workloads(self.objects, component);
        let view = self.view().await?;
        let ready = view
            .wait_all(&workloads, WaitOptions::within(self.timeout), Some(step))
            .await?;
        Ok(ready
            .into_iter()
            .map(|(_, detail)| detail)
            .collect::<Vec<_>>()
            .join(", "))
    }

    async fn prune(&self, ids: &[ObjectId]) -> Result<String, Failure> {
        let cluster = self.connected().await?;
        cluster.recheck().await?;
        let references: Vec<ObjectRef> = ids.iter().map(ObjectRef::from).collect();
        let gone = k8s::delete_all(cluster, &references, k8s::DeleteOptions::default()).await?;
        Ok(format!("{} removed", gone.len()))
    }

    /// The connection, made when first needed.
    pub async fn connected(&self) -> Result<&Cluster, Failure> {
        self.cluster
            .get_or_try_init(|| self.platform.connect(self.timeout))
            .await
    }

    async fn view(&self) -> Result<&View, Failure> {
        let cluster = self.connected().await?;
        Ok(self
            .view
            .get_or_init(|| async { View::open(cluster, &Scope::Cluster) })
            .await)
    }

    fn apply_options(&self) -> ApplyOptions<'static> {
        ApplyOptions {
            within: self.timeout.min(Duration::from_mins(2)),
            ..ApplyOptions::default()
        }
    }
}

/// A component's Deployments and StatefulSets.
pub fn workloads(objects: &[Object], component: &str) -> Vec<ObjectRef> {
    let of = objects
        .iter()
        .filter(|object| object.component() == component)
        .map(Object::id);
    of.filter(|id| matches!(id.kind.as_str(), "Deployment" | "StatefulSet"))
        .map(|id| ObjectRef::from(&id))
        .collect()
}

fn not_made() -> Plain {
    Plain::new(Family::Cluster, "the cluster was not made")
}

fn unwritable(path: &Path, error: &std::io::Error) -> Plain {
    Plain::new(
        Family::Environment,
        format!("can't write {}: {error}", path.display()),
    )
    .with_hint("give yourself write access to the workspace, or choose another with --file")
}
