//! One lock an artefact, held by the operating system: it vanishes with its holder, however that one ended.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::time::{Duration, Instant};

use super::{Cache, SupplyError};
use crate::report::Step;

/// The longest build takes six minutes on two cores; a machine ten times slower still fits.
const PATIENCE: Duration = Duration::from_hours(1);
const POLL: Duration = Duration::from_millis(300);
const SIGN_OF_LIFE: Duration = Duration::from_millis(1500);

/// The right to make one artefact. Given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// Takes the lock of `artefact`; while somebody else has it, the step says who.
    pub async fn lock(&self, artefact: &str, step: &Step) -> Result<Lock, SupplyError> {
        let begun = Instant::now();
        let mut told: Option<Instant> = None;
        loop {
            let holder = match self.try_lock(artefact)? {
                Ok(lock) => return Ok(lock),
                Err(holder) => holder,
            };
            if begun.elapsed() > PATIENCE {
                let minutes = PATIENCE.as_secs() / 60;
                return Err(SupplyError::Locked {
                    artefact: artefact.to_owned(),
                    holder,
                    minutes,
                });
            }
            if told.is_none_or(|told| told.elapsed() > SIGN_OF_LIFE) {
                told = Some(Instant::now());
                step.progress(format!("waiting for {holder} · {} s", begun.elapsed().as_secs()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Takes the lock of `artefact`, or says who has it.
    pub fn try_lock(&self, artefact: &str) -> Result<Result<Lock, String>, SupplyError> {
        let path = self.root().join("locks").join(format!("{artefact}.lock"));
        // Never truncated on opening: until the lock is taken, the content is somebody else's.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(SupplyError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                let write = |file: &mut File| {
                    file.set_len(0)?;
                    file.rewind()?;
                    write!(file, "{}", std::process::id())
                };
                write(&mut file).map_err(SupplyError::file("write", &path))?;
                Ok(Ok(Lock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Who it is only matters to the reader of the message.
                let holder = match file.read_to_string(&mut pid) {
                    Ok(length) if length > 0 => format!("another vadev (process {})", pid.trim()),
                    _ => "another vadev".to_owned(),
                };
                Ok(Err(holder))
            }
            Err(TryLockError::Error(error)) => Err(SupplyError::file("lock", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it_and_the_other_learns_who() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        let lock = cache.try_lock("redis").unwrap().unwrap();
        let holder = cache.try_lock("redis").unwrap().unwrap_err();
        assert_eq!(holder, format!("another vadev (process {})", std::process::id()));
        assert!(cache.try_lock("postgres").unwrap().is_ok());
        drop(lock);
        assert!(cache.try_lock("redis").unwrap().is_ok());
    }
}
