//! Mending what the doctor found, as far as a program may. Each repair is a step of its own, and each that touches the system asks
//! first.

use super::files::lock_of;
use super::host::{INOTIFY_INSTANCES, INOTIFY_WATCHES};
use super::{Check, Options, Report, State, cache, proc, programs};
use crate::failure::{Diagnose, Family, Plain};
use crate::report::{Outcome, Reporter, Step};
use crate::supply::cache::Cache;
use crate::supply::compose;
use crate::supply::engine::privilege::Privilege;
use crate::supply::engine::{self, EngineError, EngineOptions};
use crate::supply::host::{Host, Program};
use bollard::query_parameters::PruneContainersOptionsBuilder;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

/// Where the kernel's settings are kept over a reboot.
const SYSCTL_FILE: &str = "/etc/sysctl.d/60-vadev.conf";

/// Where the kernel shows and takes its inotify limits.
const INOTIFY: &str = "/proc/sys/fs/inotify";

/// One repair.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// The checks it was for.
    pub checks: Vec<String>,
    /// What was done; `None` if it failed.
    pub done: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The kinds of repairs; several checks may need the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Repair {
    Inotify,
    Engine,
    Packages,
    KubeconfigLock,
    Leftovers,
    HalfWritten,
}

fn repair(check: &Check) -> Option<Repair> {
    if check.state != State::Problem || !check.fixable {
        return None;
    }
    match check.id.as_str() {
        "inotify-watches" | "inotify-instances" => Some(Repair::Inotify),
        "docker" | "privileged" => Some(Repair::Engine),
        "kubeconfig" => Some(Repair::KubeconfigLock),
        "leftovers" => Some(Repair::Leftovers),
        "cache" => Some(Repair::HalfWritten),
        id => id.starts_with("tool-").then_some(Repair::Packages),
    }
}

/// Mends every fixable problem of the report, one after another. The report does not change: run the doctor again.
pub async fn fix(
    options: &Options,
    engine: &EngineOptions<'_>,
    report: &Report,
    reporter: &Reporter,
) -> Vec<Fix> {
    let repairs: BTreeSet<Repair> = report.checks.iter().filter_map(repair).collect();
    let mut fixes = Vec::new();
    for kind in repairs {
        let checks = report.checks.iter().filter(|check| repair(check) == Some(kind));
        let checks: Vec<String> = checks.map(|check| check.id.clone()).collect();
        let step = reporter.step(format!("fix/{}", checks.join("+")), title(kind), None);
        let result = match kind {
            Repair::Inotify => inotify(engine).await,
            Repair::Engine => start_engine(engine, &step).await,
            Repair::Packages => packages(options, engine, &checks, &step).await,
            Repair::KubeconfigLock => unlock(&lock_of(&options.kubeconfig)),
            Repair::Leftovers => leftovers().await,
            Repair::HalfWritten => half_written(&options.cache),
        };
        let fix = match result {
            Ok(done) => Fix {
                checks,
                done: Some(done),
                error: None,
            },
            Err(error) => Fix {
                checks,
                done: None,
                error: Some(explain(&*error)),
            },
        };
        match (&fix.done, &fix.error) {
            (_, Some(error)) => step.finish(Outcome::Failed, error.clone()),
            (done, None) => step.done(done.clone().unwrap_or_default()),
        };
        fixes.push(fix);
    }
    fixes
}

/// The message with the last line of what a program said, which a single line has room for.
fn explain(error: &dyn Diagnose) -> String {
    match error.details().last() {
        Some(line) => format!("{error}: {line}"),
        None => error.to_string(),
    }
}

fn title(repair: Repair) -> &'static str {
    match repair {
        Repair::Inotify => "Raise the inotify limits",
        Repair::Engine => "Get a working Docker engine",
        Repair::Packages => "Install missing programs",
        Repair::KubeconfigLock => "Unlock the kubeconfig",
        Repair::Leftovers => "Remove ended containers",
        Repair::HalfWritten => "Remove what was half written",
    }
}

type Fixed = Result<String, crate::failure::Failure>;

async fn inotify(engine: &EngineOptions<'_>) -> Fixed {
    let settings = settings(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok());
    let lines: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("fs.inotify.{name} = {value}"))
        .collect();
    let action = "changing kernel settings";
    engine.agree(
        action,
        &format!("Set {}, and keep that in {SYSCTL_FILE}?", lines.join(" and ")),
    )?;
    let privilege = Privilege::find(action)?;
    for (name, value) in settings {
        // Not sysctl(8), which a small machine may lack.
        let script = format!("echo {value} > {INOTIFY}/{name}");
        let command = privilege
            .command("sh")
            .args(["-c", &script])
            .deadline(Duration::from_secs(10));
        command
            .output()
            .await
            .map_err(|source| EngineError::Tool { action, source })?;
    }
    let text = format!("# Written by vadev doctor --fix.\n{}\n", lines.join("\n"));
    privilege.put(Path::new(SYSCTL_FILE), &text).await?;
    Ok(lines.join(", "))
}

/// The settings to write, always both, because the file is written as a whole: a limit that is higher already stays as it is.
fn settings(current: impl Fn(&str) -> Option<u64>) -> [(&'static str, u64); 2] {
    let limits = [
        ("max_user_watches", INOTIFY_WATCHES),
        ("max_user_instances", INOTIFY_INSTANCES),
    ];
    limits.map(|(name, needed)| {
        let now = current(&format!("{INOTIFY}/{name}"));
        (name, now.unwrap_or(needed).max(needed))
    })
}

async fn start_engine(engine: &EngineOptions<'_>, step: &Step) -> Fixed {
    let engine = engine::ensure(engine, step).await?;
    Ok(engine.done.join(", "))
}

async fn packages(options: &Options, engine: &EngineOptions<'_>, checks: &[String], step: &Step) -> Fixed {
    let wanted: BTreeSet<Program> = Program::ALL
        .into_iter()
        .filter(|program| checks.contains(&programs::id(*program)))
        .collect();
    let agree = |question: &str| (engine.consent)(question);
    let mut names: Vec<&str> = wanted.iter().map(|program| program.tool().name).collect();
    if !wanted.is_empty() {
        let cache = Cache::at(&options.cache)?;
        Host::default().prepare(&cache, &wanted, &agree, step).await?;
    }
    if checks.iter().any(|check| check == programs::COMPOSE) {
        compose::ensure(&agree, step).await?;
        names.push("docker-compose");
    }
    Ok(format!("installed {}", names.join(", ")))
}

fn half_written(folder: &Path) -> Fixed {
    let leftovers = cache::leftovers(&Cache::at(folder)?)?;
    let count = leftovers.len();
    let mut bytes = 0;
    for leftover in leftovers {
        bytes += leftover.remove()?;
    }
    Ok(format!("removed {count} leftovers, {}", proc::gibibytes(bytes)))
}

fn unlock(lock: &Path) -> Fixed {
    let failed = |error| {
        Plain::new(
            Family::Environment,
            format!("cannot remove {}: {error}", lock.display()),
        )
    };
    std::fs::remove_file(lock).map_err(failed)?;
    Ok(format!("removed {}", lock.display()))
}

async fn leftovers() -> Fixed {
    let docker = crate::supply::docker::connect().await?;
    let label = "app.kubernetes.io/managed-by=vadev".to_owned();
    let options = PruneContainersOptionsBuilder::default()
        .filters(&HashMap::from([("label".to_owned(), vec![label])]))
        .build();
    let pruned = docker.prune_containers(Some(options)).await;
    let pruned = pruned.map_err(|source| EngineError::Api {
        action: "remove ended containers",
        source,
    })?;
    Ok(format!(
        "removed {} containers",
        pruned.containers_deleted.unwrap_or_default().len()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    fn problem(id: &str) -> Check {
        Check::ok(id, id, "x").problem(Severity::Error, "do").fixable()
    }

    #[test]
    fn only_fixable_problems_are_mended() {
        assert_eq!(repair(&problem("inotify-watches")), Some(Repair::Inotify));
        assert_eq!(repair(&problem("privileged")), Some(Repair::Engine));
        assert_eq!(repair(&problem("tool-mvn")), Some(Repair::Packages));
        assert_eq!(
            repair(&Check {
                fixable: false,
                ..problem("docker")
            }),
            None
        );
        assert_eq!(repair(&Check::ok("docker", "d", "x")), None);
        assert_eq!(repair(&problem("memory")), None);
    }

    #[test]
    fn a_higher_limit_stays() {
        let high = |path: &str| Some(if path.ends_with("watches") { 1_048_576 } else { 128 });
        assert_eq!(
            settings(high),
            [
                ("max_user_watches", 1_048_576),
                ("max_user_instances", INOTIFY_INSTANCES)
            ]
        );
        assert_eq!(settings(|_| None)[0].1, INOTIFY_WATCHES);
    }

    #[tokio::test]
    async fn a_refusal_and_a_repair_are_both_told() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            cluster: "c".into(),
            ports: vec![],
            kubernetes: crate::supply::tools::Version::new(1, 34, 4),
            cache: folder.path().into(),
            state: folder.path().into(),
            kubeconfig: folder.path().join("config"),
        };
        std::fs::write(lock_of(&options.kubeconfig), "").unwrap();
        let refuse = |_: &str| false;
        let engine = EngineOptions {
            state: folder.path().into(),
            data: folder.path().into(),
            consent: &refuse,
        };
        let report = Report::new(vec![problem("kubeconfig"), problem("inotify-watches")], 0.0);
        let fixes = fix(&options, &engine, &report, &Reporter::silent()).await;
        let [inotify, lock] = fixes.as_slice() else {
            panic!("{fixes:?}")
        };
        assert_eq!(
            inotify.error.as_deref(),
            Some("changing kernel settings was not agreed to")
        );
        assert_eq!(inotify.checks, ["inotify-watches"]);
        assert!(lock.done.is_some() && !lock_of(&options.kubeconfig).exists());
    }
}
