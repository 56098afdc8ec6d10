//! What a `.dockerignore` file leaves out of a build's context. Pure: paths in, answers out.

use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

/// The rules of one file, in its order: the last one that fits decides.
#[derive(Debug, Clone, Default)]
pub struct DockerIgnore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    matcher: GlobMatcher,
    /// `!pattern`: what fits stays in the context after all.
    keeps: bool,
}

impl DockerIgnore {
    /// Reads the file's text.
    ///
    /// # Errors
    /// A line is no pattern; the sentence names it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (keeps, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let pattern = clean(pattern);
            if pattern.is_empty() {
                continue;
            }
            // Braces are ordinary characters here, and alternatives in a glob.
            let pattern = pattern.replace('{', "[{]").replace('}', "[}]");
            let glob = GlobBuilder::new(&pattern)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| format!("line {}: {error}", at + 1))?;
            rules.push(Rule {
                matcher: glob.compile_matcher(),
                keeps,
            });
        }
        Ok(Self { rules })
    }

    /// Whether a path (relative to the context) is left out: because a rule fits it or a folder above it.
    pub fn ignores(&self, path: &Path) -> bool {
        let ancestors: Vec<&Path> = path
            .ancestors()
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect();
        let fits = |rule: &&Rule| ancestors.iter().any(|folder| rule.matcher.is_match(folder));
        self.rules.iter().rev().find(fits).is_some_and(|rule| !rule.keeps)
    }

    /// Whether a folder need not even be looked into: it is left out, and no later exception could bring a part of it back.
    pub fn prunes(&self, folder: &Path) -> bool {
        self.ignores(folder) && !self.rules.iter().any(|rule| rule.keeps)
    }
}

/// Without leading and trailing slashes, `.` and `..`, as Docker does.
fn clean(pattern: &str) -> String {
    let mut parts = PathBuf::new();
    for part in Path::new(pattern).components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(text: &str, paths: &[&str]) -> Vec<bool> {
        let rules = DockerIgnore::parse(text).unwrap();
        paths.iter().map(|path| rules.ignores(Path::new(path))).collect()
    }

    #[test]
    fn patterns_begin_at_the_root_and_take_what_is_below() {
        assert_eq!(
            ignored(
                "# remark\n/target/\n*.md\n",
                &["target/debug/x", "src/target", "a.md", "docs/a.md"]
            ),
            [true, false, true, false]
        );
        assert_eq!(
            ignored(
                "**/__pycache__\n**/*.pyc",
                &["a/b/__pycache__/x", "__pycache__", "x.pyc", "a/x.pyc"]
            ),
            [true; 4]
        );
    }

    #[test]
    fn the_last_rule_decides() {
        let text = "*\n!src\n!README.md\nsrc/*.tmp";
        assert_eq!(
            ignored(text, &["a", "src/main.go", "README.md", "src/x.tmp"]),
            [true, false, false, true]
        );
        let rules = DockerIgnore::parse(text).unwrap();
        assert!(!rules.prunes(Path::new("a")), "a part of it could come back");
        assert!(
            DockerIgnore::parse("node_modules")
                .unwrap()
                .prunes(Path::new("node_modules"))
        );
    }

    #[test]
    fn odd_lines_are_read_as_docker_reads_them() {
        assert_eq!(
            ignored("./a/../b\n\n!\n{x}", &["b", "a", "{x}", "x"]),
            [true, false, true, false]
        );
        assert!(DockerIgnore::parse("ok\n[a").unwrap_err().starts_with("line 2"));
    }
}
