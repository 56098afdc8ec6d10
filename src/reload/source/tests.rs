use super::*;
use crate::profile::workspace::SyncRule;

fn wanted(rules: &Rules) -> Wanted {
    Wanted {
        synced: rules.iter().map(|rule| rule.from.clone()).collect(),
        copied: Vec::new(),
    }
}

#[test]
fn a_source_is_its_files_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(root.join("svc/app/deep")).unwrap();
    fs::create_dir_all(root.join("svc/bin")).unwrap();
    for (path, content) in [
        (".gitignore", "bin\n*.log\n"),
        ("svc/app/.gitignore", "made.py\n"),
        ("svc/app/main.py", "1"),
        ("svc/app/deep/x.py", "1"),
        ("svc/app/made.py", "1"),
        ("svc/a.log", "1"),
        ("svc/bin/server", "1"),
        ("svc/bin/other", "1"),
    ] {
        fs::write(root.join(path), content).unwrap();
    }
    let rule = |from: &str, to: &str| SyncRule {
        from: from.into(),
        to: to.into(),
        ignore: vec![],
    };
    let rules = Rules::new(
        "x",
        &[rule("app", "/app"), rule("bin/server", "/server")],
        &look(&root.join("svc")),
    )
    .unwrap();
    let mut source = Source::open(&root.join("svc"), "Dockerfile", wanted(&rules)).unwrap();
    let files: Vec<&str> = source.files().collect();
    assert_eq!(
        files,
        ["app/.gitignore", "app/deep/x.py", "app/main.py", "bin/server"]
    );
    assert_eq!(source.mapped(&rules)["/app/deep/x.py"], "app/deep/x.py");
    assert_eq!(source.remove("app/deep"), ["app/deep/x.py"]);
    assert!(!source.is_folder("app/deep") && source.is_folder("app"));
    assert_eq!(source.scan("app").files, ["app/deep/x.py"]);
}

#[test]
fn the_dockerfile_is_seen_and_no_part_of_the_source() {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in [
        ("Dockerfile", "FROM x"),
        ("Dockerfile.dockerignore", "Dockerfile*\ndocs\n"),
        (".dockerignore", "main.py\n"),
        ("main.py", ""),
        ("docs/a", ""),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("docs", folder.path().join("link")).unwrap();
    let look = look(folder.path());
    assert_eq!(
        ["", "docs", "main.py", "link", "none"].map(&look),
        [
            Some(Kind::Folder),
            Some(Kind::Folder),
            Some(Kind::File),
            Some(Kind::Link),
            None
        ]
    );
    let rule = SyncRule {
        from: ".".into(),
        to: "/app".into(),
        ignore: vec![],
    };
    let rules = Rules::new("x", &[rule], &look).unwrap();
    let mut source = Source::open(folder.path(), "Dockerfile", wanted(&rules)).unwrap();
    let files: Vec<&str> = source.files().collect();
    assert_eq!(
        files,
        [
            ".dockerignore",
            "Dockerfile",
            "Dockerfile.dockerignore",
            "link",
            "main.py"
        ]
    );
    let mapped = source.mapped(&rules);
    assert_eq!(
        mapped.keys().collect::<Vec<_>>(),
        ["/app/.dockerignore", "/app/link", "/app/main.py"]
    );
    assert!(source.is_rule("Dockerfile.dockerignore") && source.is_rule("a/.gitignore"));
    assert!(!source.is_rule("Dockerfile"));
    fs::remove_file(folder.path().join("Dockerfile.dockerignore")).unwrap();
    source.reread();
    source.remove("");
    source.scan("");
    let files: Vec<&str> = source.files().collect();
    assert_eq!(files, [".dockerignore", "Dockerfile", "docs/a", "link"]);
}

#[test]
fn contents_are_read_again_when_they_look_different() {
    let folder = tempfile::tempdir().unwrap();
    let mut contents = Contents::default();
    assert_eq!(contents.node(folder.path(), "a").unwrap(), Node::Gone);
    fs::write(folder.path().join("a"), "one").unwrap();
    let first = contents.node(folder.path(), "a").unwrap();
    fs::write(folder.path().join("a"), "two").unwrap();
    assert_ne!(
        contents.node(folder.path(), "a").unwrap(),
        first,
        "same length, same instant"
    );
    std::os::unix::fs::symlink("a", folder.path().join("l")).unwrap();
    assert_eq!(
        contents.node(folder.path(), "l").unwrap(),
        Node::Link { target: "a".into() }
    );
}

#[test]
fn what_the_build_leaves_out_below_a_rule_stays_out() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(".dockerignore", "*\n!src/**\nsrc/secrets\n**/.env\ndist\n");
    put(".gitignore", "*.log\n");
    for name in [
        "src/a",
        "src/secrets/key",
        "src/.env",
        "src/x.log",
        "dist/b",
        "other",
    ] {
        put(name, "1");
    }
    let wanted = Wanted {
        synced: vec!["src".to_owned(), "dist".to_owned()],
        copied: Vec::new(),
    };
    let source = Source::open(folder.path(), "Dockerfile", wanted).unwrap();
    let files: Vec<&str> = source.files().collect();
    assert_eq!(files, [".dockerignore", "dist/b", "src/a"]);
}
