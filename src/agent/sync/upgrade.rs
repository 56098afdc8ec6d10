//! A CLI of another version brings its own agent along: it is kept in the state folder and takes over, now and after each
//! restart of the container.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use super::install::NAME;

/// Moves a received program to where it is started from.
pub fn put(content: &Path, state: &Path) -> io::Result<PathBuf> {
    std::fs::set_permissions(content, std::fs::Permissions::from_mode(0o755))?;
    let program = state.join(NAME);
    std::fs::rename(content, &program)?;
    Ok(program)
}

/// Becomes the program that an earlier session brought, if there is one and this is not it. Returns when there is none;
/// an error when it cannot be started (this agent goes on then).
pub fn take_over(state: &Path) -> io::Result<()> {
    let program = state.join(NAME);
    let ours = std::fs::read_link("/proc/self/exe")?;
    if !program.is_file() || same(&program, &ours) {
        return Ok(());
    }
    Err(std::process::Command::new(&program)
        .args(std::env::args_os().skip(1))
        .exec())
}

/// The same file, or one with the same content: an agent never becomes itself over and over.
fn same(program: &Path, ours: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().ok();
    if canonical(program).is_some_and(|path| Some(path) == canonical(ours)) {
        return true;
    }
    let hash = |path: &Path| super::files::hash(path).ok();
    hash(program).is_some_and(|digest| Some(digest) == hash(Path::new("/proc/self/exe")))
}
