//! Everything that is said to an API server: one client with a visible deadline, server-side apply, snapshots, watches,
//! readiness, diagnosis, logs, exec and port-forwards.
//!
//! The order of use is: [`Cluster::connect`], [`Cluster::recheck`] before each write phase, [`observe`], [`apply_all`],
//! [`View::open`] with [`View::wait_ready`], [`delete_all`].

mod adopt;
mod apply;
mod beside;
mod client;
mod delete;
mod diagnose;
mod diff;
mod error;
mod evidence;
mod exec;
mod find;
mod forward;
mod kinds;
mod logs;
mod object;
mod observe;
mod own_container;
mod pods;
mod raw;
mod ready;
mod rehearse;
mod retry;
mod rollout;
mod selector;
mod session;
mod set_image;
mod streams;
mod suspect;
mod tunnel;
mod view;

pub use adopt::adopt;
pub use apply::{Applied, ApplyOptions, Change, MANAGER, apply_all, apply_each, apply_one};
pub use beside::{Beside, beside};
pub use client::{Cluster, ClusterId, Target};
pub use delete::{DeleteOptions, Propagation, delete_all};
pub use diagnose::{Cause, Diagnosis, Evidence, diagnose};
pub use diff::{FieldChange, differences};
pub use error::{K8sError, allowed};
pub use exec::{ExecOutput, ExecTarget, exec};
pub use find::find;
pub use forward::{Forward, ForwardTarget};
pub use kinds::{BUILT_IN, KindInfo, PODS};
pub use logs::{LogOptions, follow, read, tail};
pub use object::ObjectRef;
pub use observe::{MANAGED_BY, Snapshot, observe, observe_in, observe_kinds};
pub use own_container::{own_container, own_container_at};
pub use pods::{ContainerView, PodFeed, PodView, pods};
pub use raw::{raw, raw_text};
pub use ready::{Endpoints, Observed, Readiness, readiness};
pub use rehearse::rehearse;
pub use rollout::{WaitOptions, wait_for};
pub use selector::{selector_text, selects};
pub use session::{Ended, Session, SessionOptions, close, closes_input, drain};
pub use set_image::set_image;
pub use streams::{Input, Output};
pub use suspect::{Suspicion, suspect};
pub use tunnel::Tunnel;
pub use view::{Scope, View};
