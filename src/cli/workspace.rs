//! The user's workspace on disk: found, read with everything it refers to, and put together with what is built in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::catalog::{Catalog, NamedText};
use crate::failure::{Failure, Family, Plain};
use crate::profile::{Profile, ResolveError, Sources, Workspace, load_all, read_workspace};

/// The name of the workspace file.
const FILE: &str = "vadev.yaml";
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
        for path in &workspace.extra_service_files {
            files.push(root.join(path));
            sources.extra_services.push(text_of(&root.join(path))?);
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
    if label.is_empty() {
        "workspace".to_owned()
    } else {
        label.to_owned()
    }
}

/// A file's path as it is shown, and its text.
pub fn text_of(file: &Path) -> Result<NamedText, Failure> {
    let text = fs::read_to_string(file).map_err(|error| unreadable("read", file, &error))?;
    Ok((file.display().to_string(), text))
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
        io::ErrorKind::NotFound => "check the path; relative ones start from the workspace file's folder",
        _ => "check the permissions of the file and its folder",
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
    fn names_are_labels() {
        assert_eq!(name_of(Path::new("/")), "workspace");
        assert_eq!(name_of(Path::new("/x/语音")), "workspace");
        assert_eq!(name_of(Path::new("/x/-A.b-")), "a-b");
    }
}
