//! Faults on request, for tests of the platform around the stand-in: retries, circuit breaking, diagnosis.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A fault as it is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub mode: Mode,
    /// To how many requests; to all until it is cleared, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// The status of `fail`.
    #[serde(default = "unavailable")]
    pub status: u16,
    /// How long `delay` takes.
    #[serde(default)]
    pub millis: u64,
    /// Only to paths that start so.
    #[serde(default = "everywhere")]
    pub path: String,
}

/// Kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Answer an error.
    Fail,
    /// Answer late.
    Delay,
    /// Close the connection without an answer.
    Abort,
}

fn unavailable() -> u16 {
    503
}

fn everywhere() -> String {
    "/".into()
}

/// The faults in force.
#[derive(Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    /// Adds one; the status must be one that HTTP has.
    pub fn add(&self, fault: Fault) -> Result<(), String> {
        if hyper::StatusCode::from_u16(fault.status).is_err() || fault.status < 200 {
            return Err(format!("{} is no final HTTP status", fault.status));
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        Ok(())
    }

    /// Ends all.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What is in force.
    pub fn list(&self) -> Vec<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The oldest fault that hits `path`, counted down.
    pub fn hit(&self, path: &str) -> Option<Fault> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = faults
            .iter()
            .position(|fault| path.starts_with(&fault.path) && fault.count != Some(0))?;
        if let Some(count) = &mut faults[place].count {
            *count -= 1;
        }
        let hit = faults[place].clone();
        faults.retain(|fault| fault.count != Some(0));
        Some(hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_down_and_ends() {
        let faults = Faults::default();
        faults
            .add(serde_json::from_str(r#"{"mode": "fail", "count": 2, "path": "/api"}"#).unwrap())
            .unwrap();
        assert!(faults.hit("/health").is_none());
        assert_eq!(faults.hit("/api/x").map(|fault| fault.status), Some(503));
        assert!(faults.hit("/api").is_some());
        assert!(faults.hit("/api").is_none());
        assert!(faults.list().is_empty());
    }

    #[test]
    fn refuses_nonsense() {
        let faults = Faults::default();
        assert!(
            faults
                .add(serde_json::from_str(r#"{"mode": "fail", "status": 42}"#).unwrap())
                .is_err()
        );
        assert!(serde_json::from_str::<Fault>(r#"{"mode": "explode"}"#).is_err());
    }
}
