//! Events and their renderers. Whatever vadev does is told as a stream of [`Event`]s; how they look (a live tree, plain
//! lines, JSON lines, nothing) is decided once, by the [`Screen`] that a verb's context opens. Effects never print.

pub mod color;
pub mod error;
mod event;
mod lines;
mod plain;
mod screen;
pub mod table;
pub mod text;
mod tree;
mod tty;

pub use color::{Color, Palette};
pub use event::{Event, Outcome, Reload, ReloadPhase, Reporter, Sink, Step};
pub use screen::{Progress, Render, Screen};
pub use table::Table;
