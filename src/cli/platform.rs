//! From flags to the rooms with effects: the supply, and the platform on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use crate::failure::{Failure, Family, Plain};
use crate::supply::{ImageSource, Options, Supply};

/// Where tools and images may come from.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Sources {
    /// Where images may come from
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SOURCE",
        env = "VADEV_IMAGE_SOURCE",
        hide_env = true,
        help_heading = "Tools and images"
    )]
    image_source: ImageSource,
    /// A bundle file to take images and tools from
    #[arg(
        long,
        value_name = "FILE",
        env = "VADEV_BUNDLE",
        hide_env = true,
        help_heading = "Tools and images"
    )]
    bundle: Option<PathBuf>,
}

impl Context {
    /// The supply, which asks through this context before it installs anything.
    pub fn supply(&self, sources: &Sources) -> Result<Supply, Failure> {
        if sources.image_source == ImageSource::Bundle && sources.bundle.is_none() {
            return Err(
                Plain::new(Family::Usage, "--image-source bundle needs a bundle file")
                    .with_hint("name it with --bundle FILE; `vadev bundle create FILE` makes one")
                    .into(),
            );
        }
        let asker = self.clone();
        let options = Options {
            source: sources.image_source,
            bundle: sources.bundle.clone(),
            consent: Arc::new(move |question: &str| asker.agrees(question)),
            cache: None,
        };
        Ok(Supply::open(options)?)
    }
}
