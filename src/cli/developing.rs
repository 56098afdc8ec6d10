//! What `dev`, `watch` and `reload` have in common: which services are developed, and the session over them.

use std::path::PathBuf;
use std::time::Duration;

use super::up::{Up, check_capacity};
use super::{Context, timeout};
use crate::engine::deliver::Delivery;
use crate::engine::develop::{self, Develop};
use crate::engine::{Platform, UpReport};
use crate::failure::Failure;
use crate::k8s::{Cluster, Scope, View};
use crate::profile::Stack;
use crate::reload::session::{Developed, Ended, Session, Turn};
use crate::reload::{ReloadError, Service};
use crate::report::Reporter;

/// The longest wait for one pod that gets another image: a service may take that long to start.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a session shows what it does.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Showing {
    /// Say for each changed file which way it goes, and by which rule
    #[arg(long)]
    pub explain: bool,
    /// Leave the services' logs out
    #[arg(long)]
    pub no_logs: bool,
}

/// The services of a stack that have their source in the workspace: those named, or all.
pub fn services(context: &Context, stack: &Stack, named: &[String]) -> Result<Vec<Service>, Failure> {
    let root = &context.loaded()?.root;
    let mut found = Vec::new();
    for sized in &stack.services {
        let name = &sized.service.name;
        let dockerfile = sized.workspace.dockerfile.as_deref().unwrap_or("Dockerfile");
        let here = sized.workspace.source.is_some() || root.join(&sized.source).join(dockerfile).is_file();
        if named.contains(name) || (named.is_empty() && here && sized.image.is_none()) {
            found.push(Service::open(root, sized)?);
        }
    }
    if found.is_empty() {
        return Err(ReloadError::NothingToDevelop { path: root.clone() }.into());
    }
    Ok(found)
}

/// What the rules were read off where the workspace file has none.
fn tell_inferred(services: &[Service], reporter: &Reporter) {
    for service in services {
        let Some(inferred) = &service.inferred else {
            continue;
        };
        let rules: Vec<String> = inferred
            .sync
            .iter()
            .map(|rule| format!("{} → {}", rule.from, rule.to))
            .collect();
        reporter.note(if rules.is_empty() {
            format!("{}: no sync rules, and its Dockerfile implies none: every change is an image", service.name)
        } else {
            format!(
                "{}: no sync rules in the workspace file; its Dockerfile implies {} (`vadev init` writes them down)",
                service.name,
                rules.join(", ")
            )
        });
    }
}

/// What `up` is to know of developed services. A service without rules needs no agent: its images are swapped.
pub fn develop(services: &[Service]) -> Develop {
    let roots = |service: &Service| (service.name.clone(), service.recipe.rules.roots());
    services
        .iter()
        .map(roots)
        .filter(|(_, roots)| !roots.is_empty())
        .collect()
}

/// The services with what their agents admit a session by.
pub async fn developed(
    platform: &Platform,
    cluster: &Cluster,
    services: &[Service],
) -> Result<Vec<Developed>, Failure> {
    let mut all = Vec::new();
    for service in services {
        let token = develop::token(platform, cluster, &service.name).await?;
        all.push(Developed {
            service: service.clone(),
            token: token.unwrap_or_default(),
        });
    }
    Ok(all)
}

/// Brings the platform up and watches, until Ctrl+C.
pub fn session(context: &Context, up: &Up, named: &[String], showing: Showing) -> Result<(), Failure> {
    let _turn = Turn::take(&context.loaded()?.make_state()?)?;
    let mut current = plan(context, up, named)?;
    loop {
        tell_inferred(&current.services, &current.context.reporter());
        let report = current.context.block_on(current.bring_up(up))?;
        current.tell(&report);
        match current.context.until_interrupted(current.watch(showing))? {
            None => {
                context.reporter().note(
                    "watching has ended; the services go on with the files as they are. `vadev dev --stop` takes the \
                     development parts out, `vadev watch` goes on",
                );
                return Ok(());
            }
            Some(Ended::Replan) => {
                context
                    .reporter()
                    .note("planning anew: what the platform is planned from has changed");
                match plan(&context.again(), up, named) {
                    Ok(newer) => current = newer,
                    Err(error) => {
                        let reporter = context.reporter();
                        reporter.warn(format!("going on as before: {error}"), error.hint());
                        error.details().into_iter().for_each(|line| reporter.note(line));
                    }
                }
            }
        }
    }
}

/// One plan of a session.
struct Current {
    context: Context,
    platform: Platform,
    services: Vec<Service>,
}

fn plan(context: &Context, up: &Up, named: &[String]) -> Result<Current, Failure> {
    let platform = up.platform(context)?;
    check_capacity(context, &platform)?;
    Ok(Current {
        services: services(context, platform.stack(), named)?,
        context: context.clone(),
        platform,
    })
}

impl Current {
    async fn bring_up(&self, up: &Up) -> Result<UpReport, Failure> {
        up.carry_out(&self.context, &self.platform, develop(&self.services))
            .await
    }

    fn tell(&self, report: &UpReport) {
        let reporter = self.context.reporter();
        let failed = report
            .verify
            .iter()
            .flat_map(|verify| &verify.checks)
            .filter(|check| !check.ok);
        for check in failed {
            reporter.warn(
                format!("{}: {}", check.name, check.detail),
                Some("vadev verify".to_owned()),
            );
        }
        if let Some(url) = report.urls.first() {
            reporter.note(format!(
                "{} is up, look at {url}; Ctrl+C ends watching and leaves it running",
                report.cluster
            ));
        }
    }

    async fn watch(&self, showing: Showing) -> Result<Ended, Failure> {
        let cluster = self.platform.running(timeout::DEFAULT).await?;
        let view = View::open(
            &cluster,
            &Scope::Namespaces(vec![self.platform.stack().namespaces.apps.clone()]),
        );
        let delivery = Delivery::open(&self.platform, &cluster, &view, PATIENCE).await?;
        let session = Session {
            delivery: &delivery,
            developed: developed(&self.platform, &cluster, &self.services).await?,
            plan_files: self.plan_files()?,
            reporter: self.context.reporter(),
            explain: showing.explain,
            logs: !showing.no_logs,
        };
        session.run().await
    }

    /// The files that the workspace was read from, and Dockerfiles that no source has.
    fn plan_files(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = self.context.loaded()?.files.clone();
        files.extend(self.services.iter().flat_map(Service::outside));
        Ok(files)
    }
}
