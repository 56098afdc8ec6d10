//! Bringing the replicas of a service in step from outside of a session, whether anything differs or not: `vadev reload`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::ReloadError;
use super::decide::Way;
use super::host;
use super::images::{Delivered, Images};
use super::inspect::{PATIENCE, replicas};
use super::ledger::{Entry, Ledger, Reloaded, Stages, millis};
use super::link::{Link, LinkError};
use super::origin::Origin;
use super::replicas::Replicas;
use crate::agent::protocol::Then;
use crate::engine::Platform;
use crate::engine::builds;
use crate::engine::deliver::Delivery;
use crate::failure::{Failure, Family, Plain};
use crate::k8s::{Cluster, PodFeed, Scope, View};
use crate::report::Reporter;

/// Brings every replica in step and restarts its process, one after the other, whether anything differs or not.
///
/// # Errors
/// A replica cannot be reached, or does not answer afterwards.
pub async fn sync_now(
    cluster: &Cluster,
    namespace: &str,
    origin: &Arc<Origin>,
    state: &std::path::Path,
    reporter: &Reporter,
) -> Result<Reloaded, Failure> {
    let service = &origin.service;
    let mut stages = Stages::default();
    let begun = Instant::now();
    if host::make(origin, reporter, || {}).await? {
        stages.build = millis(begun.elapsed());
    }
    let pods = replicas(cluster, namespace, &service.name).await?;
    let mut files = 0;
    for pod in &pods {
        let begun = Instant::now();
        let mut link = Link::open(cluster, namespace, &pod.name, &origin.token).await?;
        let attached = link.attach(origin).await?;
        files = files.max(attached.brought);
        stages.ship += millis(begun.elapsed());
        let begun = Instant::now();
        let then = service.then();
        // Bringing files has restarted it already.
        if attached.brought == 0 && then != Then::Nothing {
            link.remote.act(then).await.map_err(LinkError::from)?;
        }
        stages.restart += millis(begun.elapsed());
        let begun = Instant::now();
        let patience = service.patience.max(Duration::from_secs(30));
        link.remote
            .probe(&service.probe, patience)
            .await
            .map_err(LinkError::from)?;
        stages.serve += millis(begun.elapsed());
    }
    Ok(recorded(
        state,
        &service.name,
        Way::Sync,
        files,
        pods.len(),
        stages,
    )?)
}

/// Notes a forced reload in the ledger.
fn recorded(
    state: &std::path::Path,
    service: &str,
    way: Way,
    files: usize,
    replicas: usize,
    stages: Stages,
) -> Result<Reloaded, ReloadError> {
    let entry = Entry::new(service, way, files, replicas, stages);
    Ledger::new(state)
        .add(&entry)
        .map_err(ReloadError::io("write to", state))?;
    Ok(entry.reloaded)
}

/// What a forced build came to.
#[derive(Debug)]
pub enum Built {
    /// Every pod runs it.
    Served(Reloaded),
    /// It is built and runs another command than the pods' template says: they have to be planned anew, and then it is
    /// [`replanned`].
    Replan(Stages),
}

/// Notes a forced build that the pods run since they were planned anew, which took `restart`.
///
/// # Errors
/// The pods cannot be listed, or the state folder cannot be written.
pub async fn replanned(
    platform: &Platform,
    cluster: &Cluster,
    service: &str,
    mut stages: Stages,
    restart: Duration,
) -> Result<Reloaded, Failure> {
    stages.restart += millis(restart);
    let pods = builds::pods(platform, cluster, service).await?;
    let state = &platform.options.state;
    Ok(recorded(state, service, Way::Build, 0, pods.len(), stages)?)
}

/// Builds the service's image and has every pod run it.
///
/// # Errors
/// The build fails, or the new image does not run: then the old one is back in its place.
pub async fn build_now(
    platform: &Platform,
    cluster: &Cluster,
    origin: &Arc<Origin>,
    reporter: &Reporter,
) -> Result<Built, Failure> {
    let service = &origin.service;
    match host::make(origin, reporter, || {}).await {
        // The image is built elsewhere; what was built here earlier is older.
        Err(LinkError::Source(ReloadError::NoBuilder { .. })) => origin.has_results(false),
        other => drop(other?),
    }
    let stack = platform.stack();
    let Some(sized) = stack
        .services
        .iter()
        .find(|sized| sized.service.name == service.name)
    else {
        return Err(ReloadError::NotDeveloped {
            service: service.name.clone(),
        }
        .into());
    };
    let view = View::open(cluster, &Scope::Namespaces(vec![stack.namespaces.apps.clone()]));
    view.synced(PATIENCE).await;
    let delivery = Delivery::open(platform, cluster, &view, service.patience.max(PATIENCE)).await?;
    let images = Images::new(&delivery, sized);
    let replicas = Replicas::new(
        cluster.clone(),
        stack.namespaces.apps.clone(),
        Arc::clone(origin),
        reporter.clone(),
    );
    // The source comes with the image, and nothing is to be laid over the one before.
    origin.hold(true);
    let feed = PodFeed::open(
        cluster,
        &stack.namespaces.apps,
        std::slice::from_ref(&service.name),
    );
    let mut pods = feed.receiver();
    // What they run now is compared with what the new image runs, and their agents forget what they were given.
    if let Ok(Ok(known)) = timeout(PATIENCE, pods.wait_for(Option::is_some)).await {
        replicas.update(known.as_deref().unwrap_or_default());
    }
    let step = reporter.step(
        format!("reload/{}", service.name),
        format!("Build {}", service.name),
        None,
    );
    let mut stages = Stages::default();
    let newer = AtomicBool::new(false);
    let delivered = {
        let mut delivering =
            std::pin::pin!(images.deliver(Way::Build, origin, &replicas, &newer, &mut stages, &step));
        loop {
            tokio::select! {
                delivered = &mut delivering => break delivered,
                Ok(()) = pods.changed() => replicas.update(pods.borrow_and_update().as_deref().unwrap_or_default()),
            }
        }
    };
    replicas.close();
    let delivered = match delivered {
        Ok(delivered) => delivered,
        Err(error) => {
            step.finish(crate::report::Outcome::Failed, error.to_string());
            return Err(error);
        }
    };
    let done = match delivered {
        Delivered::Served(count) => {
            step.done(format!("{count} pods"));
            let state = &platform.options.state;
            Built::Served(recorded(state, &service.name, Way::Build, 0, count, stages)?)
        }
        Delivered::Replan => {
            step.done("it runs another command: its pods are planned anew");
            Built::Replan(stages)
        }
        // A build is the last way; whatever it cannot do is an error.
        Delivered::NotThisWay(why) => {
            step.finish(crate::report::Outcome::Failed, why.clone());
            return Err(Plain::new(Family::Build, why).into());
        }
    };
    // What a session noted as not served yet is in the image.
    origin.behind(&BTreeSet::new())?;
    Ok(done)
}
