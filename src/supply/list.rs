//! `vadev supply list`: every recipe and everything else that is known, with its state.

use super::cache::{Kind, Source};
use super::recipe::images;
use super::{Supply, SupplyError};

/// Whether an artefact can be used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There, and current.
    Present,
    /// There, but its recipe has changed since.
    Outdated,
    /// Not there.
    Absent,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Present => "present",
            Self::Outdated => "outdated",
            Self::Absent => "absent",
        })
    }
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListRow {
    /// The recipe's or component's name.
    pub name: String,
    /// Image or tool.
    pub kind: Kind,
    /// The image's reference, or the tool's file name.
    pub reference: String,
    /// The software's version.
    pub version: String,
    /// Whether it can be used.
    pub state: State,
    /// Where it came from; absent while it is not there.
    pub source: Option<Source>,
    /// Bytes.
    pub size: Option<u64>,
    /// `sha256:<hex>`.
    pub digest: Option<String>,
    /// When it was made, in seconds since 1970.
    pub made: Option<u64>,
    /// Seconds that making it took, or will take on two cores as measured.
    pub seconds: f64,
    /// One line about it.
    pub summary: String,
}

impl Supply {
    /// All recipes, then what came from registries and bundles. Without an engine, images are listed by what the index
    /// knows.
    pub async fn list(&self) -> Result<Vec<ListRow>, SupplyError> {
        let docker = self.docker().await.ok();
        let mut rows = Vec::new();
        for recipe in self.kit.book.recipes() {
            let known = self
                .kit
                .cache
                .entry(&recipe.name)
                .filter(|entry| entry.source == Source::Packages);
            let (state, entry) = match (recipe.kind, docker) {
                (Kind::Image, None) => (State::Absent, None),
                _ => match self.present(&recipe.name).await? {
                    Some(entry) => (State::Present, Some(entry)),
                    None if self.there(recipe.kind, &recipe.reference).await? => (State::Outdated, known),
                    None => (State::Absent, None),
                },
            };
            rows.push(ListRow {
                name: recipe.name.clone(),
                kind: recipe.kind,
                reference: recipe.reference.clone(),
                version: recipe.version.clone(),
                state,
                source: entry.as_ref().map(|entry| entry.source),
                size: entry.as_ref().map(|entry| entry.size),
                digest: entry.as_ref().map(|entry| entry.digest.clone()),
                made: entry.as_ref().map(|entry| entry.made),
                seconds: entry
                    .map(|entry| entry.seconds)
                    .filter(|s| *s > 0.0)
                    .unwrap_or(f64::from(recipe.seconds)),
                summary: recipe.summary.clone(),
            });
        }
        for entry in self.kit.cache.entries()? {
            // What a bundle brought of a recipe is in the recipe's own line.
            let listed = |row: &ListRow| row.name == entry.name && row.reference == entry.reference;
            if entry.source == Source::Packages || rows.iter().any(listed) {
                continue;
            }
            let there = docker.is_some() && self.there(entry.kind, &entry.reference).await?;
            rows.push(ListRow {
                state: if there { State::Present } else { State::Absent },
                summary: format!("from {}", entry.source),
                name: entry.name,
                kind: entry.kind,
                reference: entry.reference,
                version: entry.version,
                source: Some(entry.source),
                size: Some(entry.size),
                digest: Some(entry.digest),
                made: Some(entry.made),
                seconds: entry.seconds,
            });
        }
        Ok(rows)
    }

    async fn there(&self, kind: Kind, reference: &str) -> Result<bool, SupplyError> {
        match kind {
            Kind::Tool => Ok(self.kit.cache.bin(reference).is_file()),
            Kind::Image => Ok(images::inspect(self.docker().await?, reference).await?.is_some()),
        }
    }
}
