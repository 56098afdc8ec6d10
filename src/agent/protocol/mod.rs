//! What the CLI and the sync agent say to each other over one long-lived connection (a port-forward to the pod).
//!
//! The CLI sends [`Request`]s, the agent answers each with one [`Reply`] (lists take several) and sends
//! [`Reply::Event`] whenever the service's process starts or ends. A change is a transaction: `Begin`, any number of
//! `Delete` and `Write`, then `Commit`, after which either all of it is in place or nothing. One small save is four
//! frames in one packet.
//!
//! `Hello`, `Welcome`, `Upgrade` and `Chunk` keep their shape for ever: that is how a CLI and an agent of different
//! versions find a common one.

pub mod frame;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest;

/// Raised when any other message changes its meaning.
pub const VERSION: u32 = 1;
/// Content is sent in parts of at most this many bytes (before compression), so neither side holds a large file.
pub const PART: usize = 256 * 1024;
/// Lists are sent in slices of this many entries.
pub const SLICE: usize = 1000;

/// From the CLI.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Request {
    /// First on each connection; everything else is refused before it.
    Hello {
        /// The sender's [`VERSION`].
        protocol: u32,
        /// The session's token.
        token: String,
    },
    /// Opens a change.
    Begin {
        /// Comes back in the reply.
        id: u64,
    },
    /// Files and folders to remove. What is not there is removed already.
    Delete {
        /// Absolute paths in the container.
        paths: Vec<String>,
    },
    /// A file or link to write, with the first part of the content as the frame's body.
    Write {
        /// Absolute path in the container.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Set for a symbolic link: what it points to. It has no content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        /// The body.
        part: Part,
    },
    /// More content, in the frame's body.
    Chunk {
        /// The body.
        part: Part,
    },
    /// Puts the change in place.
    Commit {
        /// What the service's process has to do with it.
        then: Then,
    },
    /// Drops the open change.
    Abort,
    /// Asks for the files below `roots` as they are now, each with its hash.
    Status {
        /// Absolute paths; the agent's own roots when empty.
        roots: Vec<String>,
    },
    /// Asks for everything changed since the image: what a new replica needs.
    Log,
    /// Forgets what was changed: the next image has it. Files stay as they are.
    Forget,
    /// Ends the wait for the first session: the accumulated changes have been replayed.
    Start,
    /// Restarts or signals the process without a change.
    Act {
        /// What to do.
        then: Then,
    },
    /// Asks the service until it answers 2xx.
    Probe {
        /// `http://127.0.0.1:<port>/<path>`.
        url: String,
        /// Give up after this.
        deadline_millis: u64,
    },
    /// Replaces the agent's program by the one whose first part is the body; more comes in chunks.
    Upgrade {
        /// The body.
        part: Part,
    },
    /// Asks for nothing but an answer.
    Ping,
}

/// A piece of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// The body is a zlib stream.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deflated: bool,
    /// Set on the last part: SHA-256 of the whole content, so that a file edited while it was read is still whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// What happens to the service's process after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Then {
    /// Nothing: the language reloads itself, or the files are read on use.
    Nothing,
    /// SIGTERM, SIGKILL after the grace, and a new process at once.
    Restart {
        /// Between the two signals.
        grace_millis: u64,
    },
    /// A signal to the process group (`HUP`, `USR1`, `USR2`, `INT`, `QUIT`, `TERM`, `WINCH`).
    Signal {
        /// Its name without `SIG`.
        name: String,
    },
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Reply {
    /// The token was right.
    Welcome(Welcome),
    /// The token was wrong, or `Hello` did not come first. The connection ends.
    Refused {
        /// A sentence.
        why: String,
    },
    /// The change is in place.
    Applied(Applied),
    /// The request could not be carried out.
    Failed {
        /// A sentence that names the path or the process.
        why: String,
        /// What the CLI decides by.
        cause: Cause,
    },
    /// A slice of a list.
    Entries {
        /// Sorted by path over all slices.
        entries: Vec<Entry>,
        /// No more slices.
        last: bool,
    },
    /// The service answered 2xx.
    Probed {
        /// Since the probe was asked for.
        micros: u64,
        /// Tries.
        attempts: u32,
    },
    /// Carried out, nothing to tell but the process's state.
    Done {
        /// The process now.
        child: Child,
    },
    /// The process started or ended.
    Event {
        /// The process now.
        child: Child,
    },
}

/// What the agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Welcome {
    /// The agent's [`VERSION`].
    pub protocol: u32,
    /// The agent's version, for people.
    pub version: String,
    /// SHA-256 of the agent's program: the CLI upgrades it when it is not the one that it carries.
    pub program: String,
    /// Where it may write.
    pub roots: Vec<String>,
    /// Changed paths since the image.
    pub changed: usize,
    /// [`tree_digest`] of [`Request::Log`]'s entries.
    pub log: String,
    /// The service's process.
    pub child: Child,
}

/// A change in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// From `Begin`.
    pub id: u64,
    /// [`tree_digest`] of every path of the change, read back from the file system.
    pub digest: String,
    /// To put the files in place.
    pub apply_micros: u64,
    /// Until the new process was started (0 without a restart).
    pub restart_micros: u64,
    /// The process now.
    pub child: Child,
}

/// The service's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Child {
    /// Not started: the first session has not replayed yet.
    Waiting,
    /// Runs.
    Running {
        /// Its process ID in the container.
        pid: u32,
        /// How often it was started.
        starts: u64,
    },
    /// Ended by itself, or could not be started; tried again after a while or with the next change.
    Down {
        /// `exit code 3`, `signal 11`, or why it could not start.
        why: String,
        /// How long it ran.
        ran_millis: u64,
        /// Until the next try.
        retry_millis: u64,
    },
}

/// Why a request failed, as far as the CLI decides differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// Not writable: read-only, or another user's. An image-based reload is the way.
    NotWritable,
    /// No space or no inodes left.
    NoSpace,
    /// Outside the roots, or not an absolute, plain path.
    BadPath,
    /// The content's hash is not the announced one, or the frames came out of order.
    BadContent,
    /// The process could not be signalled or started, or did not answer in time.
    Process,
    /// Anything else.
    Other,
}

/// A path and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path in the container.
    pub path: String,
    /// What is there.
    pub node: Node,
}

/// What can be at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Node {
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// Of its content.
        sha256: String,
    },
    /// A symbolic link.
    Link {
        /// What it points to.
        target: String,
    },
    /// A folder; only logged when it was deleted or replaced.
    Folder,
    /// Nothing.
    Gone,
}

/// One digest over paths and what is there; the order of `entries` does not matter.
pub fn tree_digest(entries: &[Entry]) -> String {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut hash = Sha256::new();
    for Entry { path, node } in sorted {
        let line = match node {
            Node::File { mode, sha256 } => format!("file {mode:o} {sha256}"),
            Node::Link { target } => format!("link {target}"),
            Node::Folder => "folder".to_owned(),
            Node::Gone => "gone".to_owned(),
        };
        // NUL is in no path and no line: two different lists never give the same bytes.
        hash.update(path.as_bytes());
        hash.update([0]);
        hash.update(line.as_bytes());
        hash.update([0]);
    }
    digest::to_hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_of_content_not_order() {
        let file = |path: &str, mode| Entry {
            path: path.into(),
            node: Node::File {
                mode,
                sha256: "aa".into(),
            },
        };
        let (a, b) = (file("/a", 0o644), file("/b", 0o644));
        assert_eq!(tree_digest(&[a.clone(), b.clone()]), tree_digest(&[b, a.clone()]));
        assert_ne!(tree_digest(&[a]), tree_digest(&[file("/a", 0o755)]));
    }
}
