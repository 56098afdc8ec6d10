//! A COPY line of a Dockerfile, ready to be asked: which paths it takes, and where it puts them. Pure.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::dockerfile::Copy;

/// One line that copies out of the build's context.
#[derive(Debug, Clone)]
pub(super) struct CopyLine {
    /// Its place among the lines that make the image.
    pub at: usize,
    /// What it says.
    pub copy: Copy,
    /// One for each of its own.
    sources: Vec<Option<GlobMatcher>>,
}

impl CopyLine {
    pub fn new(at: usize, copy: Copy) -> Self {
        Self {
            at,
            sources: copy.sources.iter().map(|source| matcher(source)).collect(),
            copy,
        }
    }

    /// Whether it takes a path.
    pub fn takes(&self, path: &str) -> bool {
        self.sources.iter().flatten().any(|glob| covers(glob, path))
    }

    /// Where it puts a file; `None` where only the image knows.
    pub fn place(&self, path: &str, source_is_folder: &dyn Fn(&str) -> bool) -> Option<String> {
        let covering = |glob: &Option<GlobMatcher>| glob.as_ref().and_then(|glob| covered(glob, path));
        let (at, part) = self
            .sources
            .iter()
            .enumerate()
            .find_map(|(at, glob)| Some((at, covering(glob)?)))?;
        let source = self.copy.sources.get(at)?;
        let rest = path[part.len()..].trim_start_matches('/');
        let name = path.rsplit('/').next().unwrap_or(path);
        let to = self.copy.to.as_deref()?;
        let folder = to.ends_with('/');
        let pattern = is_pattern(source);
        // What is in a folder goes into the target; a pattern may have met more than that folder.
        if !rest.is_empty() && (part.is_empty() || pattern || source_is_folder(part)) {
            return (!pattern || folder).then(|| format!("{}/{rest}", to.trim_end_matches('/')));
        }
        if folder {
            return Some(format!("{to}{name}"));
        }
        (!pattern && !self.copy.unsettled).then(|| to.to_owned())
    }
}

/// What the line at this place puts over the files of earlier ones. Of a folder of the context each file is asked for by itself;
/// what comes from elsewhere may be a folder.
pub(super) fn over(at: usize, copy: &Copy) -> Vec<Over> {
    let below = copy.from.is_some();
    let over = |path: String, below: bool| Over {
        at,
        line: copy.line,
        path,
        below,
    };
    let Some(to) = copy.to.as_deref() else {
        // It may lie over anything.
        return below.then(|| over(String::new(), true)).into_iter().collect();
    };
    let Some(folder) = to.strip_suffix('/') else {
        return vec![over(to.to_owned(), below)];
    };
    let mut all = Vec::new();
    for source in &copy.sources {
        let name = source.rsplit('/').next().unwrap_or_default();
        if !name.is_empty() {
            all.push(over(format!("{folder}/{name}"), below));
        }
        // A folder's content goes into the target itself; what has an ending is a file.
        if below && !name.contains('.') {
            all.push(over(folder.to_owned(), true));
        }
    }
    all
}

/// What a line puts over the files of those before it.
#[derive(Debug, Clone)]
pub(super) struct Over {
    /// The line's place among those that make the image.
    pub at: usize,
    /// Its number in the Dockerfile.
    pub line: usize,
    /// Absolute, in the image.
    pub path: String,
    below: bool,
}

impl Over {
    /// Whether a file of the image is under it, or may be.
    pub fn covers(&self, place: &str) -> bool {
        place == self.path || (self.below && Path::new(place).starts_with(&self.path))
    }
}

/// A folder's pattern covers all that is below it; the empty one everything.
pub(super) fn covers(glob: &GlobMatcher, path: &str) -> bool {
    covered(glob, path).is_some()
}

/// The part of a path that a pattern means: the path, or a folder above it.
fn covered<'p>(glob: &GlobMatcher, path: &'p str) -> Option<&'p str> {
    let mut part = path;
    loop {
        if glob.is_match(part) {
            return Some(part);
        }
        match part.rsplit_once('/') {
            Some((above, _)) => part = above,
            None => return glob.glob().glob().is_empty().then_some(""),
        }
    }
}

/// Whether a source of a COPY line is one.
pub(super) fn is_pattern(source: &str) -> bool {
    source.contains(['*', '?', '['])
}

/// `*` of a COPY line stays within a folder, and braces mean themselves. `None` for what is no pattern.
pub(super) fn matcher(source: &str) -> Option<GlobMatcher> {
    let pattern = source.replace('{', "[{]").replace('}', "[}]");
    let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
    glob.ok().map(|glob| glob.compile_matcher())
}
