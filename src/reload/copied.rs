//! What single lines of a Dockerfile bring along: COPY, ADD, and the mounts of RUN.

use super::dockerfile::{Attributes, Copy, Instruction, WRITTEN, plain};
use super::scope::{Scope, join};
use crate::image::{unquoted, words};

/// A folder or file that is there while a RUN runs.
#[derive(Debug)]
pub(super) struct Mount {
    pub line: usize,
    pub from: Option<String>,
    pub source: String,
}

/// What a COPY or ADD line brings.
pub(super) fn copy(instruction: &Instruction, scope: &Scope<'_>) -> Option<Copy> {
    let all = words(&instruction.arguments);
    let flags = all.iter().take_while(|word| word.starts_with("--"));
    let rest = &all[flags.clone().count()..];
    let mut from = None;
    let mut attributes = Some(Attributes::default());
    let mut plainly = true;
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match name {
            "--from" => from = Some(unquoted(value)),
            "--chown" => {
                let owner = scope.fill(&unquoted(value)).and_then(|value| owner(&value));
                attributes = attributes
                    .zip(owner)
                    .map(|(with, owner)| Attributes { owner, ..with });
            }
            "--chmod" => {
                let mode = scope.fill(&unquoted(value));
                let mode = mode.and_then(|value| u32::from_str_radix(&value, 8).ok());
                attributes = attributes.zip(mode).map(|(with, mode)| Attributes {
                    mode: Some(mode),
                    ..with
                });
            }
            // Which files they leave out, and where they put the others, is the builder's to say.
            "--parents" | "--exclude" => plainly = false,
            _ => {}
        }
    }
    let mut paths: Vec<String> = if rest.first().is_some_and(|word| word.starts_with('[')) {
        serde_json::from_str(&rest.join(" ")).unwrap_or_default()
    } else {
        rest.iter().map(|word| unquoted(word)).collect()
    };
    let to = paths.pop()?;
    let written = |word: &String| word.starts_with("<<") || word.contains("://");
    if paths.iter().all(written) {
        from = Some(WRITTEN.to_owned());
    } else {
        paths.retain(|word| !written(word));
    }
    if paths.is_empty() {
        return None;
    }
    let filled: Vec<Option<String>> = paths.iter().map(|path| scope.fill(path)).collect();
    // Builders end a way out of the context at its top.
    let inside = |path: &String| path.split('/').all(|part| part != "..");
    plainly &= filled.iter().all(|path| path.as_ref().is_some_and(inside));
    let sources: Vec<String> = filled
        .iter()
        .map(|path| plain(path.as_deref().unwrap_or_default()))
        .collect();
    let to = scope.fill(&to).filter(|_| plainly).and_then(|to| {
        let folder = to.ends_with('/') || to == "." || to.ends_with("/.") || sources.len() > 1;
        let mut to = join(scope.workdir.as_deref(), &to)?;
        let file = sources.first().map(String::as_str).unwrap_or_default();
        let folder = folder.then_some(true).or_else(|| scope.is_folder(&to, file));
        if folder == Some(true) && !to.ends_with('/') {
            to.push('/');
        }
        Some((to, folder.is_none()))
    });
    let (to, unsettled) = to.map_or((None, false), |(to, unsettled)| (Some(to), unsettled));
    Some(Copy {
        line: instruction.line,
        unpacked: instruction.keyword == "ADD" && sources.iter().any(|source| is_archive(source)),
        from,
        sources,
        to,
        unsettled,
        attributes,
        used_by_run: false,
    })
}

/// Numbers only: what a name means is in the image. A user without a group is both.
fn owner(text: &str) -> Option<(u64, u64)> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    Some((user.parse().ok()?, group.parse().ok()?))
}

/// ADD looks into a file to see whether it is one; people name them so.
fn is_archive(source: &str) -> bool {
    const ENDINGS: [&str; 9] = [
        ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst",
    ];
    let name = source.to_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// What a RUN line has for as long as it runs.
pub(super) fn mounted(line: usize, arguments: &str, scope: &Scope<'_>) -> Vec<Mount> {
    let flags = words(arguments)
        .into_iter()
        .take_while(|word| word.starts_with("--"));
    flags
        .filter_map(|flag| {
            let options = unquoted(flag.strip_prefix("--mount=")?);
            let value = |names: &[&str]| {
                let pairs = options.split(',').filter_map(|option| option.split_once('='));
                let mut found = pairs.filter(|(name, _)| names.contains(&name.trim()));
                found.next().map(|(_, value)| value.to_owned())
            };
            let bind = value(&["type"]).is_none_or(|kind| kind == "bind");
            let source = value(&["source", "src"]).unwrap_or_default();
            bind.then(|| Mount {
                line,
                from: value(&["from"]),
                source: plain(&scope.fill(&source).unwrap_or_default()),
            })
        })
        .collect()
}
