//! Streaming into a file that appears under its name only when it is whole, and out of it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::failure::Failure;
use crate::k8s::{Session, close, drain};
use crate::operate::error::OperateError;
use crate::report::{Step, text::bytes};

/// What temporary files begin with; left ones are swept away.
pub const DRAFT: &str = ".part-";

/// Bytes that are held at once.
const CHUNK: usize = 1 << 18;

/// A file under a temporary name; gone when it is dropped without [`Draft::keep`].
pub struct Draft {
    file: NamedTempFile,
    hash: Sha256,
    size: u64,
}

impl Draft {
    /// An empty one in the folder where it will stay.
    pub fn new(folder: &Path) -> Result<Self, OperateError> {
        let file = tempfile::Builder::new()
            .prefix(DRAFT)
            .tempfile_in(folder)
            .map_err(|error| OperateError::file("write to", folder, error))?;
        Ok(Self {
            file,
            hash: Sha256::new(),
            size: 0,
        })
    }

    /// Writes everything that the stream gives, however much that is.
    pub async fn take(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        step: &Step,
    ) -> Result<(), OperateError> {
        let mut buffer = vec![0; CHUNK];
        let mut told = Instant::now();
        // A broken stream shows in the command's end, which the caller looks at.
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            self.write(&buffer[..count])?;
            if told.elapsed() > Duration::from_millis(500) {
                step.progress(format!("{} so far", bytes(self.size)));
                told = Instant::now();
            }
        }
        Ok(())
    }

    /// Writes a few bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OperateError> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        let written = self.file.write_all(bytes);
        written.map_err(|error| OperateError::file("write", self.file.path(), error))
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of what was written, hex.
    pub fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }

    /// Where it is for now.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Gives it its name; everything is on the disk then.
    pub fn keep(self, path: &Path) -> Result<PathBuf, OperateError> {
        let failed = |error| OperateError::file("write", path, error);
        self.file.as_file().sync_all().map_err(failed)?;
        self.file.persist(path).map_err(|error| failed(error.error))?;
        Ok(path.to_owned())
    }
}

/// SHA-256 and size of a file, read piece by piece.
pub fn fingerprint(path: &Path) -> Result<(String, u64), OperateError> {
    let failed = |error| OperateError::file("read", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok((hex(&hash.finalize()), size));
        }
        hash.update(&buffer[..count]);
        size += count as u64;
    }
}

/// Bytes of a file, for a command that is told how much it will get.
pub fn length(path: &Path) -> Result<u64, OperateError> {
    let meta = std::fs::metadata(path).map_err(|error| OperateError::file("read", path, error))?;
    Ok(meta.len())
}

/// Gives a command that knows the file's length all of it, and waits until the command has ended well.
pub async fn pour(mut session: Session, path: &Path, step: &Step) -> Result<(), Failure> {
    let mut stdin = session.stdin.take();
    let stderr = session.stderr.take();
    let write = async {
        let fed = match &mut stdin {
            Some(stdin) => feed(path, stdin, step).await,
            None => Ok(()),
        };
        if fed.is_err() {
            // It would wait for the rest, and we for it.
            close(stdin.take()).await;
        }
        fed
    };
    let (fed, _, said) = tokio::join!(write, drain(Some(&mut session.stdout)), drain(stderr));
    fed?;
    session.succeed(&said).await?;
    Ok(())
}

/// Feeds a whole file to a command. A command that stops reading has its own reason, which its end tells.
pub async fn feed(
    path: &Path,
    into: &mut (impl AsyncWrite + Unpin),
    step: &Step,
) -> Result<(), OperateError> {
    let failed = |error| OperateError::file("read", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    let (mut sent, mut told) = (0_u64, Instant::now());
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        if count == 0 || into.write_all(&buffer[..count]).await.is_err() {
            return Ok(());
        }
        sent += count as u64;
        if told.elapsed() > Duration::from_millis(500) {
            step.progress(format!("{} loaded", bytes(sent)));
            told = Instant::now();
        }
    }
}

/// Bytes as hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Reporter;

    #[tokio::test]
    async fn a_draft_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let step = Reporter::silent().step("x", "x", None);
        let path = folder.path().join("a");
        let mut draft = Draft::new(folder.path()).unwrap();
        draft.take(&mut &b"hello"[..], &step).await.unwrap();
        let sum = draft.sha256();
        drop(Draft::new(folder.path()).unwrap());
        draft.keep(&path).unwrap();
        assert_eq!(fingerprint(&path).unwrap(), (sum, 5));
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left"
        );
        let mut out = Vec::new();
        feed(&path, &mut out, &step).await.unwrap();
        assert_eq!(out, b"hello");
    }
}
