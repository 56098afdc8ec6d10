//! What a layer over the last build has to hold, and what may be said of the image then. Pure.

use std::collections::BTreeSet;

use super::decide::Recipe;
use crate::image::Listing;

/// A layer to be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Layering {
    /// Paths below the source.
    pub paths: BTreeSet<String>,
    /// What the image is made of then.
    pub listing: Listing,
    /// A build of the source as it is would make the same: otherwise the next `up` is to build.
    pub whole: bool,
}

/// What lies between the last build, made of `built`, and the source as it is `now`: `changed`, as a session has seen it,
/// and what nobody has seen, such as saves from before the session or files that only a sync rule leaves out. What
/// git `hides` is left to the next build: its ways are not known to be safe, caches and locks that come and go.
///
/// # Errors
/// A sentence: only a build can do it.
pub fn layering(
    recipe: &Recipe,
    changed: &BTreeSet<String>,
    built: &Listing,
    now: Listing,
    hides: &dyn Fn(&str) -> bool,
) -> Result<Layering, String> {
    let mut paths = changed.clone();
    let mut left = BTreeSet::new();
    for path in built.differing(&now) {
        if recipe.steers(&path) {
            return Err(format!("{path} says how the image is built"));
        }
        if changed.contains(&path) || !recipe.reaches_image(&path) {
            continue;
        }
        if hides(&path) {
            left.insert(path);
            continue;
        }
        // What a build on this machine makes of the source is new with every change, and takes the source's place.
        if recipe.host_build {
            continue;
        }
        if let Some(why) = recipe.made_by(&path) {
            return Err(format!("{path} has changed, and {why}"));
        }
        paths.insert(path);
    }
    // A person's rule places a file of which a build would make something else as well.
    let whole =
        left.is_empty() && (recipe.host_build || !paths.iter().any(|path| recipe.made_by(path).is_some()));
    let mut listing = now;
    listing.take(built, &left);
    Ok(Layering {
        paths,
        listing,
        whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Context;
    use crate::reload::tried;

    const DOCKERFILE: &str = "FROM x\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n\
                              COPY app ./app\nCOPY web ./web\n";

    #[test]
    fn a_layer_holds_what_nobody_has_seen_too() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let save = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for path in [
            "requirements.txt",
            "app/a.py",
            "app/notes.md",
            "web/t.html",
            "README",
        ] {
            save(path, "1");
        }
        save("Dockerfile", DOCKERFILE);
        let recipe = tried::recipe(root, &[("app", "/app/app")], DOCKERFILE);
        let listing = || Context::open(root, None).unwrap().listing().unwrap();
        let built = listing();
        let hides = |path: &str| path.starts_with("app/cache");
        let due = |changed: &[&str]| {
            let changed = changed.iter().map(ToString::to_string).collect();
            layering(&recipe, &changed, &built, listing(), &hides)
        };
        let paths = |layering: &Layering| layering.paths.iter().cloned().collect::<Vec<_>>();
        save("app/a.py", "2");
        let seen = due(&["app/a.py"]).unwrap();
        assert!(seen.whole && seen.listing == listing());
        // Before the session began, left out by a sync rule, and of no interest to the image.
        save("web/t.html", "2");
        save("app/notes.md", "2");
        save("README", "2");
        let more = due(&["app/a.py"]).unwrap();
        assert_eq!(paths(&more), ["app/a.py", "app/notes.md", "web/t.html"]);
        assert!(more.whole);
        // Undone since it was seen: the image that runs may have it still.
        save("app/a.py", "1");
        assert_eq!(paths(&due(&["app/a.py"]).unwrap()), paths(&more));
        save("app/cache/x", "1");
        let hidden = due(&["app/a.py"]).unwrap();
        assert_eq!((paths(&hidden), hidden.whole), (paths(&more), false));
        assert_eq!(
            hidden.listing.print("app/cache/x"),
            None,
            "the image has not got it"
        );
        save("requirements.txt", "2");
        let why = due(&["app/a.py"]).unwrap_err();
        assert!(why.contains("requirements.txt") && why.contains("RUN"), "{why}");
        save("Dockerfile", "FROM y");
        assert!(
            due(&["app/a.py"])
                .unwrap_err()
                .contains("says how the image is built")
        );
    }

    #[test]
    fn a_file_that_a_build_makes_something_of_is_not_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("app")).unwrap();
        let text = "FROM x\nCOPY app /app\nRUN compile /app\n";
        let recipe = tried::recipe(folder.path(), &[("app", "/app")], text);
        let none = Listing::default();
        let changed = ["app/a".to_owned()].into();
        let layering = layering(&recipe, &changed, &none, none.clone(), &|_| false).unwrap();
        assert!(!layering.whole);
    }
}
