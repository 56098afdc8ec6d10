//! Recipes: how each tool and image is made from packages, as data embedded in this executable, and their runner.

mod book;
mod debian;
pub mod images;
mod job;
mod languages;
mod model;
mod orphans;
mod preload;
mod run;

pub use book::{Book, recipe_names};
pub use job::{Kit, RECIPE_LABEL};
pub use model::{Action, Recipe};
pub use run::make;
