//! The CLI's end of a session with a sync agent, over any stream (a port-forward to the pod).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::outgoing::{self, Change, Outgoing};
use super::protocol::frame::{self, HEAD, Lengths};
use super::protocol::{
    Applied, Cause, Child, Entry, PART, Part, Reply, Request, Then, VERSION, Welcome, tree_digest,
};
use super::{digest, embedded};
use crate::failure::{Diagnose, Family};

/// How long an agent may take to answer; putting 10,000 files in place takes a second or two.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Why a session or a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection ended: the pod, the container or the port-forward is gone.
    #[error("the connection to the agent ended: {0}")]
    Closed(String),
    /// The agent does not know this session's token.
    #[error("the agent refused the session: {0}")]
    Refused(String),
    /// The agent could not carry the request out.
    #[error("{why}")]
    Failed {
        /// The agent's sentence.
        why: String,
        /// What to decide by.
        cause: Cause,
    },
    /// No answer in time; the session cannot be used any more.
    #[error("the agent did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// A source file could not be read; it may be gone or being replaced.
    #[error("cannot read {path}: {source}")]
    Source {
        /// On this machine.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// What is in the container after the change is not what was sent.
    #[error("the container's files differ from what was sent (digest {found}, expected {expected})")]
    Differs {
        /// Of what was sent.
        expected: String,
        /// Of what is there.
        found: String,
    },
    /// The agent sent something else than an answer to the request.
    #[error("the agent answered out of order: {0}")]
    OutOfOrder(String),
}

impl Diagnose for Error {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Failed { cause: Cause::NotWritable, .. } => {
                "the files cannot be changed in the running container; `vadev reload SERVICE --build` ships an image".into()
            }
            Self::Failed { cause: Cause::NoSpace, .. } => {
                "free space on the node, or `vadev reload SERVICE --build`".into()
            }
            Self::Refused(_) => "another session owns this agent; `vadev dev --stop`, then `vadev dev`".into(),
            Self::Source { .. } => "save the file again".into(),
            _ => "vadev connects again by itself; `vadev status` shows the pod".into(),
        })
    }

    fn family(&self) -> Family {
        match self {
            Self::Silent(_) => Family::Timeout,
            Self::Refused(_) => Family::Refused,
            Self::Source { .. } => Family::Environment,
            Self::OutOfOrder(_) => Family::Internal,
            _ => Family::Cluster,
        }
    }
}

/// A session. Requests are answered one after the other.
pub struct Remote {
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    replies: mpsc::Receiver<Result<Reply, Error>>,
    receiving: tokio::task::AbortHandle,
    events: Option<mpsc::UnboundedReceiver<Child>>,
    welcome: Welcome,
    broken: bool,
    next: u64,
}

impl Remote {
    /// Says hello.
    pub async fn open<S>(stream: S, token: &str) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer): (ReadHalf<S>, WriteHalf<S>) = tokio::io::split(stream);
        let (reply_sender, replies) = mpsc::channel(8);
        let (event_sender, events) = mpsc::unbounded_channel();
        let receiving = tokio::spawn(receive(reader, reply_sender, event_sender)).abort_handle();
        let welcome = Welcome {
            protocol: VERSION,
            version: String::new(),
            program: String::new(),
            roots: Vec::new(),
            changed: 0,
            log: String::new(),
            child: Child::Waiting,
        };
        let writer = Box::new(writer);
        let mut remote = Self {
            writer,
            replies,
            receiving,
            events: Some(events),
            welcome,
            broken: false,
            next: 1,
        };
        let hello = Request::Hello {
            protocol: VERSION,
            token: token.to_owned(),
        };
        match remote.ask(&hello, &[]).await? {
            Reply::Welcome(welcome) => remote.welcome = welcome,
            other => return Err(unexpected(&other)),
        }
        Ok(remote)
    }

    /// What the agent said of itself when the session began.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Whether the agent is the one that this vadev carries; if not, [`Remote::upgrade`] it.
    pub fn is_current(&self) -> bool {
        self.welcome.protocol == VERSION && self.welcome.program == embedded::sha256()
    }

    /// The process's states from now on; `None` when they were taken already.
    pub fn events(&mut self) -> Option<mpsc::UnboundedReceiver<Child>> {
        self.events.take()
    }

    /// Puts a change in place, all of it or nothing, and checks that what is there is what was sent.
    pub async fn apply(&mut self, change: Change) -> Result<Applied, Error> {
        Ok(self.give(change).await?.0)
    }

    /// The same, with what was sent: a file that is read while it is sent may have been saved meanwhile.
    pub async fn give(&mut self, change: Change) -> Result<(Applied, Vec<Entry>), Error> {
        let id = self.next;
        self.next += 1;
        let then = change.then.clone();
        let (sender, mut buffers) = mpsc::channel(4);
        let producer = tokio::task::spawn_blocking(move || outgoing::produce(id, change, &sender));
        while let Some(buffer) = buffers.recv().await {
            self.send(&buffer).await?;
        }
        let Outgoing { expected, rest } = match producer.await {
            Ok(Ok(outgoing)) => outgoing,
            Ok(Err(error)) => {
                self.post(&Request::Abort, &[]).await?;
                return Err(error);
            }
            Err(panic) => return Err(Error::OutOfOrder(panic.to_string())),
        };
        let mut bytes = rest;
        encode(&Request::Commit { then }, &[], &mut bytes)?;
        self.send(&bytes).await?;
        match self.reply().await? {
            Reply::Applied(applied) if applied.id == id => {
                let digest = tree_digest(&expected);
                if applied.digest == digest {
                    return Ok((applied, expected));
                }
                Err(Error::Differs {
                    expected: digest,
                    found: applied.digest,
                })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// The files below `roots` (the agent's own when empty) as they are in the container, by path.
    pub async fn status(&mut self, roots: &[String]) -> Result<Vec<Entry>, Error> {
        let roots = roots.to_vec();
        self.list(&Request::Status { roots }).await
    }

    /// Everything changed since the image.
    pub async fn log(&mut self) -> Result<Vec<Entry>, Error> {
        self.list(&Request::Log).await
    }

    /// Forgets the changes: for when an image that has them is about to run.
    pub async fn forget(&mut self) -> Result<(), Error> {
        self.done(&Request::Forget).await.map(drop)
    }

    /// Lets a service start that waited for this session.
    pub async fn start(&mut self) -> Result<Child, Error> {
        self.done(&Request::Start).await
    }

    /// Restarts or signals the service without a change.
    pub async fn act(&mut self, then: Then) -> Result<Child, Error> {
        self.done(&Request::Act { then }).await
    }

    /// Waits until the service answers with 200 to 399, asked from inside its pod; fails early when it goes down. Returns the time
    /// it took there.
    pub async fn probe(&mut self, url: &str, deadline: Duration) -> Result<Duration, Error> {
        let deadline_millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Probe {
            url: url.to_owned(),
            deadline_millis,
        };
        self.post(&request, &[]).await?;
        match self.reply_within(deadline + PATIENCE).await? {
            Reply::Probed { micros, .. } => Ok(Duration::from_micros(micros)),
            other => Err(unexpected(&other)),
        }
    }

    /// Gives the agent the program that this vadev carries. The agent becomes it, keeps the service running and ends
    /// this connection: open a new one.
    pub async fn upgrade(mut self) -> Result<(), Error> {
        let parts = embedded::BINARY.chunks(PART);
        let last = parts.len().saturating_sub(1);
        for (number, raw) in parts.enumerate() {
            let packed = frame::deflate(raw);
            let end = (number == last).then(|| digest::hex(embedded::BINARY));
            let part = Part {
                deflated: packed.is_some(),
                end,
            };
            let request = if number == 0 {
                Request::Upgrade { part }
            } else {
                Request::Chunk { part }
            };
            self.post(&request, packed.as_deref().unwrap_or(raw)).await?;
        }
        match self.reply().await? {
            Reply::Done { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether the connection still works.
    pub async fn ping(&mut self) -> Result<Child, Error> {
        self.done(&Request::Ping).await
    }

    async fn done(&mut self, request: &Request) -> Result<Child, Error> {
        match self.ask(request, &[]).await? {
            Reply::Done { child } => Ok(child),
            other => Err(unexpected(&other)),
        }
    }

    async fn list(&mut self, request: &Request) -> Result<Vec<Entry>, Error> {
        self.post(request, &[]).await?;
        let mut all = BTreeMap::new();
        loop {
            match self.reply().await? {
                Reply::Entries { entries, last } => {
                    all.extend(entries.into_iter().map(|entry| (entry.path, entry.node)));
                    if last {
                        return Ok(all.into_iter().map(|(path, node)| Entry { path, node }).collect());
                    }
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    async fn ask(&mut self, request: &Request, body: &[u8]) -> Result<Reply, Error> {
        self.post(request, body).await?;
        self.reply().await
    }

    async fn post(&mut self, request: &Request, body: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(body.len() + 256);
        encode(request, body, &mut bytes)?;
        self.send(&bytes).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Closed("an earlier request failed".into()));
        }
        let sent = timeout(PATIENCE, async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => self.give_up(Error::Closed(e.to_string())),
            Err(_) => self.give_up(Error::Silent(PATIENCE)),
        }
    }

    async fn reply(&mut self) -> Result<Reply, Error> {
        self.reply_within(PATIENCE).await
    }

    async fn reply_within(&mut self, patience: Duration) -> Result<Reply, Error> {
        match timeout(patience, self.replies.recv()).await {
            Ok(Some(Ok(Reply::Failed { why, cause }))) => Err(Error::Failed { why, cause }),
            Ok(Some(Ok(Reply::Refused { why }))) => self.give_up(Error::Refused(why)),
            Ok(Some(Ok(reply))) => Ok(reply),
            Ok(Some(Err(error))) => self.give_up(error),
            Ok(None) => self.give_up(Error::Closed("by the other side".into())),
            // A late answer would be taken for the next one's.
            Err(_) => self.give_up(Error::Silent(patience)),
        }
    }

    fn give_up<T>(&mut self, error: Error) -> Result<T, Error> {
        self.broken = true;
        Err(error)
    }
}

/// The half that reads would keep the connection open, and whoever listens to events waiting.
impl Drop for Remote {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

fn encode(request: &Request, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    frame::encode(request, body, out).map_err(|e| Error::OutOfOrder(e.to_string()))
}

fn unexpected(reply: &Reply) -> Error {
    let mut text = format!("{reply:?}");
    text.truncate(text.floor_char_boundary(120));
    Error::OutOfOrder(text)
}

/// Reads frames until the connection ends, events apart from replies.
async fn receive(
    reader: impl AsyncRead + Unpin,
    replies: mpsc::Sender<Result<Reply, Error>>,
    events: mpsc::UnboundedSender<Child>,
) {
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    loop {
        match read(&mut reader).await {
            // Nobody listening to events is fine.
            Ok(Reply::Event { child }) => drop(events.send(child)),
            Ok(reply) => {
                if replies.send(Ok(reply)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // The session may be gone already; then nobody wants to know.
                let _ = replies.send(Err(error)).await;
                return;
            }
        }
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Result<Reply, Error> {
    let closed = |e: std::io::Error| Error::Closed(e.to_string());
    let out_of_order = |e: frame::Error| Error::OutOfOrder(e.to_string());
    let mut head = [0u8; HEAD];
    reader.read_exact(&mut head).await.map_err(closed)?;
    let lengths = Lengths::parse(head).map_err(out_of_order)?;
    let mut bytes = vec![0u8; lengths.message + lengths.body];
    reader.read_exact(&mut bytes).await.map_err(closed)?;
    serde_json::from_slice(&bytes[..lengths.message]).map_err(|e| out_of_order(e.into()))
}
