use super::*;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn names(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect()
}

#[test]
fn what_is_ignored_is_neither_sent_nor_counted() {
    let folder = tree(&[
        ("Dockerfile", "FROM scratch"),
        (".dockerignore", "*\n!src\n"),
        ("src/a", "1"),
        ("junk/b", "1"),
        ("src/.vadev/kubeconfig", "1"),
        (".vadev/kubeconfig", "1"),
        (".vadev-build/server", "1"),
    ]);
    let context = Context::open(folder.path(), None).unwrap();
    let mut bytes = Vec::new();
    context.write(&mut bytes).unwrap();
    assert_eq!(names(&bytes), [".dockerignore", "Dockerfile", "src", "src/a"]);
    let before = context.digest().unwrap();
    fs::write(folder.path().join("junk/b"), "2").unwrap();
    fs::write(folder.path().join("src/.vadev/kubeconfig"), "2").unwrap();
    fs::write(folder.path().join(".vadev/kubeconfig"), "2").unwrap();
    assert_eq!(context.digest().unwrap(), before);
    let listing = context.listing().unwrap();
    let is_as = |path: &str| context.is_as(&listing, path).unwrap();
    assert_eq!(listing.digest(), before);
    // Neither is what the build does not see.
    assert!(is_as("src/a") && is_as("Dockerfile") && is_as("src/none") && !is_as("junk/b"));
    fs::write(folder.path().join("src/a"), "2").unwrap();
    fs::remove_file(folder.path().join("Dockerfile")).unwrap();
    assert!(!is_as("src/a") && !is_as("Dockerfile"));
    fs::write(folder.path().join("Dockerfile"), "FROM scratch").unwrap();
    let differing = listing.differing(&context.listing().unwrap());
    assert_eq!(differing.into_iter().collect::<Vec<_>>(), ["src/a"]);
    assert_ne!(context.digest().unwrap(), before);
}

#[test]
fn a_dockerfile_in_an_ignored_folder_comes_along() {
    let folder = tree(&[
        ("docker/Dockerfile", "FROM scratch"),
        ("docker/notes", ""),
        (".dockerignore", "docker\n"),
    ]);
    let context = Context::open(folder.path(), Some("docker/Dockerfile")).unwrap();
    let mut bytes = Vec::new();
    context.write(&mut bytes).unwrap();
    assert_eq!(names(&bytes), [".dockerignore", "docker", "docker/Dockerfile"]);
}

#[test]
fn a_dockerfile_outside_comes_along() {
    let folder = tree(&[("docker/x.Dockerfile", "FROM scratch"), ("app/main.py", "")]);
    let context = Context::open(&folder.path().join("app"), Some("../docker/x.Dockerfile")).unwrap();
    let mut bytes = Vec::new();
    context.write(&mut bytes).unwrap();
    assert_eq!(names(&bytes), [OUTSIDE, "main.py"]);
    assert_eq!(context.dockerfile_name(), OUTSIDE);
    let listing = context.listing().unwrap();
    assert_eq!(listing.digest(), context.digest().unwrap());
    fs::write(folder.path().join("docker/x.Dockerfile"), "FROM x").unwrap();
    let differing = listing.differing(&context.listing().unwrap());
    assert_eq!(differing.into_iter().collect::<Vec<_>>(), [OUTSIDE]);
}

#[test]
fn a_tree_is_walked_in_the_order_of_its_paths() {
    let folder = tree(&[
        ("Dockerfile", ""),
        (".dockerignore", "hidden\n!hidden/kept/b\nempty\n"),
        ("a/x", ""),
        ("a/y/z", ""),
        ("a-b", ""),
        ("a.c/x", ""),
        ("hidden/kept/b", ""),
        ("hidden/kept/c", ""),
        ("hidden-not", ""),
        ("empty/x", ""),
    ]);
    let context = Context::open(folder.path(), None).unwrap();
    let mut paths = Vec::new();
    context.each(|path, _| paths.push(path.to_owned())).unwrap();
    assert_eq!(
        paths,
        [
            ".dockerignore",
            "Dockerfile",
            "a",
            "a-b",
            "a.c",
            "a.c/x",
            "a/x",
            "a/y",
            "a/y/z",
            "hidden",
            "hidden-not",
            "hidden/kept",
            "hidden/kept/b"
        ]
    );
    let made = context.listing().unwrap();
    assert_eq!(made.digest(), context.digest().unwrap());
    assert!(context.differing(&made, |_| true).unwrap().is_empty());
    for name in ["a/x", "a.c/x"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    for name in ["a-b", "new", "hidden/kept/c"] {
        fs::write(folder.path().join(name), "1").unwrap();
    }
    let now = context.listing().unwrap();
    let differing = context.differing(&made, |path| path != "a.c/x").unwrap();
    assert_eq!(differing.into_iter().collect::<Vec<_>>(), ["a-b", "a/x", "new"]);
    assert_eq!(made.differing(&now), context.differing(&made, |_| true).unwrap());
}

#[test]
fn what_is_missing_is_named() {
    let folder = tree(&[("a", "")]);
    let none = Context::open(folder.path(), None).unwrap_err();
    assert!(
        none.contains("there is no") && none.contains("Dockerfile"),
        "{none}"
    );
    let gone = Context::open(&folder.path().join("x"), None).unwrap_err();
    assert!(gone.contains("does not exist"), "{gone}");
}
