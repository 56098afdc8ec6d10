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
        let made = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Who reads 100,000 files, as this session does itself, makes several events of each: none of them waits in line.
            if event.as_ref().is_ok_and(says_nothing) {
                return;
            }
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

/// What an event means for a file; nothing where it was only read.
fn touch(kind: EventKind) -> Option<Touch> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Remove(_)
        | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Metadata(_))
        | EventKind::Create(CreateKind::Folder) => Some(Touch::Whole),
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Any => Some(Touch::Begun),
        EventKind::Access(_) | EventKind::Other => None,
    }
}

fn says_nothing(event: &Event) -> bool {
    touch(event.kind).is_none() && !event.need_rescan()
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
        let Some(touch) = touch(event.kind) else {
            return;
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
mod tests;
