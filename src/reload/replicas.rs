//! The replicas of a service: a connection to each is kept for as long as its pod lives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::link::{Attached, Link, LinkError, PULSE};
use super::origin::Origin;
use super::patience::Reason;
use crate::agent::protocol::Child;
use crate::agent::remote::Error as AgentError;
use crate::failure::Diagnose;
use crate::k8s::{self, Cluster, LogOptions, PodView};
use crate::render::develop::INSTALLER;
use crate::report::{Event, Reload, ReloadPhase, Reporter};

/// The first wait between two tries to connect; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A new pod that cannot be reached is told of after this.
const STARTING: Duration = Duration::from_secs(10);
/// One that was reached before, after this.
const AGAIN: Duration = Duration::from_secs(3);
/// The last lines of a service that ended by itself.
const LAST_LINES: i64 = 12;

const DOWN: u8 = 0;
const ATTACHING: u8 = 1;
const UP: u8 = 2;

/// One replica.
pub struct Replica {
    /// Its pod.
    pub pod: String,
    /// The session, while there is one. Held while something is done to the replica.
    pub link: AsyncMutex<Option<Link>>,
    state: AtomicU8,
    /// Since when the present connection is there, and why the service is down in it, if it is.
    down: Mutex<Option<(Instant, String)>>,
    /// Why its service does not answer with the change that it is being given.
    pub waits: Reason,
}

impl Replica {
    fn note(&self, since: Instant, child: Option<&Child>) {
        let down = match child {
            Some(Child::Down { why, .. }) => Some((since, why.clone())),
            _ => None,
        };
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = down;
    }

    /// Whether a change must be given to it: one that is not connected gets everything when it is.
    pub fn is_due(&self) -> bool {
        self.state.load(Ordering::SeqCst) != DOWN
    }

    /// Whether it is in step.
    pub fn is_up(&self) -> bool {
        self.state.load(Ordering::SeqCst) == UP
    }
}

/// By pod: the replica, and the task that keeps it connected.
type Kept = BTreeMap<String, (Arc<Replica>, JoinHandle<()>)>;

/// The replicas of one service.
pub struct Replicas {
    cluster: Cluster,
    namespace: String,
    origin: Arc<Origin>,
    reporter: Reporter,
    kept: Mutex<Kept>,
    command: Mutex<Option<Vec<String>>>,
}

impl Replicas {
    /// Of the service that `origin` is the source of.
    pub fn new(cluster: Cluster, namespace: String, origin: Arc<Origin>, reporter: Reporter) -> Arc<Self> {
        Arc::new(Self {
            cluster,
            namespace,
            origin,
            reporter,
            kept: Mutex::default(),
            command: Mutex::default(),
        })
    }

    /// Takes the newest list of pods: connects to new ones, lets go of those that went.
    pub fn update(self: &Arc<Self>, pods: &[PodView]) {
        let mine = |pod: &&PodView| {
            pod.app == self.origin.service.name && pod.init_containers.iter().any(|name| name == INSTALLER)
        };
        let pods: Vec<&PodView> = pods.iter().filter(mine).collect();
        let container = pods
            .first()
            .and_then(|pod| pod.containers.iter().find(|one| one.name == pod.app));
        *self.command.lock().unwrap_or_else(PoisonError::into_inner) =
            container.map(|one| one.command.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|uid, (_, task)| {
            let stays = pods.iter().any(|pod| pod.uid == *uid);
            if !stays {
                task.abort();
            }
            stays
        });
        for pod in pods {
            // Before its container runs nobody listens.
            if kept.contains_key(&pod.uid) || !pod.containers.iter().any(|one| one.running.is_some()) {
                continue;
            }
            let replica = Arc::new(Replica {
                pod: pod.name.clone(),
                link: AsyncMutex::new(None),
                state: AtomicU8::new(DOWN),
                down: Mutex::default(),
                waits: Reason::default(),
            });
            let task = tokio::spawn(Arc::clone(self).keep(Arc::clone(&replica)));
            kept.insert(pod.uid.clone(), (replica, task));
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Replica>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.values().map(|(replica, _)| Arc::clone(replica)).collect()
    }

    /// Has the agent in a pod forget what it was given: the image that comes next has it.
    pub async fn forget(&self, pod: &str) {
        for replica in self.all().into_iter().filter(|replica| replica.pod == pod) {
            if let Some(link) = replica.link.lock().await.as_mut()
                && let Err(error) = link.remote.forget().await
            {
                // It would bring its files back over the new image's, where these are the same as before: no harm.
                self.tell(ReloadPhase::Lost, format!("{pod}: {error}"), Vec::new());
            }
        }
    }

    /// Why the service in a pod is down, as the agent says that was connected to after `since`: the one of the container
    /// that came then.
    pub fn down(&self, pod: &str, since: Instant) -> Option<String> {
        let replica = self.all().into_iter().find(|replica| replica.pod == pod)?;
        let down = replica.down.lock().unwrap_or_else(PoisonError::into_inner);
        down.as_ref()
            .filter(|(connected, _)| *connected > since)
            .map(|(_, why)| why.clone())
    }

    /// Asks the service of each replica, from inside its pod, until it answers or `patience` is over; a replica whose
    /// container has only just come is connected to meanwhile. How long that took. A service that is down is told of by
    /// whoever keeps its connection.
    pub async fn answer(&self, patience: Duration) -> Duration {
        let begun = Instant::now();
        for replica in self.all() {
            while begun.elapsed() < patience {
                let mut slot = replica.link.lock().await;
                if let Some(link) = slot.as_mut() {
                    let left = patience.saturating_sub(begun.elapsed());
                    let answer = link.remote.probe(&self.origin.service.probe, left);
                    match timeout(left + Duration::from_secs(1), answer).await {
                        Ok(Ok(_) | Err(AgentError::Failed { .. })) => break,
                        // Of no use any more; another one is made.
                        Ok(Err(_)) | Err(_) => *slot = None,
                    }
                }
                drop(slot);
                sleep(FIRST_PAUSE).await;
            }
        }
        begun.elapsed()
    }

    /// Tells that a change has been on its way into a replica for a while. `why` is known where its agent has answered.
    pub fn waiting(&self, pod: &str, why: Option<String>) {
        let why = why.unwrap_or_else(|| "its agent has not answered yet".to_owned());
        self.tell(ReloadPhase::Waiting, format!("{pod}: {why}"), Vec::new());
    }

    /// What their containers were told to run: the agent, and after `--` the service.
    pub fn command(&self) -> Option<Vec<String>> {
        self.command
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Lets go of all of them.
    pub fn close(&self) {
        for (_, (_, task)) in std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner)) {
            task.abort();
        }
    }

    fn tell(&self, phase: ReloadPhase, message: String, details: Vec<String>) {
        let mut event = Reload::new(&self.origin.service.name, phase, message);
        event.details = details;
        self.reporter.emit(Event::Reload(event));
    }

    async fn keep(self: Arc<Self>, replica: Arc<Replica>) {
        let mut first = true;
        let mut told = false;
        // Since when there is no connection, and why.
        let mut lost = (Instant::now(), None::<String>);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.connect(&replica).await {
                Ok((attached, child)) => {
                    self.tell_attached(&replica, attached, first || told);
                    (first, told, pause) = (false, false, FIRST_PAUSE);
                    let since = Instant::now();
                    replica.note(since, Some(&child));
                    if let Child::Down { why, .. } = &child {
                        self.crashed(&replica, why).await;
                    }
                    let why = self.stay(&replica, since).await;
                    replica.note(since, None);
                    replica.state.store(DOWN, Ordering::SeqCst);
                    *replica.link.lock().await = None;
                    lost = (Instant::now(), Some(why));
                }
                Err(error) => {
                    replica.state.store(DOWN, Ordering::SeqCst);
                    // A pod that starts, or whose container is replaced, is not in trouble; one that is deleted goes from
                    // the list within moments, and this task with it.
                    let patience = if first { STARTING } else { AGAIN };
                    if !told && lost.0.elapsed() > patience {
                        told = true;
                        let why = lost.1.take().map(|why| format!("{why}; ")).unwrap_or_default();
                        let hint = error.hint().into_iter().collect();
                        self.tell(ReloadPhase::Lost, format!("{}: {why}{error}", replica.pod), hint);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Connects and brings the replica in step. From `ATTACHING` on a change waits for the replica; what was saved before
    /// is read after.
    async fn connect(&self, replica: &Replica) -> Result<(Attached, Child), LinkError> {
        let mut link = Link::open(&self.cluster, &self.namespace, &replica.pod, &self.origin.token).await?;
        let mut slot = replica.link.lock().await;
        replica.state.store(ATTACHING, Ordering::SeqCst);
        let attached = link.attach(&self.origin).await?;
        let child = link.remote.ping().await?;
        *slot = Some(link);
        replica.state.store(UP, Ordering::SeqCst);
        Ok((attached, child))
    }

    fn tell_attached(&self, replica: &Replica, attached: Attached, always: bool) {
        let mut message = match attached.brought {
            0 => format!("{} is in step", replica.pod),
            count => format!("{} brought in step: {count} files", replica.pod),
        };
        if attached.healed {
            message += ", its agent replaced by this vadev's";
        }
        if always || attached.brought > 0 {
            message = format!("{message} ({} ms)", attached.took.as_millis());
            self.tell(ReloadPhase::Attached, message, Vec::new());
        }
    }

    /// Watches a connection until it ends, and says why it did.
    async fn stay(&self, replica: &Replica, since: Instant) -> String {
        let mut last: Option<(String, Instant)> = None;
        let events = match replica.link.lock().await.as_mut() {
            Some(link) => std::mem::replace(&mut link.events, tokio::sync::mpsc::unbounded_channel().1),
            None => return "the session is gone".to_owned(),
        };
        let mut events = events;
        loop {
            tokio::select! {
                child = events.recv() => {
                    replica.note(since, child.as_ref());
                    match child {
                        None => return "the connection ended".to_owned(),
                        Some(Child::Down { why, .. }) => {
                            // The agent tries again and again; once is enough to read.
                            let again = last.as_ref().is_some_and(|(before, at)| *before == why && at.elapsed() < Duration::from_secs(30));
                            if !again {
                                self.crashed(replica, &why).await;
                            }
                            last = Some((why, Instant::now()));
                        }
                        Some(Child::Running { .. } | Child::Waiting) => {}
                    }
                }
                () = sleep(PULSE) => {
                    // Busy is alive: the work itself has a deadline.
                    let Ok(mut slot) = replica.link.try_lock() else { continue };
                    let Some(link) = slot.as_mut() else { return "the session is gone".to_owned() };
                    match timeout(PULSE, link.remote.ping()).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => return error.to_string(),
                        Err(_) => return format!("no sign of life for {} s", PULSE.as_secs()),
                    }
                }
            }
        }
    }

    async fn crashed(&self, replica: &Replica, why: &str) {
        // The container's runtime writes the last line a moment after the process has gone.
        sleep(Duration::from_millis(60)).await;
        let options = LogOptions {
            container: Some(self.origin.service.name.clone()),
            tail: Some(LAST_LINES),
            ..LogOptions::default()
        };
        let lines = match k8s::tail(&self.cluster, &self.namespace, &replica.pod, &options).await {
            Ok(lines) => lines
                .into_iter()
                .filter(|line| !line.contains("\"msg\":\"service ended\""))
                .collect(),
            Err(error) => vec![error.to_string()],
        };
        let message = format!(
            "the service in {} ended: {why}; the next save starts it again",
            replica.pod
        );
        self.tell(ReloadPhase::Crashed, message, lines);
    }
}
