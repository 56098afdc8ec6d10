//! vadev: the VoiceAssistant platform on a developer's own machine. ARCHITECTURE.md has the map of the rooms.

pub mod agent;

#[cfg(feature = "cli")]
pub mod catalog;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod cluster;
#[cfg(feature = "cli")]
pub mod engine;
#[cfg(feature = "cli")]
pub mod failure;
#[cfg(feature = "cli")]
pub mod image;
#[cfg(feature = "cli")]
pub mod k8s;
#[cfg(feature = "cli")]
pub mod operate;
#[cfg(feature = "cli")]
pub mod plan;
#[cfg(feature = "cli")]
pub mod profile;
#[cfg(feature = "cli")]
pub mod promote;
#[cfg(feature = "cli")]
pub mod reload;
#[cfg(feature = "cli")]
pub mod render;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "cli")]
pub mod supply;
