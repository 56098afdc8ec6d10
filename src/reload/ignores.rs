//! What a watch does not look at: what git ignores, what the image build ignores, editors' and systems' own files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

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
    docker: Gitignore,
    /// By folder: the `.gitignore` files in the source and above it, up to the repository's own.
    git: BTreeMap<PathBuf, Gitignore>,
    /// Ignored by git and wanted all the same: a sync rule names it.
    wanted: Vec<PathBuf>,
}

impl Ignores {
    /// The rules for the folder `root` with the text of its `.dockerignore`.
    pub fn new(root: &Path, dockerignore: &str) -> Self {
        let mut never = GitignoreBuilder::new(root);
        for pattern in NEVER {
            add(&mut never, pattern);
        }
        let mut docker = GitignoreBuilder::new(root);
        for line in dockerignore
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
        {
            let (not, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest));
            let pattern = pattern
                .trim_start_matches("./")
                .trim_start_matches('/')
                .trim_end_matches('/');
            // The build's patterns are all rooted.
            if !pattern.is_empty() {
                add(&mut docker, &format!("{not}/{pattern}"));
            }
        }
        Self {
            root: root.to_owned(),
            never: built(&never),
            docker: built(&docker),
            git: BTreeMap::new(),
            wanted: Vec::new(),
        }
    }

    /// Adds the text of the `.gitignore` in `folder`, which is the root, above it or below it; replaces what it said before.
    pub fn add_gitignore(&mut self, folder: &Path, text: &str) {
        let mut builder = GitignoreBuilder::new(folder);
        for line in text.lines() {
            add(&mut builder, line);
        }
        self.git.insert(folder.to_owned(), built(&builder));
    }

    /// Names what a rule copies: git's opinion about it does not count, for build results are ignored as a rule.
    pub fn want(&mut self, path: &Path) {
        self.wanted.push(self.root.join(path));
    }

    /// Whether to look away from `path` (absolute, below the root).
    pub fn is_ignored(&self, path: &Path, is_folder: bool) -> bool {
        if !path.starts_with(&self.root) || path == self.root {
            return false;
        }
        if self
            .never
            .matched_path_or_any_parents(path, is_folder)
            .is_ignore()
        {
            return true;
        }
        let wanted = |wanted: &PathBuf| path.starts_with(wanted) || (is_folder && wanted.starts_with(path));
        if self.wanted.iter().any(wanted) {
            return false;
        }
        // A folder that the build ignores may hold exceptions, so it is looked into.
        let docker = self
            .docker
            .matched_path_or_any_parents(path, is_folder)
            .is_ignore();
        let skipped = docker && !(is_folder && self.docker.num_whitelists() > 0);
        skipped || self.git_ignores(path, is_folder)
    }

    /// The nearest file that has an opinion decides.
    fn git_ignores(&self, path: &Path, is_folder: bool) -> bool {
        for folder in path.ancestors().skip(1) {
            let Some(rules) = self.git.get(folder) else {
                continue;
            };
            let matched = rules.matched_path_or_any_parents(path, is_folder);
            if !matched.is_none() {
                return matched.is_ignore();
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

    fn ignored(ignores: &Ignores, path: &str) -> bool {
        ignores.is_ignored(&Path::new("/w/svc").join(path), false)
    }

    #[test]
    fn each_file_has_its_say() {
        let mut ignores = Ignores::new(
            Path::new("/w/svc"),
            "# tests stay here\ntests\n*.md\n!README.md\n**/data\n",
        );
        ignores.add_gitignore(Path::new("/w"), "*.log\n/svc/bin/\n");
        ignores.add_gitignore(Path::new("/w/svc/app"), "!keep.log\ngenerated/\n");
        ignores.want(Path::new("bin/server"));
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
        let ignores = Ignores::new(Path::new("/w/svc"), "*\n!app\n!go.*\n");
        assert!(ignored(&ignores, "docs/x"));
        assert!(!ignored(&ignores, "app/deep/x.py") && !ignored(&ignores, "go.mod"));
        assert!(
            !ignores.is_ignored(Path::new("/w/svc/docs"), true),
            "may hold exceptions"
        );
    }
}
