//! The images that Dockerfiles stand on, on machines that reach no container registry: vadev's own equivalents, made from
//! packages, handed in through the `ARG` that a Dockerfile names its base by.

use super::platform::Platform;
use crate::failure::Failure;
use crate::image::{self, BaseImage, BuildRequest, ImageError};
use crate::supply::{ImageRequest, Resolved, Source};

/// What stands in for an official image where no registry can be reached, as a recipe. Alpine's variants have none: their
/// Dockerfiles call its package manager.
fn equivalent(reference: &str) -> Option<&'static str> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let (name, tag) = name.split_once(':').unwrap_or((name, ""));
    if tag.contains("alpine") {
        return None;
    }
    let name = ["docker.io/", "library/"]
        .iter()
        .fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name));
    match name {
        "golang" => Some("base-golang"),
        "python" => Some("base-python"),
        "debian"
        | "gcr.io/distroless/base"
        | "gcr.io/distroless/base-debian12"
        | "gcr.io/distroless/cc-debian12" => Some("debian"),
        "gcr.io/distroless/static" | "gcr.io/distroless/static-debian12" => Some("base-static"),
        _ => None,
    }
}

/// A build's bases, decided.
#[derive(Debug, Default)]
pub struct Bases {
    /// What they are, for the digest of the build's inputs.
    pub identities: Vec<String>,
    /// What the supply has to have ready first.
    pub requests: Vec<ImageRequest>,
    /// Sentences for people: what was replaced by what.
    pub notes: Vec<String>,
}

/// Decides on the bases of a build and puts the arguments that replace some into the request.
pub async fn decide(platform: &Platform, request: &mut BuildRequest) -> Result<Bases, Failure> {
    let dockerfile = request.read_dockerfile()?;
    let mut bases = Bases::default();
    for base in dockerfile.bases(&request.args) {
        one(platform, request, &base, &mut bases).await?;
    }
    Ok(bases)
}

async fn one(
    platform: &Platform,
    request: &mut BuildRequest,
    base: &BaseImage,
    bases: &mut Bases,
) -> Result<(), Failure> {
    let supply = &platform.supply;
    // A Dockerfile may name one of vadev's own by its name.
    let own = supply
        .book()
        .recipes()
        .find(|recipe| recipe.reference == base.reference);
    let recipe = own.map(|recipe| recipe.name.as_str());
    let replaceable = base.argument.as_deref().and_then(|_| equivalent(&base.reference));
    let wanted = ImageRequest {
        component: format!("{}'s base {}", request.service, base.reference),
        official: own.is_none().then(|| base.reference.clone()),
        recipe: recipe.or(replaceable).map(str::to_owned),
    };
    let Some(resolved) = supply.resolve(&wanted).await? else {
        return Err(ImageError::Build {
            service: request.service.clone(),
            reason: unavailable(base),
            output: Vec::new(),
        }
        .into());
    };
    bases
        .identities
        .push(identity(platform, &wanted, Some(&resolved)).await?);
    if let Some(argument) = &base.argument
        && resolved.reference != base.reference
    {
        bases.notes.push(format!(
            "{}: {} can't be pulled here; {argument} is {} instead",
            request.service, base.reference, resolved.reference
        ));
        request.args.insert(argument.clone(), resolved.reference);
    }
    bases.requests.push(wanted);
    Ok(())
}

/// What the bases are now that they are there.
pub async fn identities(platform: &Platform, bases: &[ImageRequest]) -> Result<Vec<String>, Failure> {
    let mut identities = Vec::new();
    for base in bases {
        let resolved = platform.supply.resolve(base).await?;
        identities.push(identity(platform, base, resolved.as_ref()).await?);
    }
    Ok(identities)
}

/// The recipe's hash, or the ID of the image that the engine has.
async fn identity(
    platform: &Platform,
    base: &ImageRequest,
    resolved: Option<&Resolved>,
) -> Result<String, Failure> {
    let supply = &platform.supply;
    let Some(resolved) = resolved else {
        return Ok(base.component.clone());
    };
    if let (Source::Packages, Some(recipe)) = (resolved.source, &base.recipe) {
        return Ok(supply.book().hash(recipe).to_owned());
    }
    let id = image::engine_id(supply.docker().await?, &resolved.reference).await?;
    Ok(id.unwrap_or_else(|| resolved.reference.clone()))
}

fn unavailable(base: &BaseImage) -> String {
    let image = &base.reference;
    match (&base.argument, equivalent(image)) {
        (None, Some(_)) => format!(
            "its base image {image} can't be pulled here; make it an argument (ARG BASE={image}, FROM ${{BASE}}), and vadev hands in an equivalent from packages"
        ),
        (Some(argument), _) => format!(
            "its base image {image} can't be pulled here, and vadev has no equivalent; name one that there is as `args: {{ {argument}: … }}` in vadev.yaml"
        ),
        (None, None) => format!("its base image {image} can't be pulled here, and vadev has no equivalent"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_images_have_equivalents() {
        for (reference, recipe) in [
            ("golang:1.26", Some("base-golang")),
            ("docker.io/library/golang:1.26-bookworm", Some("base-golang")),
            ("golang:1.26-alpine", None),
            ("python:3.11-slim", Some("base-python")),
            ("gcr.io/distroless/static:nonroot", Some("base-static")),
            ("ghcr.io/acme/golang:1", None),
            ("debian", Some("debian")),
            ("debian@sha256:00", Some("debian")),
        ] {
            assert_eq!(equivalent(reference), recipe, "{reference}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_told_with_a_way_out() {
        let base = |reference: &str, argument: Option<&str>| BaseImage {
            reference: reference.into(),
            argument: argument.map(str::to_owned),
        };
        assert!(unavailable(&base("golang:1", None)).contains("ARG BASE=golang:1"));
        assert!(unavailable(&base("acme/x:1", Some("BASE"))).contains("args: { BASE: … }"));
    }
}
