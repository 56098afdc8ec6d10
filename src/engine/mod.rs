//! Carries plans out: observes, executes, waits, and keeps the journal. All effects meet here; all decisions were taken in
//! `plan`.

mod actions;
mod down;
mod execute;
mod images;
mod ingress;
mod journal;
mod mesh;
mod observe;
mod platform;
mod secrets;
mod status;
mod tls;
mod up;
mod verify;

pub use down::{DownOptions, DownReport, Extent, down, extent};
pub use journal::{Entry, Journal};
pub use platform::{Platform, PlatformOptions};
pub use status::{ComponentStatus, StatusReport, status};
pub use up::{Goal, PlannedStep, StepReport, UpOptions, UpReport, up};
pub use verify::{CheckResult, VerifyReport, verify, verify_now};
