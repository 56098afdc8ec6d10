use std::collections::BTreeMap;
use std::time::Duration;

use clap::ArgAction;
use clap_complete::engine::ArgValueCompleter;

use super::following::Following;
use super::{Context, Run, complete, timeout};
use crate::failure::{Failure, Family, Plain};
use crate::operate::logs::{LogLine, LogQuery, logs};
use crate::report::Palette;

/// Show the logs of services and systems together, in the order of time
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev logs                                        the last lines of everything\n  \
    vadev logs agent-engine model-adapter -f          two services, and what comes\n  \
    vadev logs agent-engine --since 10m --tail 500\n  \
    vadev logs agent-engine --sidecar                 what its istio-proxy says\n  \
    vadev logs agent-engine --previous                before its last restart\n  \
    vadev logs -f -o json | jq -r '.service + \" \" + .message'")]
pub struct Logs {
    /// Services or systems; without any: all of them
    #[arg(value_name = "SERVICE", add = ArgValueCompleter::new(complete::workloads))]
    services: Vec<String>,
    #[command(flatten)]
    following: Following,
    /// Only lines of the last so long, for instance 10m
    #[arg(long, value_name = "TIME", value_parser = timeout::parse)]
    since: Option<Duration>,
    /// Only so many of each container's last lines; default: 100, or all with --since; -1 for all
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    tail: Option<i64>,
    /// The sidecar's lines (istio-proxy) instead of the service's own
    #[arg(long, action = ArgAction::SetTrue)]
    sidecar: bool,
    /// The lines of this container alone
    #[arg(short, long, value_name = "NAME", conflicts_with = "sidecar")]
    container: Option<String>,
    /// The lines from before each container's last restart
    #[arg(long, action = ArgAction::SetTrue, conflicts_with = "follow")]
    previous: bool,
    /// Put the time before each line
    #[arg(short, long, action = ArgAction::SetTrue)]
    timestamps: bool,
    /// How lines are printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: LogFormat,
}

/// How lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum LogFormat {
    /// The name in colour, then the line.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Lines are written in blocks of this many bytes while they come quickly.
const BLOCK: usize = 1 << 16;

impl Run for Logs {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let tail = match self.tail {
            Some(lines) => (lines >= 0).then_some(lines),
            None => self.since.is_none().then_some(100),
        };
        let query = LogQuery {
            names: self.services.clone(),
            follow: self.following.follow,
            since: self.since,
            tail,
            sidecar: self.sidecar,
            container: self.container,
            previous: self.previous,
        };
        let mut printer = Printer {
            palette: context.stdout_palette(),
            format: self.output,
            timestamps: self.timestamps,
            seen: BTreeMap::new(),
        };
        context.block_on(async {
            let site = context.about(&query.names, context.site().await)?;
            let mut block = String::new();
            let follow = query.follow;
            let done = logs(&site, &query, |line| {
                block += &printer.line(&line)?;
                // What is followed is shown line by line: somebody watches.
                if follow || block.len() > BLOCK {
                    context.print(&std::mem::take(&mut block))?;
                }
                Ok(())
            })
            .await;
            context.print(&block)?;
            done
        })
    }

    fn machine_readable(&self) -> bool {
        self.output == LogFormat::Json
    }
}

struct Printer {
    palette: Palette,
    format: LogFormat,
    timestamps: bool,
    /// Each service's number and its pods, so that several pods of one are told apart.
    seen: BTreeMap<String, (usize, Vec<String>)>,
}

impl Printer {
    fn line(&mut self, line: &LogLine) -> Result<String, Failure> {
        if self.format == LogFormat::Json {
            let text = serde_json::to_string(line)
                .map_err(|error| Plain::new(Family::Internal, format!("cannot write a line: {error}")))?;
            return Ok(text + "\n");
        }
        let next = self.seen.len();
        let (number, pods) = self
            .seen
            .entry(line.service.clone())
            .or_insert_with(|| (next, Vec::new()));
        if !pods.contains(&line.pod) {
            pods.push(line.pod.clone());
        }
        let name = if pods.len() > 1 {
            let hash = line.pod.rsplit('-').next().unwrap_or_default();
            format!("{}/{hash}", line.service)
        } else {
            line.service.clone()
        };
        let time = if self.timestamps {
            self.palette.dim(&format!("{} ", line.time))
        } else {
            String::new()
        };
        Ok(format!(
            "{time}{} {}\n",
            self.palette.tint(*number, &format!("{name:<21} │")),
            line.message
        ))
    }
}
