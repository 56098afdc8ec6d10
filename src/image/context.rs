//! The folder that an image is built from: which of its files belong to the build, what they are by content, and the tar
//! that the engine is sent, made as it is read so that no tree is too large for memory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::chunks::Chunks;
use super::dockerignore::DockerIgnore;
use super::listing::{self, Differing, Listing, ListingDigest};
use crate::supply::docker::hex;

/// Where a Dockerfile goes in the tar that lies outside its context; its name in a listing, too.
pub const OUTSIDE: &str = ".vadev.Dockerfile";

/// A build's context on disk.
#[derive(Debug, Clone)]
pub struct Context {
    root: PathBuf,
    dockerfile: PathBuf,
    /// The Dockerfile's path in the tar.
    name: String,
    ignore: DockerIgnore,
}

/// One file of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    what: What,
    mode: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    File,
    Folder,
    Link(PathBuf),
}

/// What comes next in a walk.
enum Next {
    Put(Vec<Entry>),
    Into(PathBuf),
}

impl Context {
    /// Reads the ignore file. `dockerfile` is relative to `root`.
    ///
    /// # Errors
    /// A sentence for people: no Dockerfile, or an ignore file that makes no sense.
    pub fn open(root: &Path, dockerfile: Option<&str>) -> Result<Self, String> {
        let wanted = root.join(dockerfile.unwrap_or("Dockerfile"));
        if !root.is_dir() {
            return Err(format!("the source folder {} does not exist", root.display()));
        }
        if !wanted.is_file() {
            return Err(format!("there is no {}", wanted.display()));
        }
        let name = match wanted.strip_prefix(root) {
            Ok(inside) if !inside.components().any(|part| part.as_os_str() == "..") => {
                inside.display().to_string()
            }
            _ => OUTSIDE.to_owned(),
        };
        Ok(Self {
            root: root.to_owned(),
            name,
            ignore: ignore_of(root, &wanted)?,
            dockerfile: wanted,
        })
    }

    /// The Dockerfile's path in the tar.
    pub fn dockerfile_name(&self) -> &str {
        &self.name
    }

    /// The Dockerfile's text.
    pub fn dockerfile_text(&self) -> io::Result<String> {
        read_dockerfile(&self.dockerfile)
    }

    /// What the ignore file leaves out.
    pub fn ignore(&self) -> &DockerIgnore {
        &self.ignore
    }

    /// A digest of everything that the build could see: paths, modes and contents, and the Dockerfile.
    pub fn digest(&self) -> io::Result<String> {
        let mut hash = ListingDigest::default();
        self.each(|path, print| hash.add(path, print))?;
        Ok(hash.end())
    }

    /// The same, path by path.
    pub fn listing(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        self.each(|path, print| listing.add(path.to_owned(), print.to_owned()))?;
        Ok(listing)
    }

    /// Whether a path below the context is what it was in `listing`; not where the build does not see it.
    pub fn is_as(&self, listing: &Listing, path: &str) -> io::Result<bool> {
        let below = Path::new(path);
        let meta = match fs::symlink_metadata(self.root.join(below)) {
            Ok(meta) => meta,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(listing.print(path).is_none());
            }
            Err(error) => return Err(error),
        };
        if !self.is_own(below) && self.ignore.ignores(below) {
            return Ok(false);
        }
        match Entry::of(&self.root, below.to_owned(), &meta)? {
            Some(entry) => Ok(listing.print(path) == Some(&*self.print(&entry)?)),
            None => Ok(false),
        }
    }

    /// Paths that are not as in `made`, of those that `counts` takes; see [`Listing::differing`]. Nothing is held of what is
    /// the same, however large the source.
    pub fn differing(&self, made: &Listing, counts: impl Fn(&str) -> bool) -> io::Result<BTreeSet<String>> {
        let mut differing = Differing::from(made, counts);
        self.each(|path, print| differing.add(path, print))?;
        Ok(differing.end())
    }

    /// What every path holds, in the order of paths.
    fn each(&self, mut put: impl FnMut(&str, &str)) -> io::Result<()> {
        self.walk(Path::new(""), &mut |entry| {
            put(&entry.path.to_string_lossy(), &self.print(&entry)?);
            Ok(())
        })
    }

    fn print(&self, entry: &Entry) -> io::Result<String> {
        Ok(match &entry.what {
            What::Folder => listing::folder(entry.mode),
            What::Link(target) => listing::link(&target.to_string_lossy()),
            What::File => listing::file(entry.mode, &file_digest(&self.on_disk(&entry.path))?),
        })
    }

    /// Starts writing the tar; a megabyte of it at most is in memory.
    pub(super) fn stream(&self) -> mpsc::Receiver<io::Result<bytes::Bytes>> {
        let context = self.clone();
        Chunks::produce(move |out| context.write(out))
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(out);
        self.walk(Path::new(""), &mut |entry| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(entry.mode);
            header.set_uid(0);
            header.set_gid(0);
            match &entry.what {
                What::Folder => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_size(0);
                    archive.append_data(&mut header, &entry.path, io::empty())?;
                }
                What::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    archive.append_link(&mut header, &entry.path, target)?;
                }
                What::File => {
                    let file = File::open(self.on_disk(&entry.path))?;
                    put(&mut archive, &mut header, &entry.path, file)?;
                }
            }
            Ok(())
        })?;
        archive.into_inner()?.flush()
    }

    /// Where an entry's file is.
    fn on_disk(&self, path: &Path) -> PathBuf {
        if self.name == OUTSIDE && path == Path::new(OUTSIDE) {
            return self.dockerfile.clone();
        }
        self.root.join(path)
    }

    /// Everything below a folder that is not ignored, in the order of paths as text: a folder before what is in it. A
    /// Dockerfile from outside is one of the topmost. Sockets and devices are no source. Of a large tree no more is in memory
    /// than the names in the folders that are open.
    fn walk(&self, folder: &Path, put: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        // What is in `a` comes behind `a-b`: it begins with `a/`.
        let mut names: Vec<(String, Next)> = Vec::new();
        if folder == Path::new("") && self.name == OUTSIDE {
            let entry = Entry {
                path: PathBuf::from(OUTSIDE),
                what: What::File,
                mode: 0o644,
            };
            names.push((OUTSIDE.to_owned(), Next::Put(vec![entry])));
        }
        for found in fs::read_dir(self.root.join(folder))? {
            let name = found?.file_name();
            let path = folder.join(&name);
            let meta = match fs::symlink_metadata(self.root.join(&path)) {
                Ok(meta) => meta,
                // Editors replace files while one looks.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if is_vadevs(&path) {
                continue;
            }
            let ignored = !self.is_own(&path) && self.ignore.ignores(&path);
            let name = name.to_string_lossy().into_owned();
            if meta.is_dir() {
                let leads = Path::new(&self.name).starts_with(&path);
                if ignored && !leads && self.ignore.prunes(&path) {
                    continue;
                }
                let content = if ignored {
                    let inside = self.inside(&path)?;
                    if inside.is_empty() {
                        continue;
                    }
                    Next::Put(inside)
                } else {
                    Next::Into(path.clone())
                };
                let own = Entry {
                    path,
                    what: What::Folder,
                    mode: meta.permissions().mode() & 0o7777,
                };
                names.push((format!("{name}/"), content));
                names.push((name, Next::Put(vec![own])));
            } else if !ignored {
                let entry = Entry::of(&self.root, path, &meta)?;
                names.extend(entry.map(|entry| (name, Next::Put(vec![entry]))));
            }
        }
        names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (_, next) in names {
            match next {
                Next::Put(entries) => entries.into_iter().try_for_each(&mut *put)?,
                Next::Into(path) => self.walk(&path, put)?,
            }
        }
        Ok(())
    }

    /// Everything below a folder that is not ignored though the folder itself is.
    fn inside(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut inside = Vec::new();
        self.walk(folder, &mut |entry| {
            inside.push(entry);
            Ok(())
        })?;
        Ok(inside)
    }

    /// The builder needs these two whatever the ignore file says.
    fn is_own(&self, path: &Path) -> bool {
        path == Path::new(&self.name) || path == Path::new(".dockerignore")
    }
}

impl Entry {
    /// A file or a link; `None` for anything else.
    fn of(root: &Path, path: PathBuf, meta: &fs::Metadata) -> io::Result<Option<Self>> {
        let mode = meta.permissions().mode() & 0o7777;
        let what = if meta.is_symlink() {
            What::Link(fs::read_link(root.join(&path))?)
        } else if meta.is_file() {
            What::File
        } else {
            return Ok(None);
        };
        Ok(Some(Self { path, what, mode }))
    }
}

/// What a build with this Dockerfile leaves out of the folder `root`: a file beside the Dockerfile says it, or else the
/// folder's own.
///
/// # Errors
/// A sentence for people: the file cannot be read, or makes no sense.
pub fn ignore_of(root: &Path, dockerfile: &Path) -> Result<DockerIgnore, String> {
    for file in [beside(dockerfile), root.join(".dockerignore")] {
        match fs::read_to_string(&file) {
            Ok(text) => {
                return DockerIgnore::parse(&text).map_err(|why| format!("{}: {why}", file.display()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("can't read {}: {error}", file.display())),
        }
    }
    Ok(DockerIgnore::default())
}

/// A Dockerfile's text. Builders take any bytes; what is no UTF-8 can only stand in a remark or a value.
pub fn read_dockerfile(file: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
}

/// The ignore file that belongs to one Dockerfile.
pub fn beside(dockerfile: &Path) -> PathBuf {
    let name = dockerfile.file_name().unwrap_or_default().to_string_lossy();
    dockerfile.with_file_name(format!("{name}.dockerignore"))
}

/// What vadev keeps beside a source is no part of it: where the source is the workspace itself, that is its state, with
/// keys to the cluster in it, and always what a local build made.
fn is_vadevs(path: &Path) -> bool {
    let state = |part: std::path::Component<'_>| part.as_os_str() == ".vadev";
    path.components().any(state) || path.starts_with(crate::reload::infer::OUTPUT)
}

/// A file with the size that it has now, however it changes meanwhile: a half-read file is an error, not a broken tar.
fn put(
    archive: &mut tar::Builder<impl Write>,
    header: &mut tar::Header,
    path: &Path,
    file: File,
) -> io::Result<()> {
    let meta = file.metadata()?;
    // Kept by the builder; Python and make compare it.
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or_default());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(meta.len());
    let exact = Exact {
        inner: file,
        left: meta.len(),
    };
    archive.append_data(header, path, exact)
}

struct Exact {
    inner: File,
    left: u64,
}

impl Read for Exact {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let n = self.inner.read(&mut out[..most])?;
        if n == 0 {
            return Err(io::Error::other("a file was cut short while it was read"));
        }
        self.left -= n as u64;
        Ok(n)
    }
}

fn file_digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

#[cfg(test)]
mod tests;
