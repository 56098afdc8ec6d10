//! Watching source folders: which paths were touched, whatever the events were.
//!
//! Events only say where to look. What is there is looked at when a change is taken, so that editors' ways of saving,
//! renames, folders that go and come again, and events that were lost all end the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::batch::Touch;
use super::source::Source;
use super::{ReloadError, limits};

/// A source that the watch and its service share.
pub type Shared = Arc<Mutex<Source>>;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A file of a source, by the source's number and its path below it.
    Touched(usize, String, Touch),
    /// Many files at once.
    Swept(usize, Vec<String>),
    /// One of the single files.
    File(PathBuf),
    /// Watching goes on with less than everything.
    Trouble(String),
}

/// A watch under way; it ends when this is dropped.
pub struct Watch {
    watcher: Arc<Mutex<Option<RecommendedWatcher>>>,
}

/// What the event handler works with.
struct Handler {
    sources: Vec<Shared>,
    files: Vec<PathBuf>,
    sender: mpsc::UnboundedSender<Seen>,
    watcher: Arc<Mutex<Option<RecommendedWatcher>>>,
    orders: std::sync::mpsc::Receiver<notify::Result<Event>>,
}

impl Watch {
    /// Watches all folders of the sources, and single files beside them. Returns when everything is being watched.
    ///
    /// # Errors
    /// A folder cannot be watched: mostly a limit of the system.
    pub fn open(
        sources: &[Shared],
        files: &[PathBuf],
    ) -> Result<(Self, mpsc::UnboundedReceiver<Seen>), ReloadError> {
        let folders: usize = sources.iter().map(|source| lock(source).folders().count()).sum();
        limits::check(folders)?;
        let (events, orders) = std::sync::mpsc::channel();
        let (sender, receiver) = mpsc::unbounded_channel();
        let made = notify::recommended_watcher(move |event| {
            // Nobody listens any more when the watch ends at this moment.
            let _ = events.send(event);
        });
        let mut watcher = made.map_err(|error| trouble(Path::new("."), folders, &error))?;
        let mut paths = watcher.paths_mut();
        for source in sources {
            let source = lock(source);
            for folder in source.folders() {
                let path = source.root().join(folder);
                match paths.add(&path, RecursiveMode::NonRecursive) {
                    // Gone between listing and watching.
                    Err(error) if !path.is_dir() => drop(error),
                    other => other.map_err(|error| trouble(&path, folders, &error))?,
                }
            }
        }
        // A source that goes and comes again is seen from the folder above it.
        let roots: Vec<PathBuf> = sources
            .iter()
            .map(|source| lock(source).root().to_owned())
            .collect();
        for folder in folders_of(files).into_iter().chain(folders_of(&roots)) {
            paths
                .add(folder, RecursiveMode::NonRecursive)
                .map_err(|error| trouble(folder, folders, &error))?;
        }
        paths
            .commit()
            .map_err(|error| trouble(Path::new("."), folders, &error))?;
        let watcher = Arc::new(Mutex::new(Some(watcher)));
        let handler = Handler {
            sources: sources.to_vec(),
            files: files.to_vec(),
            sender,
            watcher: Arc::clone(&watcher),
            orders,
        };
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || handler.run())
            .map_err(ReloadError::io("start a thread for", "the watch"))?;
        Ok((Self { watcher }, receiver))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Dropping the watcher closes the channel, which ends the thread.
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The folders that single files are in, each once.
fn folders_of(files: &[PathBuf]) -> Vec<&Path> {
    let mut folders: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders
}

/// A source is left whole by whoever panicked with it.
pub fn lock(source: &Shared) -> std::sync::MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

fn trouble(path: &Path, folders: usize, error: &notify::Error) -> ReloadError {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => limits::exceeded(folders),
        // EMFILE: too many inotify instances.
        notify::ErrorKind::Io(io) if io.raw_os_error() == Some(24) => limits::instances(folders),
        _ => ReloadError::Watch {
            path: path.to_owned(),
            problem: error.to_string(),
        },
    }
}

impl Handler {
    fn run(self) {
        self.look_again();
        while let Ok(event) = self.orders.recv() {
            match event {
                Ok(event) if event.need_rescan() => self.rescan(),
                Ok(event) => self.event(&event),
                Err(error) => self.say(Seen::Trouble(format!("watching goes on, but: {error}"))),
            }
        }
    }

    fn say(&self, seen: Seen) {
        // The session has ended when nobody listens.
        let _ = self.sender.send(seen);
    }

    fn event(&self, event: &Event) {
        let touch = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
            | EventKind::Create(CreateKind::Folder) => Touch::Whole,
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any => Touch::Begun,
            EventKind::Access(_) | EventKind::Other => return,
        };
        // The folder of that name may be another one now, whose watch is to begin anew.
        let anew = matches!(
            event.kind,
            EventKind::Remove(_)
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Create(CreateKind::Folder)
        );
        for path in &event.paths {
            if self.files.contains(path) && touch == Touch::Whole {
                self.say(Seen::File(path.clone()));
            }
            for (number, source) in self.sources.iter().enumerate() {
                self.look(number, source, path, touch, anew);
            }
        }
    }

    fn look(&self, number: usize, shared: &Shared, path: &Path, touch: Touch, anew: bool) {
        let mut source = lock(shared);
        let Some(below) = source.relative(path).map(str::to_owned) else {
            return;
        };
        let metadata = fs::symlink_metadata(path).ok();
        match metadata {
            Some(found) if found.is_dir() => {
                // Metadata of a folder that is known says nothing about its files.
                let new = anew || (touch == Touch::Whole && !source.is_folder(&below));
                if new && !source.is_ignored(path, true) {
                    self.forget(&source, &below);
                    let mut swept = source.remove(&below);
                    swept.extend(self.adopt(&mut source, &below));
                    swept.sort_unstable();
                    swept.dedup();
                    if !swept.is_empty() {
                        self.say(Seen::Swept(number, swept));
                    }
                }
            }
            Some(found) => {
                if below.is_empty() || source.is_ignored(path, false) {
                    return;
                }
                // A folder became a file.
                let mut gone = if source.is_folder(&below) {
                    source.remove(&below)
                } else {
                    Vec::new()
                };
                source.add(&below);
                gone.retain(|file| *file != below);
                if !gone.is_empty() {
                    self.say(Seen::Swept(number, gone));
                }
                let touch = if found.is_symlink() { Touch::Whole } else { touch };
                self.say(Seen::Touched(number, below.clone(), touch));
                if touch == Touch::Whole && source.is_rule(&below) {
                    self.reread(number, &mut source);
                }
            }
            None => {
                self.forget(&source, &below);
                let gone = source.remove(&below);
                match gone.as_slice() {
                    [] => {}
                    [one] => self.say(Seen::Touched(number, one.clone(), Touch::Whole)),
                    _ => self.say(Seen::Swept(number, gone)),
                }
                if source.is_rule(&below) {
                    self.reread(number, &mut source);
                }
            }
        }
    }

    /// Watches a folder that appeared, with everything below it; its files. Watched first and listed afterwards, so that
    /// nothing falls between.
    fn adopt(&self, source: &mut Source, below: &str) -> Vec<String> {
        let mut files = Vec::new();
        self.watch(&source.root().join(below));
        loop {
            let found = source.scan(below);
            for folder in &found.folders {
                self.watch(&source.root().join(folder));
            }
            files.extend(found.files);
            // What came into a folder before it was watched is found by looking once more.
            if found.folders.is_empty() {
                return files;
            }
        }
    }

    fn watch(&self, folder: &Path) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watcher) = watcher.as_mut()
            && let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive)
            && folder.is_dir()
        {
            self.say(Seen::Trouble(trouble(folder, 1, &error).to_string()));
        }
    }

    /// Ends the watches of a folder that went: a later one of the same name is another folder.
    fn forget(&self, source: &Source, below: &str) {
        if !source.is_folder(below) {
            return;
        }
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = format!("{below}/");
        for folder in source
            .folders()
            .filter(|folder| below.is_empty() || *folder == below || folder.starts_with(&prefix))
        {
            if let Some(watcher) = watcher.as_mut() {
                // The system ended the watch of a removed folder by itself.
                drop(watcher.unwatch(&source.root().join(folder)));
            }
        }
    }

    /// What came between listing the sources and watching them.
    fn look_again(&self) {
        for (number, shared) in self.sources.iter().enumerate() {
            let mut source = lock(shared);
            let found = source.scan("");
            let mut files = found.files;
            for folder in found.folders {
                files.extend(self.adopt(&mut source, &folder));
            }
            if !files.is_empty() {
                self.say(Seen::Swept(number, files));
            }
        }
    }

    /// What is part of the source has changed: what was left out till now is news. What is left out from now on is not gone.
    fn reread(&self, number: usize, source: &mut Source) {
        source.reread();
        let before: BTreeSet<String> = source.remove("").into_iter().collect();
        let found: BTreeSet<String> = self.adopt(source, "").into_iter().collect();
        // What went in the same breath is not known any more when its event comes.
        let went = |file: &&String| {
            let path = source.root().join(file);
            fs::symlink_metadata(&path).is_err() && !source.is_ignored(&path, false)
        };
        let gone = before.difference(&found).filter(went);
        let news: Vec<String> = found.difference(&before).chain(gone).cloned().collect();
        if !news.is_empty() {
            self.say(Seen::Swept(number, news));
        }
    }

    /// Events were lost: everything that is or was there may have changed.
    fn rescan(&self) {
        for (number, shared) in self.sources.iter().enumerate() {
            let mut source = lock(shared);
            let mut all = source.remove("");
            self.adopt(&mut source, "");
            all.extend(source.files().map(str::to_owned));
            all.sort_unstable();
            all.dedup();
            self.say(Seen::Swept(number, all));
        }
    }
}

#[cfg(test)]
mod tests {
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
}
