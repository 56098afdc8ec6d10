//! What `up` was doing, step by step, on disk. Going on after a kill rests on observing reality again; the journal says
//! what was under way, and lets the next run tell the user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// A run began.
    Run {
        /// The profile.
        profile: String,
        /// Process id of vadev.
        pid: u32,
    },
    /// A step began.
    Begun {
        /// Its id.
        step: String,
        /// Its cause.
        cause: String,
    },
    /// A step ended.
    Ended {
        /// Its id.
        step: String,
        /// Whether well.
        ok: bool,
        /// Wall-clock seconds.
        seconds: f64,
    },
    /// The run ended, well or not; a run without this line was killed.
    Closed {
        /// Whether well.
        ok: bool,
    },
}

/// An open journal: `.vadev/journal.jsonl`, one run long.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<File>,
    path: PathBuf,
}

impl Journal {
    /// Steps that an earlier run had begun and not ended when it was killed; empty after an orderly end.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn interrupted(folder: &Path) -> io::Result<Vec<String>> {
        let text = match fs::read(folder.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut open = Vec::new();
        for line in text.split(|byte| *byte == b'\n') {
            // A line that was half written when the process or the machine died says nothing, whatever bytes are in it.
            match serde_json::from_slice(line) {
                Ok(Entry::Begun { step, .. }) => open.push(step),
                Ok(Entry::Ended { step, .. }) => open.retain(|other| *other != step),
                Ok(Entry::Closed { .. }) => open.clear(),
                Ok(Entry::Run { .. }) | Err(_) => {}
            }
        }
        Ok(open)
    }

    /// Begins the journal of a new run in place of the old one.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn begin(folder: &Path, profile: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&path)?;
        let journal = Self {
            file: Mutex::new(file),
            path,
        };
        journal.write(&Entry::Run {
            profile: profile.to_owned(),
            pid: std::process::id(),
        })?;
        Ok(journal)
    }

    /// Adds a line. It reaches the disk with the operating system's next flush: after a kill of vadev it is there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .write_all(&line)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

const NAME: &str = "journal.jsonl";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_cannot_be_read_are_passed_over() {
        let folder = tempfile::tempdir().expect("folder");
        let begun = r#"{"entry":"begun","step":"cluster","cause":"missing"}"#;
        let broken = [b"\xff\xfe\0\n", begun.as_bytes(), b"\n\0\0\0\xc3\n[1]"].concat();
        fs::write(folder.path().join(NAME), broken).expect("write");
        assert_eq!(Journal::interrupted(folder.path()).expect("read"), ["cluster"]);
    }

    #[test]
    fn what_was_under_way_is_known_after_a_kill() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(Journal::interrupted(folder.path()).expect("none yet").is_empty());
        let journal = Journal::begin(folder.path(), "dev").expect("journal");
        let begun = |step: &str| Entry::Begun {
            step: step.into(),
            cause: "missing".into(),
        };
        journal.write(&begun("cluster")).expect("write");
        journal.write(&begun("image/redis")).expect("write");
        journal
            .write(&Entry::Ended {
                step: "image/redis".into(),
                ok: true,
                seconds: 1.0,
            })
            .expect("write");
        fs::write(
            journal.path(),
            [
                fs::read(journal.path()).expect("read"),
                b"{\"entry\":\"beg".to_vec(),
            ]
            .concat(),
        )
        .expect("half a line");
        assert_eq!(Journal::interrupted(folder.path()).expect("read"), ["cluster"]);
        let journal = Journal::begin(folder.path(), "dev").expect("journal");
        journal.write(&Entry::Closed { ok: true }).expect("write");
        assert!(Journal::interrupted(folder.path()).expect("read").is_empty());
    }
}
