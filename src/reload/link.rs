//! One replica: a connection to the agent in its pod, and its files in step with the source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::ReloadError;
use super::origin::Origin;
use super::tree::Lack;
use crate::agent::protocol::{Child, Then};
use crate::agent::remote::{Error as AgentError, Remote};
use crate::failure::{Diagnose, Family};
use crate::k8s::{Cluster, K8sError, Tunnel};
use crate::render::develop::AGENT_PORT;

/// How often an idle connection is asked for a sign of life.
pub const PULSE: Duration = Duration::from_secs(10);

/// How often a replica is brought in step anew because the source was saved meanwhile.
const ROUNDS: usize = 5;

/// Why a replica could not be reached or brought in step.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The way to it.
    #[error(transparent)]
    Cluster(#[from] K8sError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The source.
    #[error(transparent)]
    Source(#[from] ReloadError),
    /// A thread ended early.
    #[error("reading the source was broken off: {0}")]
    Broken(String),
}

impl Diagnose for LinkError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Cluster(error) => error.hint(),
            Self::Agent(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Broken(_) => None,
        }
    }
    fn family(&self) -> Family {
        match self {
            Self::Cluster(error) => error.family(),
            Self::Agent(error) => error.family(),
            Self::Source(error) => error.family(),
            Self::Broken(_) => Family::Internal,
        }
    }
    fn details(&self) -> Vec<String> {
        match self {
            Self::Source(error) => error.details(),
            Self::Cluster(error) => error.details(),
            Self::Agent(_) | Self::Broken(_) => Vec::new(),
        }
    }
}

/// Runs blocking work of an origin.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReloadError> + Send + 'static,
) -> Result<T, LinkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(LinkError::Broken(error.to_string())),
    }
}

/// A replica brought in step.
#[derive(Debug, Clone, Copy)]
pub struct Attached {
    /// Files that it lacked.
    pub brought: usize,
    /// Whether its agent was replaced by this vadev's.
    pub healed: bool,
    /// Until it was in step.
    pub took: Duration,
}

/// An open session with a replica's agent.
pub struct Link {
    /// The pod.
    pub pod: String,
    /// The session.
    pub remote: Remote,
    /// The states of the service's process.
    pub events: UnboundedReceiver<Child>,
    /// Whether the agent was replaced.
    healed: bool,
}

impl Link {
    /// Connects to the agent in a pod, and replaces it where it is not this vadev's.
    ///
    /// # Errors
    /// It cannot be reached, or refuses the token.
    pub async fn open(cluster: &Cluster, namespace: &str, pod: &str, token: &str) -> Result<Self, LinkError> {
        let mut healed = false;
        loop {
            let tunnel = Tunnel::open(cluster, namespace, pod, AGENT_PORT).await?;
            let mut remote = Remote::open(tunnel, token).await?;
            if !remote.is_current() && !healed {
                remote.upgrade().await?;
                healed = true;
                // The new agent listens a moment after the old one said that it goes.
                tokio::time::sleep(Duration::from_millis(150)).await;
                continue;
            }
            let events = remote
                .events()
                .ok_or_else(|| AgentError::OutOfOrder("its events were taken".to_owned()))?;
            return Ok(Self {
                pod: pod.to_owned(),
                remote,
                events,
                healed,
            });
        }
    }

    /// Brings in what the replica lacks of the source as it is now, and lets a service start that waited for it.
    ///
    /// # Errors
    /// The source cannot be read, or the agent refuses.
    pub async fn attach(&mut self, origin: &Arc<Origin>) -> Result<Attached, LinkError> {
        let begun = Instant::now();
        let waiting = self.remote.welcome().child == Child::Waiting;
        let mut brought = 0;
        for round in 1..=ROUNDS {
            let lack = self.lack(origin).await?;
            if lack.is_empty() {
                break;
            }
            brought = brought.max(lack.len());
            let then = if waiting {
                Then::Nothing
            } else {
                origin.service.then()
            };
            let (shared, due) = (Arc::clone(origin), lack.clone());
            let change = blocking(move || shared.change(&due, then)).await?;
            let (_, sent) = self.remote.give(change).await?;
            // A save in between may be undone before anybody looks, and then the others have what this one has not.
            let unlike = origin.unlike(&lack, &sent);
            if unlike.is_empty() {
                break;
            }
            // Whoever writes without a pause is seen again in a moment.
            if round == ROUNDS {
                origin.doubt_targets(&unlike);
            }
        }
        self.remote.start().await?;
        Ok(Attached {
            brought,
            healed: self.healed,
            took: begun.elapsed(),
        })
    }

    /// What it lacks.
    ///
    /// # Errors
    /// The source cannot be read, or the agent does not answer.
    pub async fn lack(&mut self, origin: &Arc<Origin>) -> Result<Lack, LinkError> {
        let there = self.remote.status(&origin.service.recipe.rules.roots()).await?;
        let shared = Arc::clone(origin);
        let tree = blocking(move || shared.tree()).await?;
        let lack = tree.lack(&there);
        let given = tree
            .files
            .into_iter()
            .map(|(target, (_, node))| (target, node))
            .collect();
        origin.attached(given);
        Ok(lack)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use super::*;
    use crate::agent::protocol::{Applied, Entry, Node, Reply, Request, Welcome, frame, tree_digest};
    use crate::reload::tried;

    /// An agent that keeps hashes; a file of the source is saved once more while it is sent for the first time, which is undone
    /// in a moment. The hashes.
    fn agent(mut stream: UnixStream, saved: &Path) -> Vec<Entry> {
        let child = Child::Running { pid: 1, starts: 1 };
        let (mut there, mut id, mut last) = (Vec::<Entry>::new(), 0, None);
        while let Ok(Some((request, _))) = frame::read::<Request>(&mut stream) {
            let reply = match request {
                Request::Begin { id: begun } => {
                    id = begun;
                    if id == 1 {
                        save(saved, *b"b");
                    }
                    continue;
                }
                Request::Write { path, mode, part, .. } => {
                    last = Some((path, mode));
                    there.extend(whole(last.as_ref(), part.end));
                    continue;
                }
                Request::Chunk { part } => {
                    there.extend(whole(last.as_ref(), part.end));
                    continue;
                }
                Request::Commit { .. } => {
                    if id == 1 {
                        save(saved, *b"a");
                    }
                    let newest = there.split_off(there.len() - 1);
                    there.clone_from(&newest);
                    Reply::Applied(Applied {
                        id,
                        digest: tree_digest(&newest),
                        apply_micros: 0,
                        restart_micros: 0,
                        child: child.clone(),
                    })
                }
                Request::Hello { protocol, .. } => Reply::Welcome(Welcome {
                    protocol,
                    version: String::new(),
                    program: String::new(),
                    roots: Vec::new(),
                    changed: 0,
                    log: String::new(),
                    child: child.clone(),
                }),
                Request::Status { .. } => Reply::Entries {
                    entries: there.clone(),
                    last: true,
                },
                _ => Reply::Done { child: child.clone() },
            };
            let mut bytes = Vec::new();
            frame::encode(&reply, &[], &mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        }
        there
    }

    fn save(file: &Path, end: [u8; 1]) {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.write_all_at(&end, LARGE - 1).unwrap();
    }

    fn whole(file: Option<&(String, u32)>, end: Option<String>) -> Option<Entry> {
        let ((path, mode), sha256) = file.cloned().zip(end)?;
        let node = Node::File { mode, sha256 };
        Some(Entry { path, node })
    }

    /// More than is on its way at any moment.
    const LARGE: u64 = 8 << 20;

    #[tokio::test]
    async fn a_replica_gets_what_was_saved_while_it_was_brought_in_step() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, vec![b'a'; usize::try_from(LARGE).unwrap()]).unwrap();
        let origin = Arc::new(tried::origin(folder.path(), "FROM x\n"));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let saved = file.clone();
        let agent = std::thread::spawn(move || agent(theirs, &saved));
        ours.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(ours).unwrap();
        let mut remote = Remote::open(stream, "").await.unwrap();
        let mut link = Link {
            pod: "pod".to_owned(),
            events: remote.events().unwrap(),
            remote,
            healed: false,
        };
        assert_eq!(link.attach(&origin).await.unwrap().brought, 1);
        drop(link);
        // Not here: the connection ends on this thread.
        let there = tokio::task::spawn_blocking(|| agent.join().unwrap());
        let there = there.await.unwrap();
        let tree = origin.tree().unwrap();
        assert!(tree.lack(&there).is_empty(), "{there:?}");
        assert!(origin.differing(["a"].into_iter()).unwrap().is_empty());
    }
}
