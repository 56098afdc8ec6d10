//! Whether the image that runs is of the source as it is, as far as syncing does not see to it.

use super::decide::{Recipe, Way};
use super::origin::Origin;
use super::watch;
use crate::engine::Platform;
use crate::engine::builds;
use crate::engine::record;
use crate::failure::Failure;
use crate::image::{Listing, OUTSIDE};

/// What of the source only another image brings, and the one that runs has not got. Empty where there is no image of the
/// source at all.
///
/// # Errors
/// The source cannot be read, or Docker cannot be asked.
pub async fn stale(platform: &Platform, origin: &Origin) -> Result<Vec<String>, Failure> {
    let mut services = platform.stack().services.iter();
    let Some(sized) = services.find(|sized| sized.service.name == origin.service.name) else {
        return Ok(Vec::new());
    };
    let Some(source) = builds::prepare(platform, sized).await? else {
        return Ok(Vec::new());
    };
    let Some(serving) = &source.record.serving else {
        return Ok(Vec::new());
    };
    if source.current_serving().is_some() {
        return Ok(Vec::new());
    }
    let made = record::listing(&platform.options.state, &source.service, &serving.inputs);
    let Some(made) = made else {
        return Ok(vec![
            "its image, of which nobody knows what it was made of".to_owned(),
        ]);
    };
    let now = source.listing().await?;
    let mut all = {
        let files = watch::lock(&origin.source);
        let hides = |path: &str| files.is_ignored(&files.root().join(path), false);
        behind(&origin.service.recipe, &made, &now, &hides)
    };
    // Of one that git hides a part of, the inputs are not known; its bases were those of the last build.
    if !serving.inputs.is_empty() && source.inputs_of(&made)? != serving.inputs {
        all.push("a base image or an argument of its build".to_owned());
    }
    Ok(all)
}

/// Paths that differ and go by an image. What the watch does not see, no session would bring either.
fn behind(recipe: &Recipe, made: &Listing, now: &Listing, hides: &dyn Fn(&str) -> bool) -> Vec<String> {
    let by_image = |path: &String| !hides(path) && recipe.verdict(path).way > Some(Way::Sync);
    let differing = made.differing(now).into_iter().filter(by_image);
    let mut named: Vec<String> = differing.collect();
    if let Some(outside) = named.iter_mut().find(|path| *path == OUTSIDE) {
        outside.clone_from(&recipe.dockerfile);
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Context;
    use crate::reload::tried;

    #[test]
    fn what_only_an_image_brings_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("app")).unwrap();
        let text = "FROM x\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\nCOPY app /app\nCOPY web /web\n";
        let recipe = tried::recipe(root, &[("app", "/app")], text);
        let all = [
            "requirements.txt",
            "app/a.py",
            "app/a.md",
            "web",
            "README",
            "app/cache",
        ];
        let save = |text: &str| all.map(|path| std::fs::write(root.join(path), text).unwrap());
        std::fs::write(root.join("Dockerfile"), text).unwrap();
        let listing = || Context::open(root, None).unwrap().listing().unwrap();
        save("1");
        let made = listing();
        let hides = |path: &str| path.ends_with("cache");
        assert!(behind(&recipe, &made, &listing(), &hides).is_empty());
        save("2");
        assert_eq!(
            behind(&recipe, &made, &listing(), &hides),
            ["requirements.txt", "web"]
        );
        std::fs::write(root.join("Dockerfile"), "FROM y").unwrap();
        assert_eq!(behind(&recipe, &made, &listing(), &hides)[0], "Dockerfile");
    }
}
