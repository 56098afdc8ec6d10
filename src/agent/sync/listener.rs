//! Takes connections in, checks their hello and gives each a thread: sessions read and write files, which must not hold
//! up the supervisor.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::context::Context;
use super::options::Listen;
use super::session::{Session, Writer, send};
use crate::agent::log;
use crate::agent::protocol::frame::{self, Error};
use crate::agent::protocol::{Reply, Request};

/// A connection that says nothing is none.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// After an error of the system's: nothing better than to try again.
const PAUSE: Duration = Duration::from_secs(1);

/// Both halves of a connection, and how to end its hello's time limit.
type Halves = (
    Box<dyn Read + Send>,
    Box<dyn Write + Send>,
    Box<dyn FnOnce() -> std::io::Result<()> + Send>,
);

/// Listens for ever. The service runs even where the agent cannot be reached.
pub fn listen(context: &Arc<Context>) {
    loop {
        let outcome = match &context.options.listen {
            Listen::Tcp(address) => TcpListener::bind(address).map(|listener| tcp(context, &listener)),
            Listen::Unix(path) => {
                // One that an earlier run left; anything else that is in the way makes bind fail and say so.
                let _ = std::fs::remove_file(path);
                UnixListener::bind(path).map(|listener| unix(context, &listener))
            }
        };
        let why = match outcome {
            Ok(end) | Err(end) => end.to_string(),
        };
        let at = format!("{:?}", context.options.listen);
        log::line(
            "error",
            "cannot listen for sessions",
            json!({"at": at, "why": why}),
        );
        std::thread::sleep(PAUSE);
    }
}

/// Takes connections until the system lets no more in.
fn tcp(context: &Arc<Context>, listener: &TcpListener) -> std::io::Error {
    let halves = |stream: TcpStream| {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HELLO_PATIENCE))?;
        let (writer, timer) = (stream.try_clone()?, stream.try_clone()?);
        let unlimited = Box::new(move || timer.set_read_timeout(None));
        Ok((Box::new(stream) as _, Box::new(writer) as _, unlimited as _))
    };
    loop {
        match listener.accept() {
            Ok((stream, _)) => take(context, halves(stream)),
            Err(e) => return e,
        }
    }
}

/// The same for a Unix socket.
fn unix(context: &Arc<Context>, listener: &UnixListener) -> std::io::Error {
    let halves = |stream: UnixStream| {
        stream.set_read_timeout(Some(HELLO_PATIENCE))?;
        let (writer, timer) = (stream.try_clone()?, stream.try_clone()?);
        let unlimited = Box::new(move || timer.set_read_timeout(None));
        Ok((Box::new(stream) as _, Box::new(writer) as _, unlimited as _))
    };
    loop {
        match listener.accept() {
            Ok((stream, _)) => take(context, halves(stream)),
            Err(e) => return e,
        }
    }
}

fn take(context: &Arc<Context>, accepted: std::io::Result<Halves>) {
    let (reader, writer, unlimited) = match accepted {
        Ok(halves) => halves,
        Err(e) => {
            log::line("error", "cannot take a session in", json!({"why": e.to_string()}));
            return;
        }
    };
    let context = context.clone();
    let serve = move || match session(&context, reader, writer, unlimited) {
        // A connection cut in the middle of a frame is how a killed CLI ends.
        Ok(()) | Err(Error::Io(_)) => {}
        Err(error) => log::line("error", "session ended", json!({"why": error.to_string()})),
    };
    if let Err(e) = std::thread::Builder::new().name("session".into()).spawn(serve) {
        log::line("error", "cannot serve a session", json!({"why": e.to_string()}));
    }
}

fn session(
    context: &Arc<Context>,
    reader: Box<dyn Read + Send>,
    writer: Box<dyn Write + Send>,
    unlimited: Box<dyn FnOnce() -> std::io::Result<()> + Send>,
) -> Result<(), Error> {
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    let writer: Writer = Arc::new(Mutex::new(writer));
    let why = match frame::read::<Request>(&mut reader) {
        Ok(None) => return Ok(()),
        Ok(Some((Request::Hello { token, .. }, _))) if context.admits(&token) => None,
        Ok(Some((Request::Hello { .. }, _))) => Some("wrong token"),
        Ok(Some(_)) | Err(Error::Message(_)) => Some("hello comes first"),
        Err(error) => return Err(error),
    };
    if let Some(why) = why {
        log::line("warn", "session refused", json!({"why": why}));
        return send(&writer, &Reply::Refused { why: why.into() });
    }
    unlimited()?;
    // Counted first: from here on the process's start waits for this session.
    context.session_began();
    let served = welcomed(context, &writer, &mut reader);
    context.session_ended();
    served
}

fn welcomed(
    context: &Arc<Context>,
    writer: &Writer,
    reader: &mut BufReader<Box<dyn Read + Send>>,
) -> Result<(), Error> {
    let events = context.shared.listen();
    send(writer, &Reply::Welcome(context.welcome()))?;
    let told = writer.clone();
    let forward = move || {
        // Ends with the connection: the first event that cannot be sent is the last.
        for child in events {
            if send(&told, &Reply::Event { child }).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("events".into()).spawn(forward)?;
    Session::new(context.clone(), writer.clone()).serve(reader)
}
