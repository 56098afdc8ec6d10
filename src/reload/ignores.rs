//! What a watch does not look at: what git ignores, what the image build ignores, editors' and systems' own files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::image::DockerIgnore;

/// Never part of a service: version control, vadev's own state, compiled Python, and what editors leave beside a file
/// while they save it.
const NEVER: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".vadev",
    "__pycache__",
    "*.py[co]",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".DS_Store",
    "Thumbs.db",
    ".idea",
    ".vscode",
    "*~",
    ".#*",
    "\\#*\\#",
    "*.sw[a-p]",
    "*.swpx",
    "4913",
    "*___jb_tmp___",
    "*___jb_old___",
    ".goutputstream-*",
    ".nfs*",
    ".vadev-*",
];

/// The rules of one source folder. Built from texts, so that it can be tried without a file system.
#[derive(Debug, Clone)]
pub struct Ignores {
    root: PathBuf,
    never: Gitignore,
    docker: DockerIgnore,
    /// By folder: the `.gitignore` files in the source and above it, up to the repository's own.
    git: BTreeMap<PathBuf, Gitignore>,
    /// Ignored by git and wanted all the same: a sync rule names it.
    wanted: Vec<PathBuf>,
    /// Left out of the image's build as a whole, and wanted all the same.
    wanted_apart: Vec<PathBuf>,
    /// Named by the Dockerfile: part of the image, even where git ignores them.
    copied: Vec<PathBuf>,
    /// Say how the image is built.
    watched: Vec<PathBuf>,
}

impl Ignores {
    /// The rules for the folder `root`, with what its image build leaves out.
    pub fn new(root: &Path, docker: DockerIgnore) -> Self {
        let mut never = GitignoreBuilder::new(root);
        for pattern in NEVER {
            add(&mut never, pattern);
        }
        Self {
            root: root.to_owned(),
            never: built(&never),
            docker,
            git: BTreeMap::new(),
            wanted: Vec::new(),
            wanted_apart: Vec::new(),
            copied: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// Replaces what the image build leaves out.
    pub fn set_docker(&mut self, docker: DockerIgnore) {
        self.docker = docker;
    }

    /// Forgets the `.gitignore` in `folder`, which is not there any more.
    pub fn drop_gitignore(&mut self, folder: &Path) {
        self.git.remove(folder);
    }

    /// Names a file (below the root) that says how the image is built: it is looked at even where it is no part of the
    /// source, as Dockerfiles mostly are not.
    pub fn watch(&mut self, path: &Path) {
        self.watched.push(self.root.join(path));
    }

    /// Whether a path is looked at and is no part of the source all the same.
    pub fn is_aside(&self, path: &Path) -> bool {
        self.watched.iter().any(|watched| watched == path) && self.leaves_out(path, false)
    }

    /// Adds the text of the `.gitignore` in `folder`, which is the root, above it or below it; replaces what it said before.
    pub fn add_gitignore(&mut self, folder: &Path, text: &str) {
        let mut builder = GitignoreBuilder::new(folder);
        for line in text.lines() {
            add(&mut builder, line);
        }
        self.git.insert(folder.to_owned(), built(&builder));
    }

    /// Names what a rule copies: git's opinion about it does not count, for build results are ignored as a rule. Neither does
    /// that of the image's build, where it leaves all of it out, which is then `apart`; of what it takes in part, the rest stays
    /// out.
    pub fn want(&mut self, path: &Path, apart: bool) {
        let full = self.root.join(path);
        if apart {
            self.wanted_apart.push(full.clone());
        }
        if self.git_ignores(&full, true) || self.git_ignores(&full, false) {
            self.wanted.push(full);
        }
    }

    /// Whether the image's build leaves out a path below the root.
    pub fn is_apart(&self, path: &Path) -> bool {
        self.docker.ignores(path)
    }

    /// Names what the Dockerfile copies by its name: where git ignores just that, or a folder above it, its opinion does not
    /// count. What it ignores within stays out.
    pub fn copy(&mut self, path: &Path) {
        self.copied.push(self.root.join(path));
    }

    /// Whether to look away from `path` (absolute, below the root).
    pub fn is_ignored(&self, path: &Path, is_folder: bool) -> bool {
        let leads = |watched: &PathBuf| path == watched || (is_folder && watched.starts_with(path));
        !self.watched.iter().any(leads) && self.leaves_out(path, is_folder)
    }

    fn leaves_out(&self, path: &Path, is_folder: bool) -> bool {
        let Ok(below) = path.strip_prefix(&self.root) else {
            return false;
        };
        if below.as_os_str().is_empty() {
            return false;
        }
        if self
            .never
            .matched_path_or_any_parents(path, is_folder)
            .is_ignore()
        {
            return true;
        }
        let leads = |wanted: &PathBuf| path.starts_with(wanted) || (is_folder && wanted.starts_with(path));
        // A folder that the build ignores may hold exceptions, so it is looked into.
        let skipped = if is_folder {
            self.docker.prunes(below)
        } else {
            self.docker.ignores(below)
        };
        if skipped && !self.wanted_apart.iter().any(leads) {
            return true;
        }
        self.git_ignores(path, is_folder)
            && !self.wanted.iter().any(leads)
            && !self.is_copied(path, is_folder)
    }

    fn is_copied(&self, path: &Path, is_folder: bool) -> bool {
        let ignored = |copied: &Path| self.git_ignores(copied, true) || self.git_ignores(copied, false);
        let leads = |copied: &Path| path.starts_with(copied) || (is_folder && copied.starts_with(path));
        self.copied.iter().any(|copied| leads(copied) && ignored(copied))
    }

    /// The nearest file that has an opinion decides. That one of them ignores the source as a whole, or a folder it is in, says
    /// nothing of its files: the workspace names it, as it may a checkout within a build folder.
    fn git_ignores(&self, path: &Path, is_folder: bool) -> bool {
        for folder in path.ancestors().skip(1) {
            let Some(rules) = self.git.get(folder) else {
                continue;
            };
            let within = |part: &&Path| *part != self.root && *part != folder;
            for part in path.ancestors().take_while(within) {
                let matched = rules.matched(part, is_folder || part != path);
                if !matched.is_none() {
                    return matched.is_ignore();
                }
            }
        }
        false
    }
}

/// A line that is no pattern ignores nothing, as with git itself.
fn add(builder: &mut GitignoreBuilder, line: &str) {
    drop(builder.add_line(None, line));
}

fn built(builder: &GitignoreBuilder) -> Gitignore {
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker(text: &str) -> DockerIgnore {
        DockerIgnore::parse(text).unwrap()
    }

    fn ignored(ignores: &Ignores, path: &str) -> bool {
        ignores.is_ignored(&Path::new("/w/svc").join(path), false)
    }

    #[test]
    fn a_source_in_an_ignored_folder_is_a_source() {
        let mut ignores = Ignores::new(Path::new("/w/svc"), DockerIgnore::default());
        ignores.add_gitignore(Path::new("/"), "/w\n*.log\n");
        ignores.add_gitignore(Path::new("/w"), "svc/\nout/\n");
        assert!(!ignored(&ignores, "main.go"));
        assert!(!ignored(&ignores, "internal/api.go"));
        assert!(ignored(&ignores, "out/a"));
        assert!(ignored(&ignores, "internal/a.log"));
    }

    #[test]
    fn each_file_has_its_say() {
        let mut ignores = Ignores::new(
            Path::new("/w/svc"),
            docker("# tests stay here\ntests\n*.md\n!README.md\n**/data\n"),
        );
        ignores.add_gitignore(Path::new("/w"), "*.log\n/svc/bin/\n");
        ignores.add_gitignore(Path::new("/w/svc/app"), "!keep.log\ngenerated/\n");
        ignores.want(Path::new("bin/server"), true);
        for path in [
            ".git/index",
            "app/__pycache__/x.pyc",
            "app/.main.py.swp",
            "app/main.py~",
            "4913",
            "tests/a/b.py",
            "NOTES.md",
            "x.log",
            "app/data/x",
            "bin/other",
            "app/generated/x.py",
        ] {
            assert!(ignored(&ignores, path), "{path}");
        }
        for path in [
            "app/main.py",
            "README.md",
            "app/keep.log",
            "bin/server",
            "docs/a.md",
            "app/tests/x.py",
        ] {
            assert!(!ignored(&ignores, path), "{path}");
        }
    }

    #[test]
    fn all_but_is_understood() {
        let ignores = Ignores::new(Path::new("/w/svc"), docker("*\n!app\n!go.*\n"));
        assert!(ignored(&ignores, "docs/x"));
        assert!(!ignored(&ignores, "app/deep/x.py") && !ignored(&ignores, "go.mod"));
        assert!(
            !ignores.is_ignored(Path::new("/w/svc/docs"), true),
            "may hold exceptions"
        );
    }

    #[test]
    fn what_the_dockerfile_names_is_looked_at() {
        let mut ignores = Ignores::new(Path::new("/w/svc"), docker("secret.yaml\n"));
        ignores.add_gitignore(Path::new("/w/svc"), "dist/\n*.yaml\n/gen/deep\ngenerated\n");
        for path in ["dist", "local.yaml", "secret.yaml", "gen/deep/code", "app"] {
            ignores.copy(Path::new(path));
        }
        for path in ["dist/a.js", "dist/b/c.js", "local.yaml", "gen/deep/code/x.go"] {
            assert!(!ignored(&ignores, path), "{path}");
        }
        assert!(!ignores.is_ignored(Path::new("/w/svc/gen/deep"), true));
        // Ignored within what is copied, not copied, or out of the build's sight.
        for path in [
            "app/generated/x.py",
            "other.yaml",
            "gen/deep/other",
            "secret.yaml",
        ] {
            assert!(ignored(&ignores, path), "{path}");
        }
    }

    #[test]
    fn what_says_how_the_image_is_built_is_looked_at() {
        let mut ignores = Ignores::new(Path::new("/w/svc"), docker("Dockerfile\n.dockerignore\nbuild\n"));
        ignores.add_gitignore(Path::new("/w"), "own\n");
        for path in ["Dockerfile", ".dockerignore", "build/own/Dockerfile", "plain"] {
            ignores.watch(Path::new(path));
        }
        for path in ["Dockerfile", ".dockerignore", "build/own/Dockerfile"] {
            assert!(!ignored(&ignores, path), "{path}");
            assert!(ignores.is_aside(&Path::new("/w/svc").join(path)), "{path}");
        }
        assert!(
            !ignores.is_aside(Path::new("/w/svc/plain")) && !ignores.is_aside(Path::new("/w/svc/build/x"))
        );
        assert!(
            !ignores.is_ignored(Path::new("/w/svc/build"), true),
            "it leads to one"
        );
        assert!(ignored(&ignores, "build/other"));
    }
}
