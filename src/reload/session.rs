//! A session of `vadev dev`: watches the sources of services and keeps their replicas in step, until it is stopped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use super::images::Images;
use super::ledger::Ledger;
use super::origin::Origin;
use super::outcome::Order;
use super::replicas::Replicas;
use super::service::Service;
use super::watch::{Seen, Watch, lock};
use super::worker::Worker;
use super::{ReloadError, host, logs};
use crate::engine::deliver::Delivery;
use crate::failure::{Diagnose, Failure};
use crate::k8s::{Cluster, PodFeed};
use crate::report::{Event, Reload, ReloadPhase, Reporter};

/// Holds off a second session of the same workspace.
const LOCK: &str = "dev.lock";
/// An editor may write a file in two steps.
const SETTLE: Duration = Duration::from_millis(150);

/// A service and what its pods admit a session by.
#[derive(Debug, Clone)]
pub struct Developed {
    /// The service.
    pub service: Service,
    /// The token of its Secret.
    pub token: String,
}

/// What a session works on.
pub struct Session<'a> {
    /// The way of images, and with it platform and cluster.
    pub delivery: &'a Delivery<'a>,
    /// The services.
    pub developed: Vec<Developed>,
    /// Files that the platform is planned from, with the times they had when it was: a change of one ends the session.
    pub plan_files: Vec<(PathBuf, Option<SystemTime>)>,
    /// Bringing the platform up has just failed: what it could not do is not tried again before the next save.
    pub tried: bool,
    /// Where events go.
    pub reporter: Reporter,
    /// Tell the rule of each path.
    pub explain: bool,
    /// Show the services' logs.
    pub logs: bool,
}

/// Why a session ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What the platform is planned from has changed.
    Replan,
}

/// The right to watch a workspace, until dropped.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

impl Turn {
    /// Takes it.
    ///
    /// # Errors
    /// Another session has it, or the state folder cannot be written.
    pub fn take(state: &Path) -> Result<Self, ReloadError> {
        let path = state.join(LOCK);
        let file = File::create(&path).map_err(ReloadError::io("write", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(ReloadError::Busy),
            Err(std::fs::TryLockError::Error(error)) => Err(ReloadError::io("lock", path)(error)),
        }
    }
}

impl Session<'_> {
    /// Runs until the platform has to be planned anew; dropped, it ends at once and leaves everything as it is.
    ///
    /// # Errors
    /// A source cannot be read or watched.
    pub async fn run(&self) -> Result<Ended, Failure> {
        let begun = Instant::now();
        let mut origins = Vec::new();
        for developed in &self.developed {
            let service = developed.service.clone();
            let source = service.open_source()?;
            let source = Arc::new(Mutex::new(source));
            origins.push(Arc::new(Origin::new(
                service,
                source,
                developed.token.clone(),
                self.state(),
            )));
        }
        let sources: Vec<_> = origins.iter().map(|origin| Arc::clone(&origin.source)).collect();
        let plan_files: Vec<PathBuf> = self.plan_files.iter().map(|(path, _)| path.clone()).collect();
        let (watch, mut seen) = Watch::open(&sources, &plan_files)?;
        // From here on no save is missed: it waits for its turn.
        self.build_first(&origins).await;
        let files: usize = sources.iter().map(|source| lock(source).len()).sum();
        let names: Vec<String> = self
            .developed
            .iter()
            .map(|one| one.service.name.clone())
            .collect();
        self.reporter.note(format!(
            "watching {files} files of {} (ready after {} ms)",
            names.join(", "),
            begun.elapsed().as_millis()
        ));
        let feed = PodFeed::open(self.cluster(), self.namespace(), &names);
        let mut pods = feed.receiver();
        let mut logs = logs::Logs::new(self.cluster().clone(), self.reporter.clone(), self.logs);
        let replicas: Vec<Arc<Replicas>> = origins.iter().map(|origin| self.replicas(origin)).collect();
        let _closing = Closing(&replicas);
        let workers: Vec<Worker<'_>> = origins
            .iter()
            .zip(&replicas)
            .filter_map(|(origin, replicas)| self.worker(origin, replicas))
            .collect();
        let mut orders = Vec::new();
        let mut running: FuturesUnordered<_> = workers
            .iter()
            .map(|worker| {
                let (sender, receiver) = mpsc::unbounded_channel();
                orders.push(sender);
                worker.run(receiver)
            })
            .collect();
        let mut behind: FuturesUnordered<_> = workers
            .iter()
            .enumerate()
            .map(|(number, worker)| async move { (number, worker.images.is_behind().await) })
            .collect();
        let mut replan: Option<tokio::time::Instant> = None;
        if self.plan_files.iter().any(|(path, then)| modified(path) != *then) {
            replan = Some(tokio::time::Instant::now() + SETTLE);
        }
        loop {
            let due = async {
                match replan {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(one) = seen.recv() => match one {
                    Seen::Touched(number, path, touch) => send(&orders, number, Order::Touched(path, touch)),
                    Seen::Swept(number, paths) => send(&orders, number, Order::Swept(paths)),
                    Seen::File(_) => replan = Some(tokio::time::Instant::now() + SETTLE),
                    Seen::Trouble(message) => self.reporter.warn(message, None),
                },
                Ok(()) = pods.changed() => {
                    let now = pods.borrow_and_update().clone().unwrap_or_default();
                    for replicas in &replicas {
                        replicas.update(&now);
                    }
                    logs.update(&now);
                }
                // What was saved while the platform came up was not seen by the watch, nor by `up`.
                Some((number, found)) = behind.next() => match found {
                    Ok(true) => send(&orders, number, Order::Behind { tried: self.tried }),
                    Ok(false) => {}
                    Err(error) => self.reporter.warn(error.to_string(), error.hint()),
                },
                () = due => break,
                Some(anew) = running.next() => if anew { break },
            }
        }
        drop(watch);
        Ok(Ended::Replan)
    }

    /// What builds on this machine left earlier may be of an older source: it is made anew before a replica gets it.
    async fn build_first(&self, origins: &[Arc<Origin>]) {
        for origin in origins {
            if let Err(error) = host::make(origin, &self.reporter, || {}).await {
                let name = &origin.service.name;
                let mut event = Reload::new(name, ReloadPhase::Failed, error.to_string());
                event.details = error.details();
                event.details.extend(error.hint());
                self.reporter.emit(Event::Reload(event));
            }
        }
    }

    fn cluster(&self) -> &Cluster {
        self.delivery.cluster
    }

    fn namespace(&self) -> &str {
        &self.delivery.platform.stack().namespaces.apps
    }

    fn state(&self) -> &Path {
        &self.delivery.platform.options.state
    }

    fn replicas(&self, origin: &Arc<Origin>) -> Arc<Replicas> {
        Replicas::new(
            self.cluster().clone(),
            self.namespace().to_owned(),
            Arc::clone(origin),
            self.reporter.clone(),
        )
    }

    /// Every developed service is one of the stack's.
    fn worker(&self, origin: &Arc<Origin>, replicas: &Arc<Replicas>) -> Option<Worker<'_>> {
        let mut services = self.delivery.platform.stack().services.iter();
        let sized = services.find(|sized| sized.service.name == origin.service.name)?;
        Some(Worker {
            origin: Arc::clone(origin),
            replicas: Arc::clone(replicas),
            images: Images::new(self.delivery, sized),
            ledger: Ledger::new(self.state()),
            reporter: self.reporter.clone(),
            explain: self.explain,
            clock: Instant::now(),
            newer: AtomicBool::new(false),
            giving: Mutex::default(),
        })
    }
}

/// When a file was last written, if it is there.
pub fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|found| found.modified()).ok()
}

fn send(orders: &[mpsc::UnboundedSender<Order>], number: usize, order: Order) {
    if let Some(sender) = orders.get(number) {
        // A worker that has ended makes the session end, too.
        let _ = sender.send(order);
    }
}

/// Connections end with the session, however it ends.
struct Closing<'r>(&'r [Arc<Replicas>]);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        for replicas in self.0 {
            replicas.close();
        }
    }
}
