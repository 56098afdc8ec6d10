//! Installing Debian packages on this machine. Consent was given before.

use std::time::Duration;

use super::super::engine::privilege::Privilege;
use super::super::error::SupplyError;
use super::super::process::Command;
use crate::report::Step;

/// A mirror far away needs minutes for a Java compiler.
const DEADLINE: Duration = Duration::from_mins(15);

/// Installs `packages`; the package lists are renewed where the first attempt fails.
pub async fn install(privilege: &Privilege, packages: &[&str], step: &Step) -> Result<(), SupplyError> {
    let install = apt(privilege).args(["install", "-y", "--no-install-recommends"]).args(packages);
    step.progress(format!("apt-get install {}", packages.join(" ")));
    if install.run_in(step).await.is_ok() {
        return Ok(());
    }
    step.progress("apt-get update");
    apt(privilege).arg("update").run_in(step).await?;
    install.run_in(step).await?;
    Ok(())
}

fn apt(privilege: &Privilege) -> Command {
    let settings = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "DPkg::Lock::Timeout=120"];
    privilege.command("env").args(settings).deadline(DEADLINE)
}
