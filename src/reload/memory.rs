//! The memory of a session.

/// Has a session begin anew with one pool of memory. glibc's allocator keeps one for each thread and gives little of it back: of
/// 100,000 watched files a session held 93 MB, and holds 56 MB so (`just bench-reload`, P8). Where somebody has chosen, and with
/// other allocators, nothing happens.
pub fn with_one_pool() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt as _;
        const POOLS: &str = "MALLOC_ARENA_MAX";
        if std::env::var_os(POOLS).is_some() {
            return;
        }
        let mut arguments = std::env::args_os();
        let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else {
            return;
        };
        let mut anew = std::process::Command::new(program);
        // It comes back only where it has failed, and the session goes on with more memory.
        drop(anew.arg0(name).args(arguments).env(POOLS, "1").exec());
    }
}
