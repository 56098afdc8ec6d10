//! Events and their renderers. Whatever vadev does is told as a stream of [`Event`]s; how they look (a live tree, plain
//! lines, JSON lines, nothing) is decided once, by the [`Sink`] that `main` chooses. Effects never print.

mod event;

pub use event::{Event, Outcome, Reporter, Sink, Step};
