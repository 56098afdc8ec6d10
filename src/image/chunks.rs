//! Bytes that blocking code writes, handed in chunks to async code that sends them on.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes of a chunk; four of them at most are in memory.
const CHUNK: usize = 256 * 1024;

/// Writes into a bounded channel; a receiver that is gone is a broken pipe.
pub(super) struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    sent: Arc<AtomicU64>,
}

impl Chunks {
    /// Runs `write` on a thread of its own and returns what it writes. Its error is the last item.
    pub(super) fn produce(
        write: impl FnOnce(&mut Self) -> io::Result<()> + Send + 'static,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        Self::counted(Arc::default(), write)
    }

    /// As [`Self::produce`]; `sent` counts what has gone out.
    pub(super) fn counted(
        sent: Arc<AtomicU64>,
        write: impl FnOnce(&mut Self) -> io::Result<()> + Send + 'static,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(4);
        tokio::task::spawn_blocking(move || {
            let mut out = Self {
                sender: sender.clone(),
                buffer: Vec::with_capacity(CHUNK),
                sent,
            };
            let written = write(&mut out).and_then(|()| out.flush());
            if let Err(error) = written
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                // The receiver may be gone as well; then nobody is left to be told.
                let _told = sender.blocking_send(Err(error));
            }
        });
        receiver
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..n]);
        if self.buffer.len() == CHUNK {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        let size = full.len() as u64;
        self.sender
            .blocking_send(Ok(full.into()))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        self.sent.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }
}
