//! What each kind of step does.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bollard::models::SystemInfoCgroupVersionEnum;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::deliver;
use super::images::Images;
use super::platform::Platform;
use crate::cluster::{self, ClusterError, Istio, Mesh};
use crate::failure::{Failure, Family, Plain};
use crate::image;
use crate::k8s::{self, ApplyOptions, Cluster, ObjectRef, Scope, View};
use crate::plan::steps::CLUSTER;
use crate::plan::{Action, Change, PlanStep};
use crate::render::kind::{AUDIT_POLICY, AUDIT_POLICY_FILE};
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
    /// Images that the nodes lack, of those that were in the engine from the beginning.
    pub lacking: OnceCell<BTreeSet<String>>,
    /// Set when making the cluster failed: nobody need wait for its nodes any longer.
    pub creation_failed: CancellationToken,
    /// Set when any step failed: what only waits ends then.
    pub failed: CancellationToken,
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
            Action::SupplyTool(name) => self.tool(name, step).await?,
            Action::RemoveBroken => self.remove_broken(step).await?,
            Action::CreateCluster => self.create(step).await?,
            Action::WaitNodes | Action::WaitApi | Action::Wait(_) | Action::WaitGateway => {
                return self.wait(action, step).await;
            }
            Action::StartCluster => self.start(step).await?,
            Action::ShipImages(references) => self.ship(references, step).await?,
            Action::InstallMesh => self.install_mesh(step).await?,
            Action::ServeCertificate => self.certificate().await?,
            Action::Apply(changes) => self.apply(changes, step).await?,
            Action::Swap(service) => self.swap(service, step).await?,
            Action::Prune(ids) => self.prune(ids).await?,
        };
        Ok((Outcome::Done, detail))
    }

    async fn supply(&self, reference: &str, step: &Step) -> Result<String, Failure> {
        if let Some(source) = self.images.sources.get(reference) {
            let made = source.clone().build(self.platform, step).await?;
            return Ok(made.image.reference);
        }
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

    async fn tool(&self, name: &str, step: &Step) -> Result<String, Failure> {
        let path = self.platform.supply.tool(name, step).await?;
        Ok(path.display().to_string())
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

    async fn start(&self, step: &Step) -> Result<String, Failure> {
        let cluster = self.platform.start(self.timeout, step).await?;
        Ok(format!("{} answers", cluster.server()))
    }

    async fn ship(&self, references: &[String], step: &Step) -> Result<String, Failure> {
        if self.platform.options.place.existing().is_some() {
            return super::remote::push(self.platform, self.images, references, step).await;
        }
        let lacking = self.lacking().await?;
        let known = references
            .iter()
            .all(|one| !self.images.to_supply.contains_key(one) && !self.images.sources.contains_key(one));
        if known && references.iter().all(|one| !lacking.contains(one)) {
            return Ok("the nodes had them".to_owned());
        }
        let nodes = self.nodes().await?;
        let shipped = deliver::ship(self.platform, &self.images.sources, &nodes, references, step).await?;
        let megabytes = |bytes: u64| bytes / 1_000_000;
        let sent: u64 = shipped.iter().map(|one| one.sent_bytes).sum();
        let spared: u64 = shipped.iter().map(|one| one.skipped_bytes).sum();
        Ok(format!(
            "{} MB sent, {} MB were there",
            megabytes(sent),
            megabytes(spared)
        ))
    }

    async fn nodes(&self) -> Result<Vec<String>, Failure> {
        let kind = self.platform.kind().await?;
        let nodes = kind.nodes(&self.platform.cluster_name()).await?;
        Ok(nodes.into_iter().map(|node| node.name).collect())
    }

    /// What the nodes lack of the images that were here from the beginning: asked once for all components, because a node
    /// image brings most of them.
    async fn lacking(&self) -> Result<&BTreeSet<String>, Failure> {
        let ask = || async {
            let of_nodes = self
                .images
                .by_component
                .iter()
                .filter(|(component, _)| *component != CLUSTER);
            let here = of_nodes.flat_map(|(_, references)| references);
            let here: Vec<String> = here
                .filter(|one| {
                    !self.images.to_supply.contains_key(*one) && !self.images.sources.contains_key(*one)
                })
                .cloned()
                .collect();
            let docker = self.platform.supply.docker().await?;
            let missing = image::missing(docker, &self.nodes().await?, &here).await?;
            Ok::<_, Failure>(missing.into_iter().map(|one| one.image).collect())
        };
        self.lacking.get_or_try_init(ask).await
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
        super::gateway_tls::serve(self.platform, cluster, self.apply_options()).await?;
        Ok("istiod injects sidecars".to_owned())
    }

    async fn certificate(&self) -> Result<String, Failure> {
        let cluster = self.connected().await?;
        cluster.recheck().await?;
        super::gateway_tls::serve(self.platform, cluster, self.apply_options()).await?;
        Ok("a development certificate".to_owned())
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
        if self.wait {
            self.view().await?.expect_applied(&applied);
        }
        let count = |change: k8s::Change| applied.iter().filter(|one| one.change == change).count();
        let created = count(k8s::Change::Created);
        Ok(format!(
            "{created} created, {} changed",
            applied.len() - created - count(k8s::Change::Unchanged)
        ))
    }

    /// Has the live pods run what the moving tag means now.
    async fn swap(&self, service: &str, step: &Step) -> Result<String, Failure> {
        let cluster = self.connected().await?;
        cluster.recheck().await?;
        let view = self.view().await?;
        if !view.synced(self.timeout).await {
            return Err(Plain::new(Family::Timeout, "the cluster's watches do not answer").into());
        }
        deliver::swap(self.platform, cluster, view, service, self.timeout, step).await
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

    /// The watches, opened when first needed.
    pub async fn view(&self) -> Result<&View, Failure> {
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

fn unwritable(path: &Path, error: &std::io::Error) -> Plain {
    Plain::new(
        Family::Environment,
        format!("can't write {}: {error}", path.display()),
    )
    .with_hint("give yourself write access to the workspace, or choose another with --file")
}
