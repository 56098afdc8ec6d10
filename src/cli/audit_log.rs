use super::following::Following;
use super::{Context, Run};
use crate::failure::{Failure, Family, Plain};
use crate::operate::audit::{AuditLine, AuditQuery, audit_log};
use crate::report::Palette;

/// Show who changed what in the cluster, from the API server's audit log
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev audit-log --verb delete\n  \
    vadev audit-log --user kubernetes-admin --resource deployments -f\n  \
    vadev audit-log --tail -1 -o json | jq -r .agent | sort | uniq -c")]
pub struct AuditLog {
    #[command(flatten)]
    following: Following,
    /// Only of users whose name contains this
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only of this verb: create, update, patch, delete
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,
    /// Only of this resource, for instance configmaps
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Only so many of the last lines; -1 for all
    #[arg(
        long,
        value_name = "LINES",
        default_value_t = 50,
        allow_negative_numbers = true
    )]
    tail: i64,
    /// How lines are printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: LineFormat,
}

/// How lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum LineFormat {
    /// One line a request.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Run for AuditLog {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let query = AuditQuery {
            own: platform.options.place.existing().is_none(),
            user: self.user,
            verb: self.verb,
            resource: self.resource,
            tail: usize::try_from(self.tail).ok(),
            follow: self.following.follow,
        };
        let palette = context.stdout_palette();
        let format = self.output;
        context.block_on(async {
            let site = context.site_of(&platform).await?;
            audit_log(&site, &query, |line| {
                context.print(&text(&line, format, palette)?)
            })
            .await
        })
    }

    fn machine_readable(&self) -> bool {
        self.output == LineFormat::Json
    }
}

fn text(line: &AuditLine, format: LineFormat, palette: Palette) -> Result<String, Failure> {
    if format == LineFormat::Json {
        let text = serde_json::to_string(line)
            .map_err(|error| Plain::new(Family::Internal, format!("cannot write a line: {error}")))?;
        return Ok(text + "\n");
    }
    let code = line.code.to_string();
    let code = if line.code < 400 { code } else { palette.red(&code) };
    let verb = format!("{:<6}", line.verb);
    let verb = if line.verb == "delete" {
        palette.yellow(&verb)
    } else {
        verb
    };
    Ok(format!(
        "{} {verb} {} {} {code} {} {}\n",
        line.time.strftime("%Y-%m-%d %H:%M:%S"),
        line.resource,
        line.object,
        palette.cyan(&line.user),
        palette.dim(&line.agent)
    ))
}
