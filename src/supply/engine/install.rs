//! Installing from Debian's or Ubuntu's own packages: Docker's engine, and what building from packages takes.

use super::privilege::{Privilege, find_program};
use crate::report::Step;
use crate::supply::process::{Command, ProcessError};
use std::time::Duration;

/// The engine, the two programs below it, and what its bridge network needs.
pub const PACKAGES: [&str; 4] = ["docker.io", "containerd", "runc", "iptables"];

/// An apt mirror far away needs minutes for about 80 MB.
const DEADLINE: Duration = Duration::from_mins(15);

/// Whether there is a package manager here that vadev can drive.
pub fn possible() -> bool {
    cfg!(target_os = "linux") && find_program("apt-get").is_some()
}

/// Installs packages. Where the first attempt fails, what an earlier run left half done is brought to its end, and the lists
/// are renewed. Consent was given before.
pub async fn run(privilege: &Privilege, packages: &[&str], step: &Step) -> Result<(), ProcessError> {
    step.progress(format!("apt-get install {}", packages.join(" ")));
    if install(privilege, packages).run_in(step).await.is_ok() {
        return Ok(());
    }
    // Ctrl+C and deadlines kill apt with its dpkg in the middle of it, and then apt refuses everything until this was done.
    step.progress("dpkg --configure -a");
    if let Err(error) = configure(privilege).run_in(step).await {
        // Nothing may be wrong with dpkg at all; the second attempt tells what is.
        step.progress(error.to_string());
    }
    // The usual reason is a package list that is missing or too old; a second failure is the real one.
    step.progress("apt-get update");
    apt(privilege).arg("update").run_in(step).await?;
    install(privilege, packages).run_in(step).await.map(drop)
}

/// Settings that a user changed are kept, because there is nobody to ask.
fn configure(privilege: &Privilege) -> Command {
    privilege
        .command("env")
        .args([
            "DEBIAN_FRONTEND=noninteractive",
            "dpkg",
            "--force-confdef",
            "--force-confold",
            "--configure",
            "-a",
        ])
        .deadline(DEADLINE)
}

fn install(privilege: &Privilege, packages: &[&str]) -> Command {
    apt(privilege)
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages)
}

fn apt(privilege: &Privilege) -> Command {
    privilege
        .command("env")
        .args([
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-q",
            "-o",
            "DPkg::Lock::Timeout=120",
        ])
        .deadline(DEADLINE)
}
