//! `vadev init` on applications that nobody prepared for it.

use super::{Place, stderr, stdout};

/// A workspace whose agent-engine is in `svc`, with this Dockerfile and these files.
fn shop(workspace: &str, dockerfile: &[u8], files: &[&str]) -> Place {
    let head = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\n";
    let place = Place::with(&format!("{head}{workspace}"));
    for file in files {
        let path = place.path().join("svc").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    std::fs::write(place.path().join("svc/Dockerfile"), dockerfile).unwrap();
    place
}

const SOURCE: &str = "services:\n  agent-engine: { source: svc } # ours\n";

#[test]
fn rules_are_put_into_the_entry_that_names_the_source() {
    let dockerfile = b"from python:3.12\nworkdir /app\ncopy requirements.txt .\n\
                       run pip install \\\n# why\n  -r requirements.txt\n\
                       COPY [\"my app\", \"./my app/\"]\n# caf\xe9\ncopy --chown=1:1 main.py .\n";
    let place = shop(
        SOURCE,
        dockerfile,
        &["requirements.txt", "my app/x.py", "main.py"],
    );
    let output = place.run(&["init"]);
    assert!(output.status.success(), "{}", stderr(&output));
    insta::assert_snapshot!(
        "init-python",
        stdout(&output).replace(&place.path().display().to_string(), "SHOP")
    );
    let written = std::fs::read_to_string(place.path().join("vadev.yaml")).unwrap();
    insta::assert_snapshot!("init-python-written", written);
    let again = place.run(&["init"]);
    assert!(
        stdout(&again).contains("the workspace file has its rules already"),
        "{}",
        stdout(&again)
    );
    assert_eq!(
        std::fs::read_to_string(place.path().join("vadev.yaml")).unwrap(),
        written
    );
}

#[test]
fn a_linked_workspace_file_stays_a_link() {
    let place = shop(SOURCE, b"FROM x\nCOPY main.py /app/\n", &["main.py"]);
    let file = place.path().join("vadev.yaml");
    std::fs::rename(&file, place.path().join("real.yaml")).unwrap();
    std::os::unix::fs::symlink("real.yaml", &file).unwrap();
    assert!(place.run(&["init"]).status.success());
    assert!(std::fs::symlink_metadata(&file).unwrap().is_symlink());
    assert!(
        std::fs::read_to_string(place.path().join("real.yaml"))
            .unwrap()
            .contains("/app/main.py")
    );
}

#[test]
fn go_that_another_build_here_would_make_is_left_to_the_image() {
    let files = ["go.mod", "cmd/server/main.go", "conf/a.conf"];
    for (run, why) in [
        ("cd cmd/server && go build -o /out/server .", "another folder"),
        ("CGO_ENABLED=1 go build -o /out/server ./cmd/server", "cgo"),
    ] {
        let text = format!(
            "\u{feff}FROM golang:1.23 AS build\nWORKDIR /src\nCOPY . .\nRUN {run}\nFROM debian:12\nCOPY --from=build /out/server /\n"
        );
        let output = shop(SOURCE, text.as_bytes(), &files).run(&["init"]);
        let told = stdout(&output);
        assert!(
            told.contains(why) && told.contains("nothing can be synced"),
            "{told}"
        );
    }
    let text = "# escape=`\nFROM golang:1.23 AS build\nARG VERSION=dev\nWORKDIR /src\nCOPY . .\n\
                RUN set -eux; GOOS=$TARGETOS go build `\n  -ldflags \"-X main.v=$VERSION\" -o /out/server ./cmd/server; upx /out/server\n\
                FROM debian:12\nCOPY --from=build /out/server /usr/bin/\nCOPY conf /etc/app\n";
    let place = shop(SOURCE, text.as_bytes(), &files);
    let output = place.run(&["init", "--dry-run", "-o", "json"]);
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let found = &told["services"]["agent-engine"];
    let command = [
        "go",
        "build",
        "-o",
        ".vadev-build/server",
        "-ldflags",
        "-X main.v=dev",
        "./cmd/server",
    ];
    assert_eq!(found["build"]["command"], serde_json::json!(command), "{told}");
    assert_eq!(found["sync"][1]["to"], "/etc/app", "{told}");
    assert_eq!(told["written"], false);
}

#[test]
fn what_a_base_stage_holds_back_counts() {
    let text = b"FROM python:3.12 AS base\nWORKDIR /app\nONBUILD COPY app ./app\nFROM base\nCMD [\"python\", \"-m\", \"app\"]\n";
    let output = shop(SOURCE, text, &["app/x.py"]).run(&["init"]);
    assert!(
        stdout(&output).contains("line 3: app \u{2192} /app/app"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_file_that_is_no_dockerfile_says_so() {
    let output = shop(SOURCE, b"hello\n", &["x"]).run(&["init"]);
    assert!(
        stdout(&output).contains("the Dockerfile has no FROM"),
        "{}",
        stdout(&output)
    );
}
