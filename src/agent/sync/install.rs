//! `vadev-agent install DIR`: an init container puts the agent into a volume that it shares with the service, so that the
//! service's image needs nothing.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The program's name in the volume.
pub const NAME: &str = "vadev-agent";

/// Copies this program into `folder`, executable by everyone, and returns where it is.
pub fn install(folder: &Path) -> io::Result<PathBuf> {
    let target = folder.join(NAME);
    let temporary = folder.join(format!(".{NAME}.new"));
    std::fs::copy("/proc/self/exe", &temporary)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(&temporary, &target)?;
    Ok(target)
}
