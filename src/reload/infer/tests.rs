use super::*;

fn look(path: &str) -> Option<Kind> {
    match path {
        "" | "app" | "conf" => Some(Kind::Folder),
        "main.py" | "requirements.txt" | "go.mod" | "x.tgz" => Some(Kind::File),
        "current" => Some(Kind::Link),
        _ => None,
    }
}

#[test]
fn python_is_synced_by_its_lines() {
    let text = "FROM x\nWORKDIR /srv\nCOPY requirements.txt ./\nRUN pip install -r requirements.txt\n\
                COPY app ./app\nCOPY main.py gone.py ./\n";
    let found = infer(text, None, &BTreeMap::new(), false, &look);
    let pairs: Vec<_> = found
        .sync
        .iter()
        .map(|rule| (rule.from.as_str(), rule.to.as_str()))
        .collect();
    assert_eq!(pairs, [("app", "/srv/app"), ("main.py", "/srv/main.py")]);
    assert!(found.build.is_none());
    assert!(found.notes[0].contains("line 3: requirements.txt is used by a later RUN"));
    assert_eq!(found.notes.len(), 4);
}

#[test]
fn go_is_built_on_this_machine() {
    let text = "FROM golang AS build\nCOPY . .\n\
                RUN CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o /out/server ./cmd/server && true\n\
                FROM scratch\nCOPY --from=build /out/server /server\n";
    let found = infer(text, None, &BTreeMap::new(), false, &look);
    let build = found.build.unwrap();
    let expected = [
        "go",
        "build",
        "-o",
        ".vadev-build/server",
        "-trimpath",
        "-ldflags",
        "-s -w",
        "./cmd/server",
    ];
    assert_eq!(build.command, expected);
    assert_eq!(
        (found.sync[0].from.as_str(), found.sync[0].to.as_str()),
        (".vadev-build/server", "/server")
    );
    let without = infer(text, None, &BTreeMap::new(), false, &|_: &str| None);
    assert!(without.build.is_none() && without.sync.is_empty());
}

#[test]
fn go_is_built_here_only_where_that_makes_all_of_the_image() {
    let of = |rest: &str| {
        let text = format!(
            "FROM node AS web\nCOPY app .\nRUN npm run build\nFROM golang AS build\nENV GOFLAGS=-mod=vendor\nCOPY . .\n\
             RUN go build -o /out/migrate ./cmd/migrate; go build -o /out/server ./cmd/server\nFROM scratch\n{rest}"
        );
        infer(&text, None, &BTreeMap::new(), false, &look)
    };
    let alone = of(
        "COPY --from=build /etc/ssl/certs/ca.crt /etc/\nCOPY --from=busybox /bin/sh /bin/\n\
                    COPY conf /conf\nCOPY --from=build /out/server /usr/bin/\n",
    );
    let build = alone.build.unwrap();
    assert_eq!(
        build.command,
        ["go", "build", "-o", ".vadev-build/server", "./cmd/server"]
    );
    assert_eq!(build.env["GOFLAGS"], "-mod=vendor");
    let rules: Vec<_> = alone.sync.iter().map(|rule| rule.to.as_str()).collect();
    assert_eq!(rules, ["/conf", "/usr/bin/server"]);
    for other in [
        "COPY --from=build /out/migrate /out/server /\n",
        "COPY --from=build /out/server /x\nCOPY --from=build /out/migrate /y\n",
        "COPY --from=build /out/server /x\nCOPY --from=web /dist /static\n",
        "COPY --from=build /out/server /x\nCOPY --from=build /src/templates /t\n",
        "COPY --from=build /out/server /x\nCOPY conf /conf\nRUN check /conf\n",
        "COPY --from=build /out/server /usr/bin/\nRUN chmod +x /usr/bin/server && setcap x=ep /usr/bin/server\n",
        "COPY --from=build /out/server /usr/bin/\nRUN cd /usr/bin && setcap x=ep server\n",
    ] {
        let found = of(other);
        assert!(
            found.build.is_none() && found.sync.is_empty(),
            "{other}: {found:?}"
        );
        assert!(
            found.notes.iter().any(|note| note.contains("server")),
            "{other}: {found:?}"
        );
    }
}

#[test]
fn the_whole_source_is_a_rule() {
    let found = infer(
        "FROM x\nWORKDIR /app\nCOPY . .\n",
        None,
        &BTreeMap::new(),
        false,
        &look,
    );
    assert_eq!(
        (found.sync[0].from.as_str(), found.sync[0].to.as_str()),
        (".", "/app")
    );
}

#[test]
fn what_only_a_build_can_do_is_no_rule() {
    let text = "FROM node AS assets\nCOPY conf .\nCOPY app/web .\nRUN npm run build\nFROM x\nCOPY app main.py/ w\n\
                ADD x.tgz /opt/app\nCOPY current conf /srv/\nCOPY app /app\nCOPY --from=assets /out /static\n";
    let found = infer(text, None, &BTreeMap::new(), false, &look);
    let rules: Vec<_> = found.sync.iter().map(|rule| rule.from.as_str()).collect();
    assert_eq!(rules, ["app"]);
    for expected in [
        "line 6: app goes to a place that only a build knows",
        "line 7: x.tgz is unpacked",
        "line 8: current is a symbolic link",
        "line 8: conf is also what a RUN makes something of (line 2)",
        "line 3: app/web is what a RUN makes something of",
    ] {
        assert!(
            found.notes.iter().any(|note| note.starts_with(expected)),
            "{expected}: {:?}",
            found.notes
        );
    }
    let built = infer(text, None, &BTreeMap::new(), true, &look);
    let rules: Vec<_> = built.sync.iter().map(|rule| rule.from.as_str()).collect();
    assert_eq!(rules, ["conf", "app"], "a build here does what RUN does");
}

/// Decides as a session does that goes by the Dockerfile, and as one that goes by the same rules in a workspace file.
fn decided(text: &str, path: &str) -> (Inferred, [Option<crate::reload::decide::Way>; 2]) {
    let found = infer(text, None, &BTreeMap::new(), false, &look);
    let way = |inferred: bool| {
        let rules = crate::reload::rules::Rules::new("x", &found.sync, &look).unwrap();
        let mut recipe = crate::reload::decide::Recipe::new(rules, false, "Dockerfile");
        recipe.inferred = inferred;
        recipe
            .with_dockerfile(text, None, &BTreeMap::new())
            .verdict(path)
            .way
    };
    let ways = [way(true), way(false)];
    (found, ways)
}

#[test]
fn rules_that_are_written_down_decide_as_the_dockerfile_does() {
    use crate::reload::decide::Way;
    let paths = [
        "app/a.py",
        "app/assets/x.scss",
        "app/static/y",
        "app/config.py",
        "app/app.css",
        "main.py",
    ];
    for (lines, built) in [
        ("COPY app /srv/app\nCOPY main.py /srv/\n", ""),
        (
            "COPY --from=assets /w/out /srv/app/static\nCOPY app /srv/app\n",
            "",
        ),
        ("COPY app /srv/app\nCOPY --from=assets /w/out /opt/static\n", ""),
        (
            "COPY app /srv/app\nCOPY --from=assets /w/app.css /srv/app/\n",
            "app/app.css",
        ),
        (
            "COPY app /srv/app\nCOPY --from=assets /w/out /srv/app/static\n",
            "app/static/y",
        ),
        (
            "COPY app /srv/app\nCOPY --from=assets /w/out /srv/app/\n",
            "app/a.py",
        ),
        (
            "COPY app /srv/app\nCOPY <<EOF /srv/app/config.py\nX = 1\nEOF\n",
            "app/config.py",
        ),
        (
            "COPY app /srv/app\nADD https://example.com/config.py /srv/app/\n",
            "app/config.py",
        ),
        ("COPY app /srv/app\nCOPY app /opt/app\n", "app/a.py"),
        (
            "COPY app /srv/app\nCOPY --from=built /w/css /css\n",
            "app/assets/x.scss",
        ),
    ] {
        let text = format!(
            "FROM node AS built\nCOPY app/assets ./\nRUN npm run build\nFROM node AS assets\nFROM python\n{lines}"
        );
        for path in paths {
            let (found, [inferred, written]) = decided(&text, path);
            assert_eq!(found.partly, !built.is_empty(), "{lines}: {found:?}");
            if path == built {
                assert_eq!(inferred, Some(Way::Build), "{lines}: {path}");
            }
            assert!(found.partly || inferred == written, "{lines}: {path}");
        }
    }
}

#[test]
fn a_file_goes_into_a_folder_that_is_there() {
    for (base, line, to) in [
        ("python", "COPY main.py /srv/app", Some("/srv/app/main.py")),
        (
            "python",
            "COPY main.py /usr/local/bin",
            Some("/usr/local/bin/main.py"),
        ),
        (
            "python",
            "COPY main.py /opt/tool/start.py",
            Some("/opt/tool/start.py"),
        ),
        (
            "python",
            "COPY main.py /opt/tool/main.py",
            Some("/opt/tool/main.py"),
        ),
        ("python", "COPY main.py /opt/tool", None),
        ("python", "COPY conf /opt/tool\nCOPY main.py /opt/tool", None),
        (
            "python",
            "COPY conf /opt/tool/conf\nCOPY main.py /opt/tool",
            Some("/opt/tool/main.py"),
        ),
        ("scratch", "COPY main.py /usr/bin", Some("/usr/bin")),
    ] {
        let text = format!("FROM {base}\nWORKDIR /srv/app\n{line}\n");
        let found = infer(&text, None, &BTreeMap::new(), false, &look);
        let rule = found.sync.iter().find(|rule| rule.from == "main.py");
        assert_eq!(rule.map(|rule| rule.to.as_str()), to, "{line}: {found:?}");
        let (_, [way, _]) = decided(&text, "main.py");
        assert_eq!(
            way == Some(crate::reload::decide::Way::Build),
            to.is_none(),
            "{line}"
        );
    }
}
