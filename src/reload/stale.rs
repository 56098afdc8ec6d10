//! Whether the image that runs is of the source as it is, as far as syncing does not see to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decide::{Recipe, Way};
use super::origin::Origin;
use super::watch;
use crate::engine::Platform;
use crate::engine::builds;
use crate::engine::record;
use crate::failure::Failure;
use crate::image::OUTSIDE;

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
    let made = Arc::new(made);
    let (recipe, files) = (origin.service.recipe.clone(), Arc::clone(&origin.source));
    let counts = move |path: &str| {
        let hides = |path: &str| {
            let files = watch::lock(&files);
            files.is_ignored(&files.root().join(path), false)
        };
        is_behind(&recipe, path, &hides)
    };
    let differing = source.differing(Arc::clone(&made), counts).await?;
    let mut all = named(&origin.service.recipe, differing);
    // Of one that git hides a part of, the inputs are not known; its bases were those of the last build.
    if !serving.inputs.is_empty() && source.inputs_of(&made)? != serving.inputs {
        all.push("a base image or an argument of its build".to_owned());
    }
    Ok(all)
}

/// Whether a path that differs goes by an image. What the watch does not see, no session would bring either.
fn is_behind(recipe: &Recipe, path: &str, hides: &dyn Fn(&str) -> bool) -> bool {
    recipe.verdict(path).way > Some(Way::Sync) && !hides(path)
}

fn named(recipe: &Recipe, differing: BTreeSet<String>) -> Vec<String> {
    let mut named: Vec<String> = differing.into_iter().collect();
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
        save("1");
        let made = Context::open(root, None).unwrap().listing().unwrap();
        let behind = || {
            let counts = |path: &str| is_behind(&recipe, path, &|path: &str| path.ends_with("cache"));
            let context = Context::open(root, None).unwrap();
            named(&recipe, context.differing(&made, counts).unwrap())
        };
        assert!(behind().is_empty());
        save("2");
        assert_eq!(behind(), ["requirements.txt", "web"]);
        std::fs::write(root.join("Dockerfile"), "FROM y").unwrap();
        assert_eq!(behind()[0], "Dockerfile");
    }
}
