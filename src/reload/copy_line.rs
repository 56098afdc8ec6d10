//! A COPY line of a Dockerfile, ready to be asked: which paths it takes, and where it puts them. Pure.

use globset::{GlobBuilder, GlobMatcher};

use super::dockerfile::Copy;

/// One line that copies out of the build's context.
#[derive(Debug, Clone)]
pub(super) struct CopyLine {
    /// What it says.
    pub copy: Copy,
    /// One for each of its own.
    sources: Vec<Option<GlobMatcher>>,
}

impl CopyLine {
    pub fn new(copy: Copy) -> Self {
        Self {
            sources: copy.sources.iter().map(|source| matcher(source)).collect(),
            copy,
        }
    }

    /// Whether it takes a path.
    pub fn takes(&self, path: &str) -> bool {
        self.sources.iter().flatten().any(|glob| covers(glob, path))
    }

    /// Where it puts a file.
    pub fn place(&self, path: &str, source_is_folder: &dyn Fn(&str) -> bool) -> Option<String> {
        let covering = |glob: &Option<GlobMatcher>| glob.as_ref().is_some_and(|glob| covers(glob, path));
        let at = self.sources.iter().position(covering)?;
        let source = self.copy.sources.get(at)?;
        let rest = path
            .strip_prefix(source.as_str())
            .unwrap_or(path)
            .trim_start_matches('/');
        let name = path.rsplit('/').next().unwrap_or(path);
        let to = self.copy.to.as_deref()?;
        let folder = to.ends_with('/');
        if source.contains(['*', '?', '[']) {
            return (folder && !path.contains('/')).then(|| format!("{to}{name}"));
        }
        if !rest.is_empty() && (source.is_empty() || source_is_folder(source)) {
            return Some(format!("{}/{rest}", to.trim_end_matches('/')));
        }
        Some(if folder {
            format!("{to}{name}")
        } else {
            to.to_owned()
        })
    }
}

/// A folder's pattern covers all that is below it; the empty one everything.
pub(super) fn covers(glob: &GlobMatcher, path: &str) -> bool {
    let mut part = path;
    loop {
        if glob.is_match(part) {
            return true;
        }
        match part.rsplit_once('/') {
            Some((above, _)) => part = above,
            None => return glob.glob().glob().is_empty(),
        }
    }
}

/// `*` of a COPY line stays within a folder, and braces mean themselves. `None` for what is no pattern.
pub(super) fn matcher(source: &str) -> Option<GlobMatcher> {
    let pattern = source.replace('{', "[{]").replace('}', "[}]");
    let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
    glob.ok().map(|glob| glob.compile_matcher())
}
