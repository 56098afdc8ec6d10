//! What the machine has that will run the cluster: its size decides how a profile is sized.

use std::time::Duration;

use bollard::Docker;

use crate::catalog::service::Amount;
use crate::catalog::{Bytes, MilliCpu};
use crate::supply::docker;

/// How long an engine elsewhere may take to tell its size.
const PATIENCE: Duration = Duration::from_secs(3);

/// CPU and memory of this host; `None` where the operating system does not tell.
pub fn of_host() -> Option<Amount> {
    let cpus = std::thread::available_parallelism().ok()?;
    Some(Amount {
        cpu: MilliCpu(u64::try_from(cpus.get()).ok()? * 1000),
        memory: Bytes(memory()?),
    })
}

// The kernel's word is as wide as the processor's: not 64 bits everywhere.
#[allow(clippy::useless_conversion)]
#[cfg(target_os = "linux")]
fn memory() -> Option<u64> {
    let info = rustix::system::sysinfo();
    u64::try_from(info.totalram)
        .ok()?
        .checked_mul(u64::from(info.mem_unit))
}

#[cfg(not(target_os = "linux"))]
fn memory() -> Option<u64> {
    None
}

/// CPU and memory of the machine that the engine runs on, which for Docker Desktop is a virtual one. `None` where the
/// engine does not tell.
pub async fn of_engine(docker: &Docker) -> Option<Amount> {
    let info = docker.info().await.ok()?;
    Some(Amount {
        cpu: MilliCpu(u64::try_from(info.ncpu?).ok()? * 1000),
        memory: Bytes(u64::try_from(info.mem_total?).ok()?),
    })
}

/// What the machine has that will run the containers: this host, unless the engine is known to be elsewhere (another host, or
/// a virtual machine as Docker Desktop's) and answers. Only then is it asked, since on Linux an engine at the usual socket
/// tells the same, and takes a tenth of a second for it.
pub fn size() -> Option<Amount> {
    is_elsewhere().then(ask_engine).flatten().or_else(of_host)
}

/// Whether the engine may be on another machine, or in a virtual one, so that nothing of this host says how it is there.
pub fn is_elsewhere() -> bool {
    docker::endpoint().is_ok_and(|endpoint| may_be_elsewhere(&endpoint.host))
}

fn may_be_elsewhere(host: &str) -> bool {
    !cfg!(target_os = "linux") || host != docker::DEFAULT_SOCKET
}

/// On a thread of its own, because verbs want it within the async part as well as before it.
fn ask_engine() -> Option<Amount> {
    let ask = async {
        let docker = docker::connect().await.ok()?;
        of_engine(&docker).await
    };
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, ask).await })
            .ok()?
    };
    std::thread::scope(|scope| scope.spawn(work).join()).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_engine_that_may_be_elsewhere_is_asked() {
        assert!(may_be_elsewhere("tcp://10.0.0.1:2375"));
        assert!(may_be_elsewhere("unix:///home/me/.docker/desktop/docker.sock"));
        assert_eq!(
            may_be_elsewhere(docker::DEFAULT_SOCKET),
            !cfg!(target_os = "linux")
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_host_has_a_size() {
        let host = of_host().unwrap();
        assert!(host.cpu.0 >= 1000 && host.memory.as_mib() > 64, "{host:?}");
    }
}
