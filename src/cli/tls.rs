use std::path::PathBuf;
use std::time::Duration;

use super::output::{Format, OutputArgs};
use super::{Context, Run};
use crate::engine::{self, Platform};
use crate::failure::{Failure, Family, Plain};
use crate::operate::tls::{self, Pair, Served};
use crate::operate::{OperateError, Site};
use crate::render::mesh::tls_secret;
use crate::report::{Palette, Table};

/// The certificate that the ingress gateway serves on its https port
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Tls {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a development certificate, or take one of yours after checking it; served at once
    #[command(
        after_help = "Examples:\n  vadev tls create\n  vadev tls create --host shop.localhost --host 127.0.0.1\n  \
        vadev tls create --cert fullchain.pem --key privkey.pem --host shop.example.org"
    )]
    Create(Create),
    /// Show for which hosts and until when the certificate is
    #[command(after_help = "Example:\n  vadev tls show -o json | jq .daysLeft")]
    Show(OutputArgs),
    /// Make a new development certificate for the same hosts, by the same authority
    #[command(after_help = "Example:\n  vadev tls renew")]
    Renew(OutputArgs),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// A file with the certificate and what signed it, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// A file with its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The hosts it has to be for; default: those of the gateway for a certificate of yours
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

impl Tls {
    fn format(&self) -> Format {
        match &self.verb {
            Verb::Create(create) => create.output.output,
            Verb::Show(output) | Verb::Renew(output) => output.output,
        }
    }
}

impl Run for Tls {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let platform = context.running()?;
        let secret = tls_secret(platform.stack());
        let palette = context.stdout_palette();
        let served = context.block_on(async {
            match &self.verb {
                Verb::Show(_) => {
                    let none = || OperateError::Absent {
                        what: "a certificate".to_owned(),
                        hint: "vadev tls create makes one".to_owned(),
                    };
                    Ok(tls::show(&context.site_of(&platform).await?, &secret)
                        .await?
                        .ok_or_else(none)?)
                }
                Verb::Create(create) => {
                    let site = context
                        .site_of_to(&platform, "Replace the gateway's certificate")
                        .await?;
                    if platform.options.place.existing().is_none() {
                        ask_for_anothers(context, &site, &secret).await?;
                    }
                    self::create(&platform, &site, create).await
                }
                Verb::Renew(_) => {
                    let site = context
                        .site_of_to(&platform, "Replace the gateway's certificate")
                        .await?;
                    let now = tls::show(&site, &secret).await?;
                    if now.as_ref().is_some_and(|now| !now.development) {
                        let message = "the certificate was given to vadev, which can't renew it";
                        let hint = "get a new one, then vadev tls create --cert FILE --key FILE";
                        return Err(OperateError::refused(message, hint).into());
                    }
                    develop(&platform, &site, now.map(|now| now.hosts).unwrap_or_default()).await
                }
            }
        })?;
        context.print(&self.format().text(&served, |_| table(&served, palette))?)
    }

    fn machine_readable(&self) -> bool {
        self.format().machine_readable()
    }
}

/// What vadev made it makes again; a certificate that it was given it can't give back.
async fn ask_for_anothers(context: &Context, site: &Site, secret: &str) -> Result<(), Failure> {
    // One that can't be read is worth nothing to anybody.
    let now = tls::show(site, secret).await.ok().flatten();
    match now.filter(|now| !now.development) {
        Some(given) => context.insist(&format!(
            "Replace the certificate for {} that was given to vadev and is good until {}?",
            given.hosts.join(", "),
            given.not_after.strftime("%Y-%m-%d")
        )),
        None => Ok(()),
    }
}

async fn create(platform: &Platform, site: &Site, create: &Create) -> Result<Served, Failure> {
    let (Some(cert), Some(key)) = (&create.cert, &create.key) else {
        return develop(platform, site, create.hosts.clone()).await;
    };
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).map_err(|error| {
            Plain::new(Family::Usage, format!("cannot read {}: {error}", file.display()))
                .with_hint("give files in PEM format")
        })
    };
    let (chain, key) = (read(cert)?, read(key)?);
    let hosts = if create.hosts.is_empty() {
        tls::gateway_hosts(site, &tls_secret(platform.stack())).await?
    } else {
        create.hosts.clone()
    };
    if hosts.is_empty() {
        site.reporter.warn(
            "no host was checked: the gateway serves every host (*), and none was named",
            Some("name those that it has to be for: --host shop.example.org".to_owned()),
        );
    }
    serve(
        platform,
        site,
        &Pair {
            chain: &chain,
            key: &key,
        },
        &hosts,
        false,
    )
    .await
}

/// A certificate by the workspace's own authority.
async fn develop(platform: &Platform, site: &Site, hosts: Vec<String>) -> Result<Served, Failure> {
    let hosts = if hosts.is_empty() {
        engine::tls::hosts(platform.stack())
    } else {
        hosts
    };
    let state = &platform.options.state;
    let made = engine::tls::development_certificate(state, &hosts).map_err(|error| {
        Plain::new(Family::Environment, error.to_string()).with_hint("give host names such as shop.localhost")
    })?;
    let pair = Pair {
        chain: &made.chain,
        key: &made.key,
    };
    let served = serve(platform, site, &pair, &hosts, true).await?;
    site.reporter.note(format!(
        "trust {} once, and every certificate that vadev makes here is trusted",
        engine::tls::authority_file(state).display()
    ));
    Ok(served)
}

async fn serve(
    platform: &Platform,
    site: &Site,
    pair: &Pair<'_>,
    hosts: &[String],
    development: bool,
) -> Result<Served, Failure> {
    let mut served = tls::check(pair, hosts)?;
    served.development = development;
    let step = site.reporter.step("tls", "Serve the certificate", None);
    tls::put(site, &tls_secret(platform.stack()), pair, development).await?;
    if platform.options.place.existing().is_none() {
        step.progress("waiting until the gateway shows it");
        tls::wait_served(platform.options.https_port, pair, Duration::from_mins(1)).await?;
    }
    step.done(format!("good for {} days", served.days_left));
    Ok(served)
}

fn table(served: &Served, palette: Palette) -> String {
    let mut table = Table::new(["hosts", "issuer", "until", "days left", "made by"]);
    let days = served.days_left.to_string();
    table.row([
        served.hosts.join(", "),
        served.issuer.clone(),
        served.not_after.strftime("%Y-%m-%d").to_string(),
        match served.days_left {
            ..=0 => palette.red(&days),
            1..=30 => palette.yellow(&days),
            _ => palette.green(&days),
        },
        if served.development { "vadev" } else { "you" }.to_owned(),
    ]);
    table.render(palette)
}
