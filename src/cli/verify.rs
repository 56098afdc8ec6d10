use std::time::Duration;

use super::output::OutputArgs;
use super::{Context, Run, matrix, timeout};
use crate::engine::{self, Platform, VerifyReport};
use crate::failure::{Failure, Family, Plain};
use crate::report::{Palette, Table};

/// Check that the running platform works: objects, workloads, the ingress, every service's dependencies
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev verify\n  \
    vadev verify -o json | jq '.checks[] | select(.ok | not)'\n  \
    vadev verify --mesh                               who reaches whom, expected and measured\n  \
    vadev verify --mesh -o wide                       the same, one line a pair")]
pub struct Verify {
    /// How long an answer may be waited for
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = timeout::parse,
          env = "VADEV_TIMEOUT", hide_env = true)]
    timeout: Duration,
    /// Measure the connectivity matrix of the mesh instead: for each pair of services, what the catalog says and what a
    /// request from inside the caller's pod comes to. A pod whose image has nothing to ask with is given an ephemeral
    /// container that has, for three minutes
    #[arg(long)]
    mesh: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Verify {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        if self.mesh {
            return self.matrix(context, &platform);
        }
        let report = context.block_on(async {
            let cluster = platform.running(self.timeout).await?;
            engine::verify_now(&platform, &cluster, self.timeout).await
        })?;
        let palette = context.stdout_palette();
        context.print(
            &self
                .output
                .output
                .text(&report, |wide| table(&report, wide, palette))?,
        )?;
        failed(&report)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

impl Verify {
    fn matrix(self, context: &Context, platform: &Platform) -> Result<(), Failure> {
        let report = context.block_on(async {
            let cluster = platform.running(self.timeout).await?;
            engine::matrix(platform, &cluster, &|question| context.agrees(question)).await
        })?;
        let palette = context.stdout_palette();
        let text = self
            .output
            .output
            .text(&report, |wide| matrix::table(&report, wide, palette))?;
        context.print(&text)?;
        matrix::failed(&report)
    }
}

/// A failure where a check failed.
pub fn failed(report: &VerifyReport) -> Result<(), Failure> {
    if report.ok {
        return Ok(());
    }
    let failed = report.failures();
    let message = format!("{} of {} checks failed", failed.len(), report.checks.len());
    Err(Plain::new(Family::Unhealthy, message)
        .with_details(failed)
        .with_hint("vadev up mends what has drifted; vadev status shows what is not ready")
        .into())
}

/// The failed checks and a count of the others; all of them when `wide`.
pub fn table(report: &VerifyReport, wide: bool, palette: Palette) -> String {
    let mut table = Table::new(["check", "name", "result", "detail"]);
    for check in report
        .checks
        .iter()
        .filter(|check| wide || !check.ok || check.group != "object")
    {
        let result = if check.ok {
            palette.green("ok")
        } else {
            palette.red("failed")
        };
        table.row([
            check.group.to_owned(),
            check.name.clone(),
            result,
            check.detail.clone(),
        ]);
    }
    let passed = report.checks.iter().filter(|check| check.ok).count();
    format!(
        "{}{passed} of {} checks passed\n",
        table.render(palette),
        report.checks.len()
    )
}
