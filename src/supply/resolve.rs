//! Where an image would come from, decided before anything is pulled or built: what the planner needs to know.

use super::cache::Source;
use super::image::{ImageRequest, ImageSource};
use super::{Supply, SupplyError};

/// An image before it is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The reference that will be deployed.
    pub reference: String,
    /// Where it comes from.
    pub source: Source,
    /// Why something has to be done; `None` where the engine has it, current.
    pub cause: Option<String>,
}

impl Supply {
    /// The first source that has the image, in the order in which [`Supply::image`] tries them; `None` where none has.
    pub async fn resolve(&self, request: &ImageRequest) -> Result<Option<Resolved>, SupplyError> {
        let (official, recipe) = self.candidates(request);
        if let Some(entry) = self.here(request).await? {
            return Ok(Some(Resolved {
                reference: entry.reference,
                source: entry.source,
                cause: None,
            }));
        }
        if let Some(official) = official
            && self.registries.offers(self.docker().await?, official).await
        {
            return Ok(Some(wanted(official, Source::Registry, "not pulled yet")));
        }
        if let Some(bundle) = self
            .options
            .bundle
            .as_deref()
            .filter(|_| self.allows(ImageSource::Bundle))
            && let Some(reference) = self.in_bundle(bundle, request).await?
        {
            return Ok(Some(wanted(&reference, Source::Bundle, "in the bundle")));
        }
        let Some(name) = recipe else { return Ok(None) };
        let cause = self.cause(name, Some(self.docker().await?)).await?;
        Ok(Some(wanted(
            &self.kit.book.recipe(name)?.reference,
            Source::Packages,
            &cause,
        )))
    }
}

fn wanted(reference: &str, source: Source, cause: &str) -> Resolved {
    Resolved {
        reference: reference.to_owned(),
        source,
        cause: Some(cause.to_owned()),
    }
}
