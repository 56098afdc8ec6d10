use std::time::{Duration, Instant};

use super::*;
use crate::reload::source::Wanted;

struct Tried {
    folder: tempfile::TempDir,
    source: Shared,
    receiver: mpsc::UnboundedReceiver<Seen>,
    _watch: Watch,
}

impl Tried {
    fn new(before: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for path in before {
            write(folder.path(), path);
        }
        let source = Arc::new(Mutex::new(
            Source::open(folder.path(), "Dockerfile", Wanted::default()).unwrap(),
        ));
        let (watch, receiver) = Watch::open(&[Arc::clone(&source)], &[]).unwrap();
        Self {
            folder,
            source,
            receiver,
            _watch: watch,
        }
    }

    /// Waits until all of `expected` was seen; what else was.
    fn sees(&mut self, expected: &[&str]) -> BTreeSet<String> {
        let mut missing: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
        let mut others = BTreeSet::new();
        let end = Instant::now() + Duration::from_mins(1);
        while !missing.is_empty() {
            assert!(Instant::now() < end, "never seen: {missing:?}");
            match self.receiver.try_recv() {
                Ok(Seen::Touched(_, path, _)) => {
                    let _new = missing.remove(&path) || others.insert(path);
                }
                Ok(Seen::Swept(_, paths)) => {
                    for path in paths {
                        let _new = missing.remove(&path) || others.insert(path);
                    }
                }
                Ok(other) => panic!("{other:?}"),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        others
    }
}

fn write(root: &Path, path: &str) {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, "x").unwrap();
}

#[test]
fn saves_of_every_kind_are_seen() {
    let mut tried = Tried::new(&["a.py", "b/c.py"]);
    let root = tried.folder.path().to_owned();
    write(&root, "a.py");
    tried.sees(&["a.py"]);
    // An editor's way: a temporary file takes the name.
    write(&root, "b/.c.py.swp");
    fs::rename(root.join("b/.c.py.swp"), root.join("b/c.py")).unwrap();
    let others = tried.sees(&["b/c.py"]);
    assert!(!others.iter().any(|path| path.contains("swp")), "{others:?}");
    fs::rename(root.join("a.py"), root.join("A.py")).unwrap();
    tried.sees(&["a.py", "A.py"]);
    fs::remove_file(root.join("A.py")).unwrap();
    tried.sees(&["A.py"]);
}

#[test]
fn folders_go_and_come_again() {
    let mut tried = Tried::new(&["b/c/d.py", "b/e.py"]);
    let root = tried.folder.path().to_owned();
    fs::rename(root.join("b"), root.join("z")).unwrap();
    tried.sees(&["b/c/d.py", "b/e.py", "z/c/d.py", "z/e.py"]);
    write(&root, "z/c/d.py");
    tried.sees(&["z/c/d.py"]);
    fs::remove_dir_all(root.join("z")).unwrap();
    tried.sees(&["z/c/d.py", "z/e.py"]);
    write(&root, "b/c/new.py");
    tried.sees(&["b/c/new.py"]);
    write(&root, "b/c/new.py");
    tried.sees(&["b/c/new.py"]);
    assert_eq!(lock(&tried.source).files().collect::<Vec<_>>(), ["b/c/new.py"]);
}

#[test]
fn what_comes_before_the_watch_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.py");
    let source = Arc::new(Mutex::new(
        Source::open(folder.path(), "Dockerfile", Wanted::default()).unwrap(),
    ));
    write(folder.path(), "b/c/new.py");
    let (watch, receiver) = Watch::open(&[Arc::clone(&source)], &[]).unwrap();
    let mut tried = Tried {
        folder,
        source,
        receiver,
        _watch: watch,
    };
    tried.sees(&["b/c/new.py"]);
    write(tried.folder.path(), "b/c/other.py");
    tried.sees(&["b/c/other.py"]);
}

#[test]
fn what_is_ignored_can_change() {
    let mut tried = Tried::new(&["a.py", "b/c.py"]);
    let root = tried.folder.path().to_owned();
    fs::write(root.join(".dockerignore"), "b\n").unwrap();
    tried.sees(&[".dockerignore"]);
    let end = Instant::now() + Duration::from_mins(1);
    while lock(&tried.source).files().any(|file| file == "b/c.py") {
        assert!(Instant::now() < end, "never left out");
        std::thread::sleep(Duration::from_millis(2));
    }
    fs::remove_file(root.join(".dockerignore")).unwrap();
    tried.sees(&[".dockerignore", "b/c.py"]);
    write(&root, "b/c.py");
    tried.sees(&["b/c.py"]);
    for number in 0..20 {
        write(&root, "b/c.py");
        tried.sees(&["b/c.py"]);
        std::thread::sleep(Duration::from_millis(50));
        while tried.receiver.try_recv().is_ok() {}
        // A branch switch: one that goes is not forgotten over the other.
        fs::write(root.join(".gitignore"), number.to_string()).unwrap();
        fs::remove_file(root.join("b/c.py")).unwrap();
        tried.sees(&["b/c.py"]);
    }
}

#[test]
fn a_folder_that_was_replaced_is_watched() {
    let mut tried = Tried::new(&["b/c/d.py"]);
    let root = tried.folder.path().to_owned();
    for number in 0..20 {
        // At once: the watch looks when the new folder is there already.
        fs::remove_dir_all(root.join("b")).unwrap();
        write(&root, "b/c/d.py");
        tried.sees(&["b/c/d.py"]);
        std::thread::sleep(Duration::from_millis(50));
        while tried.receiver.try_recv().is_ok() {}
        write(&root, "b/c/d.py");
        let name = format!("b/c/{number}");
        write(&root, &name);
        tried.sees(&["b/c/d.py", &name]);
    }
}

#[test]
fn ten_thousand_files_are_all_seen() {
    let mut tried = Tried::new(&["a/x"]);
    let root = tried.folder.path().to_owned();
    let names: Vec<String> = (0..10_000).map(|n| format!("d{}/f{n}", n % 50)).collect();
    for name in &names {
        write(&root, name);
    }
    tried.sees(&names.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn who_only_reads_makes_no_event() {
    let of = |kind| says_nothing(&Event::new(kind));
    assert!(of(EventKind::Access(AccessKind::Open(AccessMode::Any))));
    assert!(of(EventKind::Access(AccessKind::Close(AccessMode::Read))));
    assert!(!of(EventKind::Access(AccessKind::Close(AccessMode::Write))));
    assert!(!of(EventKind::Create(CreateKind::File)));
    let lost = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
    assert!(!says_nothing(&lost), "events were lost");
}
