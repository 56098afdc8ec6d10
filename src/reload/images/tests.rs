use super::*;
use crate::profile::Selection;
use crate::profile::tests::{machine, stack};
use crate::profile::workspace::{HostBuild, Restart, SyncRule};
use crate::reload::Service;

const COMPILED: &str = "FROM golang AS build\nCOPY . .\nRUN go build -o /out/x .\nFROM scratch\n\
                        COPY --from=build /out/x /app/x\nCOPY pages /app/pages\n";

/// A compiled service, as it is after its build on this machine.
fn compiled(folder: &std::path::Path, restart: Restart) -> Origin {
    for (name, text) in [
        ("main.go", "x"),
        ("bin/x", "binary"),
        ("pages/a.html", "a"),
        ("Dockerfile", COMPILED),
    ] {
        let path = folder.join("x").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut sized = stack("dev", &Selection::default(), machine(4, 24)).services[0].clone();
    sized.source = "x".to_owned();
    sized.workspace.restart = restart;
    sized.workspace.build = Some(HostBuild {
        command: vec!["true".to_owned()],
        env: indexmap::IndexMap::new(),
    });
    sized.workspace.sync = Some(vec![SyncRule {
        from: "bin/x".to_owned(),
        to: "/app/x".to_owned(),
        ignore: Vec::new(),
    }]);
    let service = Service::open(folder, &sized).unwrap();
    let source = Arc::new(StdMutex::new(service.open_source().unwrap()));
    let origin = Origin::new(service, source, String::new(), folder);
    origin.has_results(true);
    origin
}

#[test]
fn a_layer_has_what_was_built_here_in_place_of_its_source() {
    let folder = tempfile::tempdir().unwrap();
    let origin = compiled(folder.path(), Restart::Auto);
    let paths = ["main.go", "pages/a.html"].map(str::to_owned).into();
    let all = overlays(&origin, &paths).unwrap();
    let expected =
        [("/app/x", "bin/x"), ("/app/pages/a.html", "pages/a.html")].map(|(place, path)| Overlay {
            path: place.to_owned(),
            what: OverlayKind::File {
                mode: 0o644,
                source: folder.path().canonicalize().unwrap().join("x").join(path),
            },
            owner: (0, 0),
        });
    let mut wanted = Overlays::default();
    wanted.add(expected);
    assert_eq!(format!("{all:?}"), format!("{wanted:?}"));
    origin.has_results(false);
    assert!(overlays(&origin, &paths).is_err(), "what was built here is older");
}

#[test]
fn a_container_is_started_again_for_what_was_built_here() {
    let folder = tempfile::tempdir().unwrap();
    let origin = compiled(folder.path(), Restart::Container);
    let way = |path: &str| origin.service.recipe.verdict(path).way;
    assert_eq!(way("main.go"), Some(Way::Swap));
    assert_eq!(way("go.mod"), Some(Way::Build));
}

#[test]
fn a_command_that_ends_like_another_is_another() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let running = words("/vadev/program/vadev-agent run --root /app -- python -m app -- x");
    assert_eq!(behind_the_agent(&running), words("python -m app -- x"));
    assert_ne!(behind_the_agent(&running), words("-m app -- x"));
}
