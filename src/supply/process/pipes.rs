//! A program's group, input and output.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};

/// Kills the whole process group when dropped, unless the program ended by itself.
pub struct Group(pub Option<u32>);

impl Group {
    /// The program ended by itself.
    pub fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self
            .0
            .and_then(|id| i32::try_from(id).ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // The group may be gone already, which is what is wanted.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Writes everything and closes the input.
pub async fn feed(stdin: Option<tokio::process::ChildStdin>, bytes: Option<&[u8]>) -> std::io::Result<()> {
    let (Some(mut stdin), Some(bytes)) = (stdin, bytes) else {
        return Ok(());
    };
    stdin.write_all(bytes).await?;
    stdin.shutdown().await
}

/// Lines of one stream; reading is safe to cancel, because a half-read line stays in the buffer.
pub struct Lines<R> {
    reader: Option<BufReader<R>>,
    partial: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Of a stream, if there is one.
    pub fn new(stream: Option<R>) -> Self {
        Self {
            reader: stream.map(BufReader::new),
            partial: Vec::new(),
        }
    }
    /// Whether there may be more.
    pub fn open(&self) -> bool {
        self.reader.is_some()
    }
    /// The next line with its end; `None` at the end.
    pub async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let read = reader.read_until(b'\n', &mut self.partial).await?;
        if read == 0 {
            self.reader = None;
        }
        let line = std::mem::take(&mut self.partial);
        Ok((!line.is_empty()).then_some(line))
    }
}
