//! A change on its way out: source files become frames, a few buffers at a time, each file read once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::digest;
use super::protocol::{Entry, Node, PART, Part, Request, SLICE, Then, frame};
use super::remote::Error;
use super::sync::checked_deletes;

/// What is to happen in a container.
#[derive(Debug, Clone)]
pub struct Change {
    /// Files and folders that go first: absolute paths in the container.
    pub deletes: Vec<String>,
    /// What is written, by path in the container.
    pub writes: BTreeMap<String, Write>,
    /// And then.
    pub then: Then,
    /// Pack content: worth it on the way to a far cluster, not to one on this machine.
    pub compress: bool,
}

/// One file or link.
#[derive(Debug, Clone)]
pub struct Write {
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub content: Content,
}

/// Where content comes from.
#[derive(Debug, Clone)]
pub enum Content {
    /// From memory.
    Bytes(Vec<u8>),
    /// A file of this machine, read while it is sent.
    File(PathBuf),
    /// A symbolic link that points there.
    Link(String),
}

/// What is left to send, and what has to be there afterwards.
pub struct Outgoing {
    /// Every path of the change.
    pub expected: Vec<Entry>,
    /// The last frames, to go in one packet with the commit.
    pub rest: Vec<u8>,
}

/// Turns `change` into frames and passes them on buffer by buffer; blocking.
pub fn produce(id: u64, change: Change, sender: &mpsc::Sender<Vec<u8>>) -> Result<Outgoing, Error> {
    let mut frames = Frames {
        buffer: Vec::new(),
        sender,
        compress: change.compress,
    };
    frames.push(&Request::Begin { id }, &[])?;
    let gone = |path: &String| Entry {
        path: path.clone(),
        node: Node::Gone,
    };
    let mut expected: Vec<Entry> = checked_deletes(&change.deletes, &change.writes)
        .map(gone)
        .collect();
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    expected.dedup();
    for slice in change.deletes.chunks(SLICE) {
        frames.push(
            &Request::Delete {
                paths: slice.to_vec(),
            },
            &[],
        )?;
    }
    for (path, Write { mode, content }) in change.writes {
        let mode = mode & 0o777;
        let node = match content {
            Content::Link(target) => {
                let part = Part {
                    deflated: false,
                    end: None,
                };
                let (path, link) = (path.clone(), Some(target.clone()));
                frames.push(
                    &Request::Write {
                        path,
                        mode,
                        link,
                        part,
                    },
                    &[],
                )?;
                Node::Link { target }
            }
            Content::Bytes(bytes) => Node::File {
                mode,
                sha256: frames.content(&path, mode, &mut bytes.as_slice())?,
            },
            Content::File(source) => {
                let shown = source.display().to_string();
                let mut file = File::open(&source).map_err(|source| Error::Source {
                    path: shown.clone(),
                    source,
                })?;
                let sha256 = frames
                    .content(&path, mode, &mut file)
                    .map_err(|error| error.of(&shown))?;
                Node::File { mode, sha256 }
            }
        };
        expected.push(Entry { path, node });
    }
    Ok(Outgoing {
        expected,
        rest: frames.buffer,
    })
}

impl Error {
    /// The same, with the source's path in place of the target's.
    fn of(self, shown: &str) -> Self {
        match self {
            Self::Source { source, .. } => Self::Source {
                path: shown.to_owned(),
                source,
            },
            other => other,
        }
    }
}

struct Frames<'a> {
    buffer: Vec<u8>,
    sender: &'a mpsc::Sender<Vec<u8>>,
    compress: bool,
}

impl Frames<'_> {
    fn push(&mut self, request: &Request, body: &[u8]) -> Result<(), Error> {
        frame::encode(request, body, &mut self.buffer).map_err(|e| Error::OutOfOrder(e.to_string()))?;
        if self.buffer.len() >= PART {
            let full = std::mem::take(&mut self.buffer);
            self.sender
                .blocking_send(full)
                .map_err(|_| Error::Closed("while sending".into()))?;
        }
        Ok(())
    }

    /// Sends one file's content and returns its hash. What is hashed is what is sent, whatever happens to the file.
    fn content(&mut self, path: &str, mode: u32, source: &mut impl Read) -> Result<String, Error> {
        let mut hash = Sha256::new();
        let mut first = true;
        let mut current = next_part(source, path)?;
        loop {
            // A full part may be the last: only an empty one after it tells.
            let following = if current.len() == PART {
                next_part(source, path)?
            } else {
                Vec::new()
            };
            hash.update(&current);
            let end = following
                .is_empty()
                .then(|| digest::to_hex(&hash.clone().finalize()));
            let packed = if self.compress {
                frame::deflate(&current)
            } else {
                None
            };
            let part = Part {
                deflated: packed.is_some(),
                end: end.clone(),
            };
            let request = if first {
                Request::Write {
                    path: path.to_owned(),
                    mode,
                    link: None,
                    part,
                }
            } else {
                Request::Chunk { part }
            };
            self.push(&request, packed.as_deref().unwrap_or(&current))?;
            if let Some(sha256) = end {
                return Ok(sha256);
            }
            (first, current) = (false, following);
        }
    }
}

fn next_part(source: &mut impl Read, path: &str) -> Result<Vec<u8>, Error> {
    let mut part = Vec::new();
    let read = source.by_ref().take(PART as u64).read_to_end(&mut part);
    read.map_err(|source| Error::Source {
        path: path.to_owned(),
        source,
    })?;
    Ok(part)
}
