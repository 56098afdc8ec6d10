use std::time::Duration;

use super::output::{self, Format, OutputArgs};
use super::{Context, Run, timeout};
use crate::engine::{Claims, TokenKey};
use crate::failure::Failure;

/// Print a development token for the platform's API, signed with this workspace's own key
///
/// The gateway lets `/health`, `/api/v1/health`, `<prefix>/health` and public prefixes in without a token, and everything
/// else with one. The key is in `.vadev/`; no other platform believes its tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    vadev token\n  \
    curl -H \"Authorization: Bearer $(vadev token --role admin)\" http://127.0.0.1:8080/api/v1/tenants\n  \
    vadev token --sub alice --role analyst --ttl 8h -o json")]
pub struct Token {
    /// Who it speaks for
    #[arg(
        long,
        value_name = "NAME",
        default_value = "developer",
        env = "VADEV_TOKEN_SUB",
        hide_env = true
    )]
    sub: String,
    /// A role; may be given more than once
    #[arg(
        long = "role",
        value_name = "ROLE",
        env = "VADEV_TOKEN_ROLE",
        hide_env = true,
        value_delimiter = ','
    )]
    roles: Vec<String>,
    /// How long it is good for
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime,
          env = "VADEV_TOKEN_TTL", hide_env = true)]
    ttl: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

/// A token carries whole seconds.
fn lifetime(text: &str) -> Result<Duration, String> {
    let found = timeout::parse(text)?;
    if found.as_secs() == 0 {
        return Err("such a token is never good; give it a second at least".to_owned());
    }
    Ok(found)
}

impl Run for Token {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let loaded = context.loaded()?;
        loaded.make_state()?;
        let platform = context.running()?;
        let key = TokenKey::ensure(&platform.options.state)?;
        let claims = Claims {
            subject: self.sub,
            roles: self.roles,
            ttl: self.ttl,
        };
        let token = key.sign(&loaded.catalog.mesh.policy.tokens, platform.stack(), &claims)?;
        let text = match self.output.output {
            Format::Table | Format::Wide => format!("{}\n", token.token),
            Format::Json => output::json(&token)?,
            Format::Yaml => output::yaml(&token)?,
        };
        context.print(&text)
    }

    fn machine_readable(&self) -> bool {
        self.output.output.machine_readable()
    }
}
