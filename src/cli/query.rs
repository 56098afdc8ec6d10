use std::time::Duration;

use clap_complete::engine::ArgValueCompleter;

use super::output::OutputArgs;
use super::{Context, Run, complete, timeout};
use crate::failure::Failure;
use crate::operate::query::{Answer, Prometheus, sparkline};
use crate::report::{Palette, Table};

/// Ask Prometheus: an expression, or `targets`, `errors` (rate of 5xx), `latency` (P95 in ms)
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev query targets\n  \
    vadev query errors --range 30m\n  \
    vadev query 'sum by (app) (rate(http_requests_total[5m]))' -o json")]
pub struct Query {
    /// The expression, or one of the names
    #[arg(value_name = "PROMQL", add = ArgValueCompleter::new(complete::questions))]
    what: String,
    /// Over the last so long, as a line of bars
    #[arg(long, value_name = "TIME", value_parser = timeout::parse)]
    range: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Run for Query {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let answer = context.block_on(async {
            let prometheus = Prometheus::connect(&context.site().await?).await?;
            prometheus.ask(&self.what, self.range).await
        })?;
        let palette = context.stdout_palette();
        context.print(&self.output.output.text(&answer, |_| table(&answer, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}

fn table(answer: &Answer, palette: Palette) -> String {
    let source = answer.source.map_or_else(String::new, |source| {
        palette.dim(&format!("from {source}: {}\n", answer.query))
    });
    if answer.series.is_empty() {
        return source + "no series\n";
    }
    let mut table = Table::new(["series", "value", ""]);
    for series in &answer.series {
        let name = series
            .labels
            .get("__name__")
            .and_then(|name| name.as_str())
            .unwrap_or_default();
        let labels: Vec<String> = series
            .labels
            .iter()
            .filter(|(key, _)| *key != "__name__")
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        let last = series.samples.last().map_or(f64::NAN, |(_, value)| *value);
        let bars = if series.samples.len() > 1 {
            sparkline(&series.samples)
        } else {
            String::new()
        };
        table.row([
            format!("{name} {}", labels.join(" ")).trim().to_owned(),
            format!("{last:.4}")
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned(),
            bars,
        ]);
    }
    source + &table.render(palette)
}
