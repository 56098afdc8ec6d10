//! The user's workspace on disk: found, read with everything it refers to, and put together with what is built in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::catalog::tree::Step::{Item, Key};
use crate::catalog::{Catalog, NamedText, Problem, Problems};
use crate::failure::{Failure, Family, Plain};
use crate::profile::{Profile, ResolveError, Sources, Workspace, load_all, problem_in, read_workspace};

/// The name of the workspace file.
pub const FILE: &str = "vadev.yaml";
/// The folder of everything that vadev keeps beside the workspace file.
const STATE: &str = ".vadev";
/// The profile that is taken where neither the command line nor the workspace names one.
const DEFAULT_PROFILE: &str = "dev";

/// A workspace with its catalog and profiles.
#[derive(Debug)]
pub struct Loaded {
    /// The folder that relative paths in the workspace file start from.
    pub root: PathBuf,
    /// The workspace file, whether it is there or not.
    pub file: PathBuf,
    /// The workspace file's text; `None` where there is no file.
    pub text: Option<String>,
    /// The workspace file's content, or every default.
    pub workspace: Workspace,
    /// Built in, with the workspace's own files over it.
    pub catalog: Catalog,
    /// Built in, with the workspace's own files over them.
    pub profiles: IndexMap<String, Profile>,
    /// The files that all of this was read from; the workspace file also where there is none yet.
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// Reads the workspace file `file`; without one, the nearest `vadev.yaml` from `start` upwards; where there is none,
    /// the folder of the repository, or else `start`, with every default.
    pub fn open(file: Option<&Path>, start: &Path) -> Result<Self, Failure> {
        let found = match file {
            Some(file) => Some(start.join(file)),
            None => start
                .ancestors()
                .map(|folder| folder.join(FILE))
                .find(|file| file.is_file()),
        };
        let Some(file) = found else {
            let repository = start.ancestors().find(|folder| folder.join(".git").exists());
            let root = repository.unwrap_or(start).to_owned();
            let file = root.join(FILE);
            return Self::assemble(root, file.clone(), &Sources::default(), vec![file]);
        };
        if file.is_dir() {
            let message = format!("cannot read {}: it is a folder", file.display());
            return Err(Plain::new(Family::Usage, message)
                .with_hint(format!(
                    "name a file in it, such as {}",
                    file.join(FILE).display()
                ))
                .into());
        }
        let text = text_of(&file)?;
        Self::read(file, text)
    }

    /// As it would be with this text in its file; nothing is written.
    pub fn with_text(&self, text: &str) -> Result<Self, Failure> {
        let shown = self.file.display().to_string();
        Self::read(self.file.clone(), (shown, text.to_owned()))
    }

    fn read(file: PathBuf, text: NamedText) -> Result<Self, Failure> {
        let root = file.parent().unwrap_or(Path::new(".")).to_owned();
        let mut sources = Sources::default();
        let mut files = vec![file.clone()];
        let workspace = read_workspace(&text)?;
        let mut problems = Vec::new();
        for (index, path) in workspace.extra_service_files.iter().enumerate() {
            files.push(root.join(path));
            match text_of(&root.join(path)) {
                Ok(text) => sources.extra_services.push(text),
                Err(failure) => {
                    let path = [Key("extraServiceFiles"), Item(index)];
                    problems.push(problem_in(&text, &path, failure.to_string(), failure.hint()));
                }
            }
        }
        if let Some(folder) = workspace
            .catalog
            .as_ref()
            .filter(|folder| !root.join(folder).is_dir())
        {
            let message = format!("there is no folder {}", root.join(folder).display());
            let help = "it is looked for from the folder of this file".to_owned();
            problems.push(problem_in(&text, &[Key("catalog")], message, Some(help)));
        }
        if let Some(problems) = Problems::of(problems) {
            return Err(problems.into());
        }
        if let Some(folder) = &workspace.catalog {
            let folder = root.join(folder);
            for part in ["services", "infrastructure", "mesh"] {
                sources.catalog.extend(yaml_files(&folder.join(part))?);
            }
            sources.profiles = yaml_files(&folder.join("profiles"))?;
            let read = sources.catalog.iter().chain(&sources.profiles);
            files.extend(read.map(|(path, _)| PathBuf::from(path)));
        }
        sources.workspace = Some(text);
        Self::assemble(root, file, &sources, files)
    }

    fn assemble(
        root: PathBuf,
        file: PathBuf,
        sources: &Sources,
        files: Vec<PathBuf>,
    ) -> Result<Self, Failure> {
        let loaded = load_all(sources, &name_of(&root))?;
        Ok(Self {
            root,
            file,
            text: sources.workspace.as_ref().map(|(_, text)| text.clone()),
            workspace: loaded.workspace,
            catalog: loaded.catalog,
            profiles: loaded.profiles,
            files,
        })
    }

    /// Where vadev keeps its state for this workspace: journal, kubeconfig, development secrets.
    pub fn state(&self) -> PathBuf {
        self.root.join(STATE)
    }

    /// Makes the state folder, ignored by git.
    pub fn make_state(&self) -> Result<PathBuf, Failure> {
        let folder = self.state();
        let ignore = folder.join(".gitignore");
        let made = fs::create_dir_all(&folder).and_then(|()| {
            if ignore.exists() {
                Ok(())
            } else {
                fs::write(
                    &ignore,
                    "# vadev's own, safe to delete while no cluster runs\n*\n",
                )
            }
        });
        made.map_err(|error| unreadable("write to", &folder, &error))?;
        Ok(folder)
    }

    /// The profile asked for by name, else the workspace's, else `dev`.
    pub fn profile(&self, asked: Option<&str>) -> Result<&Profile, Failure> {
        let name = asked
            .or(self.workspace.profile.as_deref())
            .unwrap_or(DEFAULT_PROFILE);
        self.profiles.get(name).ok_or_else(|| {
            ResolveError::unknown("profile", name, self.profiles.keys().map(String::as_str)).into()
        })
    }
}

/// A folder's name as a DNS label, for the name of a workspace without a file.
fn name_of(folder: &Path) -> String {
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let label: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(30)
        .collect();
    let label = label.trim_matches('-');
    // A name begins with a letter, so that no file reads it as a number.
    match label.chars().next() {
        None => "workspace".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("w-{label}"),
        Some(_) => label.to_owned(),
    }
}

/// A file's path as it is shown, and its text.
pub fn text_of(file: &Path) -> Result<NamedText, Failure> {
    let bytes = fs::read(file).map_err(|error| unreadable("read", file, &error))?;
    let name = file.display().to_string();
    match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Problems::some(vec![no_text(
            name,
            error.as_bytes(),
            error.utf8_error().valid_up_to(),
        )])
        .into()),
    }
}

/// Bytes that are no UTF-8, from `at` on.
fn no_text(file: String, bytes: &[u8], at: usize) -> Problem {
    let before = String::from_utf8_lossy(&bytes[..at]);
    let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = bytes[begin..]
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let (message, help) = if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        (
            "the file is UTF-16",
            format!("save it as UTF-8, for instance: iconv -f UTF-16 -t UTF-8 {file}"),
        )
    } else {
        ("no UTF-8 from here on", "save the file as UTF-8".to_owned())
    };
    Problem {
        file,
        line: before.matches('\n').count() + 1,
        column: before[begin..].chars().count() + 1,
        width: 1,
        source: String::from_utf8_lossy(line).trim_end().to_owned(),
        message: message.to_owned(),
        suggestion: Some(help),
    }
}

/// The YAML files of a folder by name; none where the folder is missing.
fn yaml_files(folder: &Path) -> Result<Vec<NamedText>, Failure> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| unreadable("read", folder, &error))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable("read", folder, &error))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(text_of(&path)?);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(action: &str, path: &Path, error: &io::Error) -> Failure {
    let failure = Plain::new(
        Family::Usage,
        format!("cannot {action} {}: {error}", path.display()),
    );
    let hint = match error.kind() {
        io::ErrorKind::NotFound if path.is_relative() => {
            "check the path; it starts from the folder that you are in".to_owned()
        }
        io::ErrorKind::NotFound => "check the path".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder: name a file in it".to_owned(),
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            "its symbolic links lead in a circle: make one of them lead to a file".to_owned()
        }
        _ => "check the permissions of the file and its folder".to_owned(),
    };
    failure.with_hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_above_counts_and_its_folder_is_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(
            folder.path().join(FILE),
            "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\nprofile: minimal\n",
        )
        .unwrap();
        let loaded = Loaded::open(None, &deep).unwrap();
        assert_eq!(
            (loaded.workspace.name.as_str(), loaded.root.as_path()),
            ("shop", folder.path())
        );
        assert_eq!(loaded.profile(None).unwrap().name, "minimal");
        assert_eq!(loaded.profile(Some("dev")).unwrap().name, "dev");
        let wrong = loaded.profile(Some("mini")).unwrap_err();
        assert_eq!(wrong.family(), Family::Usage);
        assert_eq!(wrong.hint().as_deref(), Some("did you mean `minimal`?"));
        assert!(loaded.make_state().unwrap().join(".gitignore").is_file());
    }

    #[test]
    fn without_a_file_the_repository_gives_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("My Shop_2");
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir_all(root.join("src")).unwrap();
        let loaded = Loaded::open(None, &root.join("src")).unwrap();
        assert_eq!((loaded.workspace.name.as_str(), loaded.root), ("my-shop-2", root));
        assert_eq!(loaded.catalog.services.len(), 14);
    }

    #[test]
    fn a_missing_file_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Loaded::open(Some(Path::new("other.yaml")), folder.path()).unwrap_err();
        assert!(failure.to_string().contains("other.yaml"), "{failure}");
        assert!(failure.hint().is_some());
    }

    #[test]
    fn everything_that_the_file_names_and_is_not_there_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let text = "apiVersion: vadev.dev/v1\nkind: Workspace\nname: shop\ncatalog: nowhere\nextraServiceFiles: [a.yaml, b.yaml]\n";
        fs::write(folder.path().join(FILE), text).unwrap();
        let told = Loaded::open(None, folder.path())
            .unwrap_err()
            .details()
            .join("\n");
        for expected in [
            "vadev.yaml:4:10",
            "there is no folder",
            "vadev.yaml:5:21",
            "vadev.yaml:5:29",
            "b.yaml",
        ] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        fs::write(&file, b"name: shop\nprofile: caf\xe9\n").unwrap();
        let failure = Loaded::open(None, folder.path()).unwrap_err();
        assert_eq!(failure.family(), Family::Usage);
        assert!(
            failure.to_string().contains("vadev.yaml:2:13: no UTF-8"),
            "{failure}"
        );
        fs::write(&file, b"\xff\xfen\0a\0").unwrap();
        let failure = Loaded::open(None, folder.path()).unwrap_err();
        assert!(
            failure.to_string().contains("vadev.yaml:1:1: the file is UTF-16"),
            "{failure}"
        );
        let failure = Loaded::open(Some(Path::new(".")), folder.path()).unwrap_err();
        assert!(failure.hint().unwrap().contains("vadev.yaml"), "{failure}");
    }

    #[test]
    fn what_is_no_file_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(path("b"), path("a")).unwrap();
        std::os::unix::fs::symlink(path("a"), path("b")).unwrap();
        for (path, told) in [
            (path("a"), "lead in a circle"),
            (path("."), "it is a folder: name a file in it"),
        ] {
            let hint = text_of(&path).unwrap_err().hint().unwrap_or_default();
            assert!(hint.contains(told) && !hint.contains(FILE), "{hint}");
        }
    }

    #[test]
    fn names_are_labels() {
        assert_eq!(name_of(Path::new("/")), "workspace");
        assert_eq!(name_of(Path::new("/x/语音")), "workspace");
        assert_eq!(name_of(Path::new("/x/2024")), "w-2024");
        assert_eq!(name_of(Path::new("/x/-A.b-")), "a-b");
    }
}
