use super::*;
use crate::profile::workspace::SyncRule;

const PYTHON: &str = "FROM base\nWORKDIR /app\nCOPY requirements.txt .\nRUN pip install -r requirements.txt\n\
                      COPY conf ./conf/\nCOPY app ./app\nCOPY templates templates\nCOPY *.ini ./\n";

fn recipe(sync: &[(&str, &str)], host_build: bool, dockerfile: &str) -> Recipe {
    let rule = |(from, to): &(&str, &str)| SyncRule {
        from: (*from).to_owned(),
        to: (*to).to_owned(),
        ignore: vec!["*.md".to_owned()],
    };
    let rules = Rules::new("x", &sync.iter().map(rule).collect::<Vec<_>>(), &|_: &str| None).unwrap();
    Recipe::new(rules, host_build, "Dockerfile").with_dockerfile(dockerfile, None, &BTreeMap::new())
}

fn way(recipe: &Recipe, path: &str) -> Option<Way> {
    recipe.verdict(path).way
}

#[test]
fn python_by_its_lines() {
    let recipe = recipe(&[("app", "/app/app")], false, PYTHON);
    assert_eq!(way(&recipe, "app/main.py"), Some(Way::Sync));
    assert_eq!(way(&recipe, "app/NOTES.md"), None);
    assert_eq!(way(&recipe, "templates/a.html"), Some(Way::Swap));
    assert_eq!(way(&recipe, "x.ini"), Some(Way::Swap));
    assert_eq!(way(&recipe, "requirements-dev.txt"), Some(Way::Build));
    for steering in ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"] {
        assert_eq!(way(&recipe, steering), Some(Way::Build), "{steering}");
    }
    assert_eq!(way(&recipe, "README"), None);
    assert_eq!(recipe.verdict("README").rule, "Dockerfile copies it nowhere");
    assert!(
        recipe
            .verdict("templates/a.html")
            .rule
            .contains("line 7 of Dockerfile")
    );
}

#[test]
fn go_is_built_here_or_in_the_image() {
    let text =
        "FROM golang AS build\nCOPY . .\nRUN go build -o /x .\nFROM scratch\nCOPY --from=build /x /x\n";
    let with = recipe(&[("bin/x", "/x")], true, text);
    assert_eq!(way(&with, "main.go"), Some(Way::Sync));
    assert_eq!(way(&with, "go.mod"), Some(Way::Build));
    let without = recipe(&[], false, text);
    assert_eq!(way(&without, "main.go"), Some(Way::Build));
}

#[test]
fn without_a_dockerfile_everything_outside_is_a_build() {
    let rules = Rules::default();
    assert_eq!(
        way(&Recipe::new(rules, false, "Dockerfile"), "x"),
        Some(Way::Build)
    );
}

#[test]
fn the_highest_way_decides_for_all() {
    let recipe = recipe(&[("app", "/app/app")], false, PYTHON);
    let decision = decide(
        &recipe,
        ["app/a.py", "templates/t", "README", "conf/c"].into_iter(),
    );
    assert_eq!(decision.way, Some(Way::Swap));
    assert_eq!(
        decision.concerned().into_iter().collect::<Vec<_>>(),
        ["app/a.py", "conf/c", "templates/t"]
    );
    assert_eq!(decision.because.unwrap().0, "templates/t");
    assert_eq!(decide(&recipe, ["README"].into_iter()).way, None);
    assert_eq!(Way::Sync.above().and_then(Way::above), Some(Way::Build));
}

#[test]
fn copied_files_have_a_place_in_the_image() {
    let recipe = recipe(&[], false, PYTHON);
    let folder = |path: &str| ["app", "conf", "templates"].contains(&path);
    let place = |path: &str| recipe.image_path(path, &folder);
    assert_eq!(
        place("templates/x/t.html").as_deref(),
        Some("/app/templates/x/t.html")
    );
    assert_eq!(place("conf/c.yaml").as_deref(), Some("/app/conf/c.yaml"));
    assert_eq!(place("a.ini").as_deref(), Some("/app/a.ini"));
    assert_eq!(place("README"), None);
}

#[test]
fn what_commands_make_something_of_is_a_build() {
    let assets = "FROM node AS assets\nCOPY web ./web\nRUN npm run build\nFROM x\nWORKDIR /app\nCOPY . .\n\
                  COPY --from=assets /web/out /static\n";
    let mut recipe = recipe(&[(".", "/app")], false, assets);
    assert_eq!(way(&recipe, "web/a.js"), Some(Way::Sync), "a person's rule wins");
    recipe.inferred = true;
    assert_eq!(way(&recipe, "web/a.js"), Some(Way::Build));
    assert_eq!(
        recipe.verdict("web/a.js").rule,
        "line 2 of Dockerfile gives it to a RUN"
    );
    assert_eq!(way(&recipe, "main.py"), Some(Way::Sync));
    let without = super::tests::recipe(&[], false, assets);
    assert_eq!(way(&without, "web/a.js"), Some(Way::Build));
    assert_eq!(way(&without, "main.py"), Some(Way::Swap));
    let mounts = "FROM go AS build\nRUN --mount=type=bind,target=. go build -o /x .\nFROM y\nADD a.tar /a/\n\
                  RUN --mount=source=gen,target=/gen make\nCOPY --from=build /x /x\n";
    let recipe = super::tests::recipe(&[], false, mounts);
    for path in ["main.go", "gen/x", "a.tar"] {
        assert_eq!(way(&recipe, path), Some(Way::Build), "{path}");
    }
}

#[test]
fn what_is_at_two_places_is_a_build() {
    let text = "FROM x\nWORKDIR /app\nCOPY main.py conf ./\nCOPY . .\nCOPY conf /etc/conf\n";
    let recipe = recipe(&[], false, text);
    assert_eq!(way(&recipe, "main.py"), Some(Way::Swap), "twice at one place");
    assert_eq!(way(&recipe, "conf/c"), Some(Way::Build));
    assert_eq!(recipe.image_path("conf/c", &|_| true), None);
    assert!(
        recipe
            .verdict("conf/c")
            .rule
            .contains("lines 4 and 5 of Dockerfile")
    );
}

#[test]
fn copied_files_look_as_the_line_says() {
    let text = "FROM x\nWORKDIR /app\nCOPY --chown=7 --chmod=600 conf ./conf\nCOPY --chown=me app ./app\nCOPY x y\n\
                COPY lost ${HOME}/x\n";
    let recipe = recipe(&[], false, text);
    let folder = |path: &str| ["app", "conf"].contains(&path);
    let attributes = |path: &str, place: &str| recipe.attributes(path, place, &folder);
    let of = |owner, mode| Some(Attributes { owner, mode });
    assert_eq!(attributes("conf/c", "/app/conf/c"), of((7, 7), Some(0o600)));
    assert_eq!(attributes("conf/c", "/elsewhere/c"), of((0, 0), None));
    assert_eq!(attributes("app/a", "/app/app/a"), None);
    assert_eq!(attributes("x", "/app/y"), of((0, 0), None));
    assert_eq!(recipe.image_path("lost", &folder), None);
    assert!(recipe.is_named("x") && !recipe.is_named("conf/c"));
}
