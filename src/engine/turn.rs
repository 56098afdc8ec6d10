//! What surrounds an `up`: the workspace's lock before it, and the addresses to look at after it.

use super::platform::Platform;
use crate::failure::{Failure, Family, Plain};

/// The workspace's lock; the operating system frees it when the process ends, however it ends.
pub fn lock(state: &std::path::Path) -> Result<std::fs::File, Failure> {
    let trouble = |error: std::io::Error| {
        Plain::new(
            Family::Environment,
            format!("can't lock the state folder {}: {error}", state.display()),
        )
        .with_hint("check its permissions")
    };
    std::fs::create_dir_all(state).map_err(trouble)?;
    let file = std::fs::File::create(state.join("lock")).map_err(trouble)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            let message = format!("another vadev is working on {}", state.display());
            Err(Plain::new(Family::Refused, message)
                .with_hint("wait for it to end, or stop it with Ctrl+C")
                .into())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(trouble(error).into()),
    }
}

/// Where paths of the platform are looked at, through the ingress gateway. Where several platforms share the gateway, it is a
/// host name that leads to this one; the gateway's own address is the cluster's affair.
pub fn base(platform: &Platform) -> Option<String> {
    match (&platform.stack().host, platform.options.place.existing()) {
        (Some(host), _) => Some(format!("http://{host}")),
        (None, Some(_)) => None,
        (None, None) => Some(format!("http://127.0.0.1:{}", platform.options.http_port)),
    }
}

/// Where to look: the platform's health and every prefix.
pub fn urls(platform: &Platform) -> Vec<String> {
    let base = base(platform).filter(|_| platform.stack().mesh.is_some());
    let Some(base) = base else {
        return Vec::new();
    };
    let prefixes = platform
        .stack()
        .services
        .iter()
        .flat_map(|sized| &sized.service.prefixes);
    ["/health", "/api/v1/health"]
        .into_iter()
        .map(str::to_owned)
        .chain(prefixes.cloned())
        .map(|path| format!("{base}{path}"))
        .collect()
}
