//! Files that name what a service is made with.

/// Files whose change means other dependencies: everything built from them is made again.
const DEPENDENCIES: &[&str] = &[
    "go.mod",
    "go.sum",
    "go.work",
    "go.work.sum",
    "requirements*.txt",
    "constraints*.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile",
    "Pipfile.lock",
    "environment.yml",
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "Cargo.toml",
    "Cargo.lock",
    "pom.xml",
    "build.gradle*",
    "Gemfile",
    "Gemfile.lock",
];

/// Whether a path's file is one of them.
pub(super) fn is_dependency(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    DEPENDENCIES.iter().any(|pattern| match pattern.split_once('*') {
        Some((head, tail)) => {
            name.starts_with(head) && name.ends_with(tail) && name.len() >= head.len() + tail.len()
        }
        None => name == *pattern,
    })
}
