use clap::ArgAction;
use serde::Serialize;

use super::output::OutputArgs;
use super::platform::Sources;
use super::ports::Ports;
use super::{Context, Run};
use crate::failure::{Failure, Family, Plain};
use crate::supply::doctor::{self, Fix, Options, Report, State, default_kubeconfig};
use crate::supply::engine::EngineOptions;

/// Look this machine over before anything is started, and mend what can be mended
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev doctor                                      every check, with the command that mends a problem\n  \
    vadev doctor --fix                                mend what a program may, asking first\n  \
    vadev doctor -o json | jq '.checks[] | select(.state == \"problem\")'")]
pub struct Doctor {
    /// Mend what can be mended; asks before the system is changed
    #[arg(long, action = ArgAction::SetTrue)]
    fix: bool,
    #[command(flatten)]
    ports: Ports,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    #[serde(flatten)]
    report: Report,
    /// What was mended; absent without `--fix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    fixes: Option<Vec<Fix>>,
}

impl Run for Doctor {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let consent = |question: &str| context.agrees(question);
        let engine = EngineOptions::new(&consent);
        let loaded = context.loaded()?;
        let shape = self.ports.shape(None, &loaded.state())?;
        let supply = context.supply(&Sources::default())?;
        let kubernetes = doctor::kubernetes(supply.book()).ok_or_else(|| {
            Plain::new(
                Family::Internal,
                "the node image's recipe names no Kubernetes release",
            )
        })?;
        let options = Options {
            cluster: format!("vadev-{}", loaded.workspace.name),
            ports: vec![shape.http_port, shape.https_port],
            kubernetes,
            cache: supply.cache().root().to_owned(),
            state: engine.state.clone(),
            kubeconfig: default_kubeconfig(),
        };
        let outcome = context.block_on(look(&self, &options, &engine, context))?;
        let colour = context.stdout_palette() == crate::report::Palette::new(true);
        let table = |_| doctor::table(&outcome.report, colour);
        context.print(&self.output.output.text(&outcome, table)?)?;
        if outcome.report.healthy {
            Ok(())
        } else {
            Err(unhealthy(&outcome.report))
        }
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

async fn look(
    verb: &Doctor,
    options: &Options,
    engine: &EngineOptions<'_>,
    context: &Context,
) -> Result<Outcome, Failure> {
    let reporter = context.reporter();
    let step = reporter.step("doctor", "Look the machine over", None);
    let report = doctor::run(options).await;
    step.done("");
    if !verb.fix {
        return Ok(Outcome { report, fixes: None });
    }
    let fixes = doctor::fix(options, engine, &report, &reporter).await;
    let report = if fixes.is_empty() {
        report
    } else {
        doctor::run(options).await
    };
    Ok(Outcome {
        report,
        fixes: Some(fixes),
    })
}

fn unhealthy(report: &Report) -> Failure {
    let fixable = report
        .checks
        .iter()
        .any(|check| check.state == State::Problem && check.fixable);
    let hint = if fixable {
        "vadev doctor --fix mends what it can"
    } else {
        "each line above says what to do"
    };
    let count = report.errors;
    let message = format!(
        "{count} {} `vadev up`",
        if count == 1 {
            "problem stops"
        } else {
            "problems stop"
        }
    );
    Plain::new(Family::Unhealthy, message).with_hint(hint).into()
}
