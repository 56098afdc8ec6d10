//! What the machine has that will run the cluster: its size decides how a profile is sized.

use bollard::Docker;

use crate::catalog::service::Amount;
use crate::catalog::{Bytes, MilliCpu};

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

/// The engine's machine if an engine answers, else this host.
pub async fn size() -> Option<Amount> {
    match super::docker::connect().await {
        Ok(docker) => of_engine(&docker).await.or_else(of_host),
        Err(_) => of_host(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_host_has_a_size() {
        let host = of_host().unwrap();
        assert!(host.cpu.0 >= 1000 && host.memory.as_mib() > 64, "{host:?}");
    }
}
