//! One connection of a CLI: a thread that reads requests and carries them out in order. Errors inside a change are kept
//! until its commit, so that the CLI need not wait for an answer to each frame.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::context::Context;
use super::shared::lock;
use super::store::{Change, Incoming};
use super::supervisor::{Acted, Order};
use super::{files, install, upgrade};
use crate::agent::protocol::frame::{self, Error};
use crate::agent::protocol::{
    Applied, Cause, Entry, Node, PART, Part, Reply, Request, SLICE, Then, tree_digest,
};

/// Why a request fails: a sentence, and what the CLI decides by.
type Failure = (String, Cause);

/// Where replies and events go; both are whole frames.
pub type Writer = Arc<Mutex<Box<dyn Write + Send>>>;

/// A change that is being received.
#[derive(Default)]
struct Open {
    change: Change,
    failed: Option<Failure>,
}

/// What content on its way in will be.
enum Target {
    File { path: String, mode: u32 },
    Program,
}

/// One connection after its hello.
pub struct Session {
    context: Arc<Context>,
    writer: Writer,
    open: Option<Open>,
    incoming: Option<(Target, Incoming)>,
}

/// Sends one reply.
pub fn send(writer: &Writer, reply: &Reply) -> Result<(), Error> {
    let mut bytes = Vec::new();
    frame::encode(reply, &[], &mut bytes)?;
    lock(writer).write_all(&bytes)?;
    Ok(())
}

impl Session {
    /// A session whose token was right.
    pub fn new(context: Arc<Context>, writer: Writer) -> Self {
        Self {
            context,
            writer,
            open: None,
            incoming: None,
        }
    }

    /// Carries requests out until the connection ends.
    pub fn serve(&mut self, reader: &mut BufReader<impl Read>) -> Result<(), Error> {
        loop {
            let (request, body) = match frame::read::<Request>(reader) {
                Ok(None) => return Ok(()),
                Ok(Some(frame)) => frame,
                // From a newer CLI: it is told and may upgrade this agent.
                Err(Error::Message(e)) => {
                    self.fail((format!("unknown request: {e}"), Cause::Other))?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.request(request, &body)?;
        }
    }

    fn request(&mut self, request: Request, body: &[u8]) -> Result<(), Error> {
        match request {
            Request::Hello { .. } => self.fail(("hello twice".into(), Cause::Other)),
            Request::Begin { id } => {
                self.incoming = None;
                self.open = Some(Open {
                    change: Change {
                        id,
                        ..Change::default()
                    },
                    failed: None,
                });
                Ok(())
            }
            Request::Delete { paths } => {
                let outcome = paths
                    .iter()
                    .try_for_each(|path| self.context.allowed(path).map(drop));
                self.note(outcome);
                if let Some(open) = &mut self.open {
                    open.change.deletes.extend(paths);
                }
                Ok(())
            }
            Request::Write {
                path,
                mode,
                link,
                part,
            } => {
                let outcome = self.write(path, mode, link, &part, body);
                self.note(outcome);
                Ok(())
            }
            Request::Chunk { part } => self.chunk(&part, body),
            Request::Commit { then } => self.commit(then),
            Request::Abort => {
                (self.open, self.incoming) = (None, None);
                Ok(())
            }
            Request::Status { roots } => match self.status(&roots) {
                Ok(entries) => self.list(entries),
                Err(failure) => self.fail(failure),
            },
            Request::Log => {
                let entries = lock(&self.context.store).entries();
                self.list(entries)
            }
            Request::Forget => {
                let outcome = lock(&self.context.store).forget();
                self.done(outcome.map_err(|e| (e.to_string(), e.cause())))
            }
            Request::Start => self.acted(self.context.start()),
            Request::Act { then } => self.acted(self.context.act(then)),
            Request::Probe { url, deadline_millis } => match self.context.probe(&url, deadline_millis) {
                Ok((micros, attempts)) => self.reply(&Reply::Probed { micros, attempts }),
                Err(why) => self.fail((why, Cause::Process)),
            },
            Request::Upgrade { part } => {
                let received = lock(&self.context.store).receive(install::NAME);
                match received {
                    Ok(incoming) => {
                        self.incoming = Some((Target::Program, incoming));
                        self.chunk(&part, body)
                    }
                    Err(e) => self.fail((e.to_string(), e.cause())),
                }
            }
            Request::Ping => self.done(Ok(())),
        }
    }

    /// Keeps the first failure of the open change.
    fn note(&mut self, outcome: Result<(), Failure>) {
        let Some(open) = &mut self.open else { return };
        if let Err(failure) = outcome {
            open.failed.get_or_insert(failure);
        }
    }

    fn write(
        &mut self,
        path: String,
        mode: u32,
        link: Option<String>,
        part: &Part,
        body: &[u8],
    ) -> Result<(), Failure> {
        self.incoming = None;
        self.context.allowed(&path)?;
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Some(target) = link {
            open.change.writes.insert(path, Node::Link { target });
            return Ok(());
        }
        if open.failed.is_some() {
            // Nothing of this change will be used: its contents need no space.
            return Ok(());
        }
        let incoming = lock(&self.context.store)
            .receive(&path)
            .map_err(|e| (e.to_string(), e.cause()))?;
        self.incoming = Some((
            Target::File {
                path,
                mode: mode & 0o777,
            },
            incoming,
        ));
        self.part(part, body).map(drop)
    }

    fn chunk(&mut self, part: &Part, body: &[u8]) -> Result<(), Error> {
        let program = matches!(self.incoming, Some((Target::Program, _)));
        match self.part(part, body) {
            Ok(None) => Ok(()),
            Ok(Some(program)) => {
                // Told before it is done: the connection does not survive it, and the next hello shows the outcome.
                self.done(Ok(()))?;
                self.context.order(Order::Become(program));
                Ok(())
            }
            Err(failure) if program => {
                self.incoming = None;
                self.fail(failure)
            }
            Err(failure) => {
                self.incoming = None;
                self.note(Err(failure));
                Ok(())
            }
        }
    }

    /// Takes a part in; gives the new program's path when it was the last one of an upgrade.
    fn part(&mut self, part: &Part, body: &[u8]) -> Result<Option<PathBuf>, Failure> {
        let Some((target, incoming)) = &mut self.incoming else {
            return Ok(None);
        };
        let bad = |e: Error| (e.to_string(), Cause::BadContent);
        let failed = |e: super::store::Error| (e.to_string(), e.cause());
        if part.deflated {
            incoming
                .write(&frame::inflate(body).map_err(bad)?)
                .map_err(failed)?;
        } else if body.len() <= PART {
            incoming.write(body).map_err(failed)?;
        } else {
            return Err(("a part is too long".into(), Cause::BadContent));
        }
        let Some(sha256) = &part.end else { return Ok(None) };
        let content = incoming.finish(sha256).map_err(failed)?;
        let outcome = match target {
            Target::Program => {
                let program = upgrade::put(content, &self.context.options.state);
                Some(program.map_err(|e| (format!("upgrade: {e}"), Cause::Other))?)
            }
            Target::File { path, mode } => {
                lock(&self.context.store).keep(incoming, sha256).map_err(failed)?;
                if let Some(open) = &mut self.open {
                    let node = Node::File {
                        mode: *mode,
                        sha256: sha256.clone(),
                    };
                    open.change.writes.insert(std::mem::take(path), node);
                }
                None
            }
        };
        self.incoming = None;
        Ok(outcome)
    }

    fn commit(&mut self, then: Then) -> Result<(), Error> {
        let start = Instant::now();
        let Some(Open { change, mut failed }) = self.open.take() else {
            return self.fail(("commit without begin".into(), Cause::BadContent));
        };
        if self.incoming.take().is_some() {
            failed.get_or_insert(("a file's last part is missing".into(), Cause::BadContent));
        }
        if let Some(failure) = failed {
            return self.fail(failure);
        }
        let entries = match lock(&self.context.store).commit(&change) {
            Ok(entries) => entries,
            Err(e) => return self.fail((e.to_string(), e.cause())),
        };
        let apply_micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        match self.context.act(then) {
            Ok(Acted { micros, child }) => self.reply(&Reply::Applied(Applied {
                id: change.id,
                digest: tree_digest(&entries),
                apply_micros,
                restart_micros: micros,
                child,
            })),
            Err(why) => self.fail((format!("files are in place, but {why}"), Cause::Process)),
        }
    }

    fn status(&self, roots: &[String]) -> Result<Vec<Entry>, Failure> {
        let mut paths = Vec::new();
        for root in roots {
            paths.push(self.context.allowed(root)?);
        }
        if roots.is_empty() {
            paths.clone_from(&self.context.options.roots);
        }
        let mut entries = BTreeMap::new();
        for path in paths {
            let walked = files::walk(&path, &mut |file| {
                // Names that are no UTF-8 are in no sync rule.
                if let Some(name) = file.to_str() {
                    entries.insert(name.to_owned(), files::inspect(file)?);
                }
                Ok(())
            });
            walked.map_err(|e| (format!("{}: {e}", path.display()), Cause::Other))?;
        }
        // A file that vanished between listing and reading is not there.
        Ok(entries
            .into_iter()
            .filter(|(_, n)| *n != Node::Gone)
            .map(|(path, node)| Entry { path, node })
            .collect())
    }

    fn list(&self, entries: Vec<Entry>) -> Result<(), Error> {
        let slices = entries.len().div_ceil(SLICE).max(1);
        let mut rest = entries.into_iter();
        for slice in 1..=slices {
            let entries = rest.by_ref().take(SLICE).collect();
            self.reply(&Reply::Entries {
                entries,
                last: slice == slices,
            })?;
        }
        Ok(())
    }

    fn acted(&self, outcome: Result<Acted, String>) -> Result<(), Error> {
        match outcome {
            Ok(Acted { child, .. }) => self.reply(&Reply::Done { child }),
            Err(why) => self.fail((why, Cause::Process)),
        }
    }

    fn done(&self, outcome: Result<(), Failure>) -> Result<(), Error> {
        match outcome {
            Ok(()) => self.reply(&Reply::Done {
                child: self.context.shared.child(),
            }),
            Err(failure) => self.fail(failure),
        }
    }

    fn fail(&self, (why, cause): Failure) -> Result<(), Error> {
        self.reply(&Reply::Failed { why, cause })
    }

    fn reply(&self, reply: &Reply) -> Result<(), Error> {
        send(&self.writer, reply)
    }
}
